"""Key names of the released XMem, and of the MMPM that is built of its parts."""

from __future__ import annotations

import re

import torch
from torch import Tensor

_FUSION: tuple[tuple[str, str], ...] = (
    (r"block1\.downsample\.", "enter.skip."),
    (r"block1\.", "enter."),
    (r"block2\.downsample\.", "exit.skip."),
    (r"block2\.", "exit."),
    (r"attention\.ChannelGate\.mlp\.1\.", "attention.squeeze."),
    (r"attention\.ChannelGate\.mlp\.3\.", "attention.excite."),
    (r"attention\.SpatialGate\.spatial\.conv\.", "attention.spatial."),
)

_PARTS: tuple[tuple[str, str], ...] = (
    (r"key_encoder\.res2\.", "encoder.backbone.layer1."),
    (r"key_encoder\.", "encoder.backbone."),
    (r"image_encoder\.", "encoder.vit."),
    (r"key_proj\.key_proj\.", "memory.reader.to_key."),
    (r"key_proj\.d_proj\.", "memory.reader.to_shrinkage."),
    (r"key_proj\.e_proj\.", "memory.reader.to_selection."),
    *(
        (rf"value_encoder\.fuser\.{theirs}", f"mask_encoder.fuse.{ours}")
        for theirs, ours in _FUSION
    ),
    (r"value_encoder\.hidden_reinforce\.", "memory.banks.{state}.update."),
    (r"value_encoder\.network\.", "mask_encoder.vit."),
    (r"value_encoder\.", "mask_encoder.backbone."),
    *((rf"(?:mask_)?decoder\.fuser\.{theirs}", f"decoder.fuse.{ours}") for theirs, ours in _FUSION),
    (r"(?:mask_)?decoder\.hidden_update\.g16_conv\.", "decoder.update.project.0."),
    (r"(?:mask_)?decoder\.hidden_update\.g8_conv\.", "decoder.update.project.1."),
    (r"(?:mask_)?decoder\.hidden_update\.g4_conv\.", "decoder.update.project.2."),
    (r"(?:mask_)?decoder\.hidden_update\.transform\.", "decoder.update.gate.transform."),
    (r"decoder\.up_16_8\.skip_conv\.", "decoder.skip8."),
    (r"decoder\.up_8_4\.skip_conv\.", "decoder.skip4."),
    (r"decoder\.up_16_8\.out_conv\.downsample\.", "decoder.refine8.skip."),
    (r"decoder\.up_16_8\.out_conv\.", "decoder.refine8."),
    (r"decoder\.up_8_4\.out_conv\.downsample\.", "decoder.refine4.skip."),
    (r"decoder\.up_8_4\.out_conv\.", "decoder.refine4."),
    (r"(?:mask_)?decoder\.pred\.", "decoder.predict."),
)

_MASKED = ("value_encoder.conv1.weight", "value_encoder.network.patch_embed.proj.weight")
"""Weights that see the masks; trained on one object, they lack the channel of the others."""

_PLANES = 5  # of a value encoder: three of the image, the object, the others


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether these are keys of the released XMem or MMPM."""
    return any(key.startswith("key_proj.key_proj.") for key in state)


def translate(state: dict[str, Tensor], bank: str | None) -> dict[str, Tensor]:
    """Rename the keys of a released XMem or MMPM.

    Args:
        state: official key -> tensor. Of a model that was trained on single objects, the weights
            for the masks of others are added as zeros, as the released code does.
        bank: name of the memory bank that keeps the hidden state; None if there is none.

    Returns:
        Our key -> tensor; a key without a counterpart keeps its official name.
    """
    return {_rename(key, bank): _widened(key, value) for key, value in state.items()}


def _rename(key: str, bank: str | None) -> str:
    for pattern, ours in _PARTS:
        if "{state}" in ours and bank is None:
            continue
        if (found := re.match(pattern, key)) is not None:
            return ours.format(state=bank) + key[found.end() :]
    return key


def _widened(key: str, value: Tensor) -> Tensor:
    if key not in _MASKED or value.shape[1] != _PLANES - 1:
        return value
    return torch.cat((value, value.new_zeros(value.shape[0], 1, *value.shape[2:])), 1)
