"""Key names of the released SAM 2 and 2.1: of Meta's files, and of Hugging Face's.

Both hold the same tensors, but that Hugging Face's have the embeddings of points in one tensor, and
the random matrix of the position encoding twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vosfm.errors import InputError

_HUGGING_FACE: tuple[tuple[str, str], ...] = (
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.scale$", ".gamma"),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv([12])\.", r".pwconv\1."),
    *(
        (rf"\.mask_downsampler\.layers\.{n}\.{part}\.", f".mask_downsampler.encoder.{3 * n + at}.")
        for n in range(4)
        for at, part in enumerate(("conv", "layer_norm"))
    ),
    (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
    (
        r"^(shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    *(
        (rf"^prompt_encoder\.mask_embed\.{theirs}\.", f"prompt_encoder.mask_downscaling.{n}.")
        for n, theirs in ((0, "conv1"), (1, "layer_norm1"), (3, "conv2"), (4, "layer_norm2"))
    ),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    # Layers between the first and the last are counted from 0 again.
    (r"(_mlps\.\d|_head|_ptr_proj)\.layers\.0\.", r"\1.layers.1."),
    (r"(_mlps\.\d|_head|_ptr_proj)\.proj_in\.", r"\1.layers.0."),
    (r"(_mlps\.\d|_head|_ptr_proj)\.proj_out\.", r"\1.layers.2."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.layer_norm(\d?|_final_attn)\.", r".norm\1."),
)
"""Hugging Face's spelling -> Meta's; all that fit are applied, in this order."""

_PARTS: tuple[tuple[str, str], ...] = (
    ("image_encoder.trunk.", "encoder.trunk."),
    *((f"image_encoder.neck.convs.{3 - n}.conv.", f"encoder.lateral.{n}.") for n in range(4)),
    ("maskmem_tpos_enc", "memory.reader.temporal"),
    ("no_mem_embed", "memory.reader.nothing"),
    ("no_mem_pos_enc", "memory.reader.nothing_position"),
    ("no_obj_embed_spatial", "memory.reader.absent"),
    ("obj_ptr_tpos_proj.", "memory.reader.pointer_time."),
    ("memory_attention.", "memory.reader."),
    ("memory_encoder.mask_downsampler.encoder.", "mask_encoder.downsample."),
    ("memory_encoder.pix_feat_proj.", "mask_encoder.enter."),
    ("memory_encoder.fuser.layers.", "mask_encoder.blocks."),
    ("memory_encoder.out_proj.", "mask_encoder.exit."),
    ("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "decoder.prompts.gaussian"),
    ("sam_prompt_encoder.point_embeddings.weight", "decoder.prompts.points"),
    ("sam_prompt_encoder.not_a_point_embed.weight", "decoder.prompts.outside"),
    ("sam_prompt_encoder.no_mask_embed.weight", "decoder.prompts.no_mask"),
    ("sam_prompt_encoder.mask_downscaling.", "decoder.prompts.downsample."),
    ("sam_mask_decoder.transformer.", "decoder.transformer."),
    ("sam_mask_decoder.obj_score_token.weight", "decoder.object_token"),
    ("sam_mask_decoder.iou_token.weight", "decoder.quality_token"),
    ("sam_mask_decoder.mask_tokens.weight", "decoder.mask_tokens"),
    ("sam_mask_decoder.output_upscaling.0.", "decoder.climb8."),
    ("sam_mask_decoder.output_upscaling.1.", "decoder.norm8."),
    ("sam_mask_decoder.output_upscaling.3.", "decoder.climb4."),
    ("sam_mask_decoder.conv_s0.", "decoder.skip4."),
    ("sam_mask_decoder.conv_s1.", "decoder.skip8."),
    *(
        (f"sam_mask_decoder.output_hypernetworks_mlps.{n}.layers.", f"decoder.hyper.{n}.")
        for n in range(4)
    ),
    ("sam_mask_decoder.iou_prediction_head.layers.", "decoder.quality."),
    ("sam_mask_decoder.pred_obj_score_head.layers.", "decoder.presence_head."),
    ("obj_ptr_proj.layers.", "decoder.to_pointer."),
    ("no_obj_ptr", "decoder.no_pointer"),
    ("mask_downsample.", "decoder.mask_prompt."),
)
"""Where Meta's keys begin -> ours."""

_ATTENTION = {
    "q_proj.": "to_query.",
    "k_proj.": "to_key.",
    "v_proj.": "to_value.",
    "out_proj.": "project.",
    "self_attn.": "self_attention.",
}

_INNER: dict[str, dict[str, str]] = {
    "encoder.trunk.": {"mlp.layers.0.": "mlp.fc1.", "mlp.layers.1.": "mlp.fc2."},
    "memory.reader.": {
        **_ATTENTION,
        "cross_attn_image.": "cross_attention.",
        "linear1.": "expand.",
        "linear2.": "contract.",
        "norm1.": "norm_self.",
        "norm2.": "norm_cross.",
        "norm3.": "norm_feed.",
    },
    "mask_encoder.blocks.": {
        "dwconv.": "depthwise.",
        "pwconv1.": "expand.",
        "pwconv2.": "contract.",
    },
    "decoder.transformer.": {
        **_ATTENTION,
        "cross_attn_token_to_image.": "token_to_image.",
        "cross_attn_image_to_token.": "image_to_token.",
        "final_attn_token_to_image.": "final.",
        "norm_final_attn.": "norm.",
        "mlp.layers.0.": "expand.",
        "mlp.layers.1.": "contract.",
    },
}
"""What changes behind the beginning of our keys: in each, Meta's words -> ours."""

