"""Key names of the released AOT and AOST."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vosfm.errors import InputError

_UNUSED = (
    "LSTT.mask_token",  # a parameter of the released module that nothing reads
    ".relative_position_index",  # where Swin looks in its table: the window alone tells
)

_PARTS: tuple[tuple[str, str], ...] = (
    (r"encoder_projector\.(.*)", r"encoder.project.\1"),
    (r"encoder\.norm([012])\.(.*)", r"encoder.norms.\1.\2"),
    (r"patch_wise_id_bank\.(.*)", r"mask_encoder.embed.\1"),
    (r"id_norm\.(.*)", r"mask_encoder.norm.\1"),
    (r"LSTT\.decoder_norms\.(.*)", r"memory.reader.norms.\1"),
    (r"LSTT\.decoder_norm\.(.*)", r"memory.reader.norms.0.\1"),
    (r"LSTT\.layers\.(\d+)\.linear_ID_KV\.(.*)", r"memory.reader.identify.\1.\2"),
    (r"LSTT\.layer\.linear_ID_KV\.(.*)", r"memory.reader.identify.0.\1"),
    (r"decoder\.conv_in\.(.*)", r"decoder.enter.\1"),
    (r"decoder\.conv_(16|8|4)x\.(.*)", r"decoder.refine\1.\2"),
    (r"decoder\.adapter_(16|8|4)x\.(.*)", r"decoder.skip\1.\2"),
    (r"decoder\.conv_out\.(.*)", r"decoder.exit.\1"),
)

_BLOCK: tuple[tuple[str, str], ...] = (
    (r"norm1\.(.*)", r"norm_self.\1"),
    (r"norm2\.(.*)", r"norm_match.\1"),
    (r"norm3\.(.*)", r"norm_feed.\1"),
    (r"self_attn\.linear_Q\.(.*)", r"self_attention.to_query.\1"),
    (r"self_attn\.linear_K\.(.*)", r"self_attention.to_key.\1"),
    (r"self_attn\.linear_V\.(.*)", r"self_attention.to_value.\1"),
    (r"self_attn\.projection\.(.*)", r"self_attention.project.\1"),
    (r"linear_Q\.(.*)", r"to_key.\1"),
    (r"linear_V\.(.*)", r"to_value.\1"),
    (r"linear_QV\.(.*)", r"to_key_value.\1"),
    (r"(long|short)_term_attn\.projection\.(.*)", r"\1_term.project.\2"),
    (r"short_term_attn\.relative_emb_k\.weight", r"short_term.relative_key"),
    (r"short_term_attn\.relative_emb_k\.bias", r"short_term.relative_bias"),
    (r"short_term_attn\.relative_emb_v", r"short_term.relative_value"),
    (r"linear1\.(.*)", r"feed_forward.expand.\1"),
    (r"activation\.gn\.(.*)", r"feed_forward.norm.\1"),
    (r"activation\.conv\.(.*)", r"feed_forward.mix.\1"),
    (r"linear2\.(.*)", r"feed_forward.contract.\1"),
)

_CONFIGS = {"AOT": "aot_l", "AOST": "aost", "AOST with shared layers": "aost_share"}
"""What a checkpoint may be of -> one of the configs that it may fit."""

_MOBILENET_STAGES = (1, 2, 3, 4, 3, 3, 1)  # inverted residuals per stage, MobileNetV2 Table 2


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether these are keys of the released AOT or AOST."""
    return any(key.startswith(("LSTT.", "patch_wise_id_bank.")) for key in state)