_VECTORS = (
    "memory.reader.nothing",
    "memory.reader.nothing_position",
    "memory.reader.absent",
    "decoder.prompts.outside",
    "decoder.prompts.no_mask",
    "decoder.no_pointer",
)
"""Embeddings that are one vector; the released ones have axes of one before it."""

_SIZES = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base_plus", (144, 48): "large"}
"""Width of the first stage and number of blocks -> what the released models are called."""


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether these are keys of a released SAM 2 or 2.1, as Meta or Hugging Face spells them."""
    return any(
        key.startswith(("image_encoder.trunk.", "vision_encoder.backbone.")) for key in state
    )


def is_first_generation(state: Mapping[str, Tensor]) -> bool:
    """Whether these are keys of a SAM before SAM 2, as Meta or Hugging Face spells them."""
    return any(
        key.startswith(("image_encoder.patch_embed.", "vision_encoder.patch_embed."))
        for key in state
    )


def translate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a released SAM 2 or 2.1.

    Args:
        state: official key -> tensor.

    Returns:
        Our key -> tensor; a key without a counterpart keeps its official name, and so does a
        second one with the same counterpart but other values.
    """
    as_meta = _as_meta if _of_hugging_face(state) else str
    translated: dict[str, Tensor] = {}
    for key, value in _with_points_stacked(state).items():
        ours = _rename(as_meta(key)) or key
        value = _shaped(ours, value)
        if ours not in translated:
            translated[ours] = value
        elif not torch.equal(translated[ours], value):
            translated[key] = value
    return translated


def check(weights: Mapping[str, Tensor], ours: Mapping[str, Tensor], origin: str | Path) -> None:
    """Refuse a checkpoint of another size or version than the model, and name the right config.

    Args:
        weights: of the checkpoint, by our key names.
        ours: state dict of the model that they are meant for.
        origin: of the weights, for messages.

    Raises:
        InputError: if the two differ in version, or in width or depth of the encoder.
    """
    held, wanted = _Release.of(weights), _Release.of(ours)
    if held == wanted or held is None:
        return
    remedies = []
    if held.name is not None:
        remedies.append(f"use the config model/{held.prefix.replace('.', '_')}_{held.name}")
    if wanted is not None and wanted.name is not None:
        remedies.append(f"give {wanted.prefix}_hiera_{wanted.name}.pt to this one")
    raise InputError(
        f"{origin}: a checkpoint of {held}, the model is {wanted or 'another one'}: "
        f"{', or '.join(remedies) or 'give the model that it was trained with'}"
    )


class _Release(NamedTuple):
    """What tells one released model from another."""

    width: int
    blocks: int
    pointers_in_time: bool

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> _Release | None:
        """Of weights by our key names; None if they are of no SAM 2."""
        bias = weights.get("encoder.trunk.patch_embed.proj.bias")
        if bias is None or "memory.reader.nothing" not in weights:
            return None
        blocks = {
            found[0] for key in weights if (found := re.match(r"encoder\.trunk\.blocks\.\d+", key))
        }
        return cls(bias.shape[0], len(blocks), "memory.reader.pointer_time.weight" in weights)

    @property
    def name(self) -> str | None:
        return _SIZES.get((self.width, self.blocks))

    @property
    def prefix(self) -> str:
        """What its file names begin with."""
        return "sam2.1" if self.pointers_in_time else "sam2"

    def __str__(self) -> str:
        version = "SAM 2.1" if self.pointers_in_time else "SAM 2.0"
        return f"{version} {self.name or f'(width {self.width}, {self.blocks} blocks)'}"


def _of_hugging_face(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith("vision_encoder.") for key in state)


def _as_meta(key: str) -> str:
    for theirs, metas in _HUGGING_FACE:
        key = re.sub(theirs, metas, key)
    return key


def _rename(key: str) -> str | None:
    """Our name of Meta's key; None if there is no counterpart."""
    for theirs, ours in _PARTS:
        if not (key == theirs or (theirs.endswith(".") and key.startswith(theirs))):
            continue
        inner = key.removeprefix(theirs)
        for word, our_word in _INNER.get(ours, {}).items():
            inner = inner.replace(word, our_word)
        return ours + inner
    return None


def _shaped(key: str, value: Tensor) -> Tensor:
    """A tensor with the axes that we keep it with."""
    if key in _VECTORS:
        return value.flatten()
    return value.flatten(1) if key == "memory.reader.temporal" else value


def _with_points_stacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Meta's four embeddings of points in one tensor, where they are all there."""
    keys = [f"sam_prompt_encoder.point_embeddings.{n}.weight" for n in range(4)]
    if not all(key in state for key in keys):
        return dict(state)
    stacked = {key: value for key, value in state.items() if key not in keys}
    stacked["sam_prompt_encoder.point_embeddings.weight"] = torch.cat([state[k] for k in keys])
    return stacked