def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a released AOT or AOST.

    Args:
        state: official key -> tensor.

    Returns:
        Our key -> tensor; a key without a counterpart keeps its official name.
    """
    translated: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith(_UNUSED):
            continue
        ours = _rename(key)
        if ours is None:
            translated[key] = value
            continue
        ours = ours.replace(".gn.", ".norm.")
        if key.endswith(("relative_emb_k.weight", "relative_emb_k.bias", "relative_emb_v")):
            value = _by_head(key, value, state)
        translated[ours] = value
    return translated


def check(weights: Mapping[str, Tensor], ours: Mapping[str, Tensor], origin: str | Path) -> None:
    """Refuse a checkpoint of AOT for an AOST and the reverse, and name a config that it may fit.

    Args:
        weights: of the checkpoint, by our key names.
        ours: state dict of the model that they are meant for.
        origin: of the weights, for messages.

    Raises:
        InputError: if one is an AOT and the other an AOST, or their layers are shared in one alone.
    """
    held, wanted = _kind(weights), _kind(ours)
    if held is None or wanted is None or held == wanted:
        return
    raise InputError(
        f"{origin}: a checkpoint of an {held}, the model is an {wanted}: use a config of the "
        f"first, such as model/{_CONFIGS[held]}, or give a checkpoint of the second"
    )


def _kind(weights: Mapping[str, Tensor]) -> str | None:
    """What weights by our key names are of; None if neither AOT nor AOST."""
    if "memory.reader.blocks.0.to_key_value.weight" in weights:
        entrances = "decoder.enter.1.conv.weight" in weights
        shared = entrances and "memory.reader.blocks.1.norm_self.weight" not in weights
        return "AOST with shared layers" if shared else "AOST"
    return "AOT" if "memory.reader.blocks.0.to_key.weight" in weights else None


def rename_encoder(key: str) -> str | None:
    """The timm name of an encoder's key, as the released AOT spells it.

    ResNet is spelled the same; Swin too, but that merging patches ends a stage instead of
    beginning the next; MobileNetV2 as torchvision does.
    """
    if re.match(r"(conv1|bn1|layer[123]|patch_embed|layers\.\d+\.blocks)\.", key):
        return key
    found = re.fullmatch(r"layers\.(\d+)\.downsample\.(.*)", key)
    if found is not None:
        return f"layers.{int(found[1]) + 1}.downsample.{found[2]}"
    found = re.fullmatch(r"features\.(\d+)\.(.*)", key)
    if found is None:
        return None
    index, rest = int(found[1]), found[2]
    if index in (0, 18):
        name = {0: ("conv_stem", "bn1"), 18: ("conv_head", "bn2")}[index]
        return re.sub(r"^([01])\.", lambda m: f"{name[int(m[1])]}.", rest)
    stage, first = 0, 1
    while index >= first + _MOBILENET_STAGES[stage]:
        first += _MOBILENET_STAGES[stage]
        stage += 1
    if stage == 0:
        inner = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    else:
        inner = {
            "0.0": "conv_pw",
            "0.1": "bn1",
            "1.0": "conv_dw",
            "1.1": "bn2",
            "2": "conv_pwl",
            "3": "bn3",
        }
    found = re.fullmatch(r"conv\.(\d(?:\.\d)?)\.(\w+)", rest)
    if found is None or found[1] not in inner:
        return None
    return f"blocks.{stage}.{index - first}.{inner[found[1]]}.{found[2]}"


def _rename(key: str) -> str | None:
    for pattern, ours in _PARTS:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, ours, key)
    if key.startswith("encoder."):
        inner = rename_encoder(key.removeprefix("encoder."))
        return None if inner is None else f"encoder.backbone.{inner}"
    layer = re.fullmatch(r"LSTT\.layer(?:s\.(\d+))?\.(.*)", key)
    if layer is None:
        return None
    block = f"memory.reader.blocks.{layer[1] or 0}"  # layers that share all weights are one
    for pattern, ours in _BLOCK:
        if re.fullmatch(pattern, layer[2]):
            return f"{block}.{re.sub(pattern, ours, layer[2])}"
    return None


def _by_head(key: str, value: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Relative embeddings as (heads, window, depth); the official ones are convolutions."""
    if key.endswith("relative_emb_v"):  # (heads, depth, window)
        return value.transpose(1, 2).contiguous()
    prefix = key.rpartition("relative_emb_k.")[0]
    heads = state[f"{prefix}relative_emb_v"].shape[0]
    if key.endswith("bias"):  # (heads * window,)
        return value.unflatten(0, (heads, -1))
    return value.flatten(1).unflatten(0, (heads, -1))
