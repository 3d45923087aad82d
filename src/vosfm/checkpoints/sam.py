"""Released SAMs into the parts that are made of it.

SAM's own key names hold inside our parts, so that only their prefixes change:

=====================  ==============================================================
SAM                    ours
=====================  ==============================================================
``image_encoder.*``    ``vit.*`` of `SamViT`
``prompt_encoder.*``   ``prompt_encoder.*`` of `SamPrompter`; of `SamDecoder` the
                       position embedding alone, ``pe_layer.*`` as ``positions.*``
``mask_decoder.*``     ``mask_decoder.*`` of `SamPrompter` and of `SamDecoder`
=====================  ==============================================================
"""

from __future__ import annotations

import re
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.checkpoints.weights import fill, read_checkpoint, weights_in
from vosfm.decoders.sam import SamDecoder
from vosfm.encoders import SamViT
from vosfm.errors import InputError
from vosfm.prompters import SamPrompter

_SIZES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}
"""What the released transformers are called, by the width of their tokens."""


def load_image_encoder(encoder: SamViT, path: str | Path) -> None:
    """Load the image encoder of a released SAM.

    Position embeddings are interpolated where the image size differs. Levels for skip connections
    keep their weights: SAM has none.

    Args:
        encoder: filled in place, all or nothing.
        path: of the file as its authors publish it, or as .safetensors.

    Raises:
        InputError: if the file cannot be read safely, holds no SAM, or one with a transformer of
            another size.
    """
    _fill_vit(encoder.vit, _read(path), path)


def load_prompter(prompter: SamPrompter, path: str | Path) -> None:
    """Load the prompt encoder and the mask decoder of a released SAM, and its image encoder too.

    Args:
        prompter: filled in place; its encoder with it, if it has one of its own.
        path: of the file as its authors publish it, or as .safetensors.

    Raises:
        InputError: as `load_image_encoder`.
    """
    weights = _read(path)
    if isinstance(prompter.encoder, SamViT):
        _fill_vit(prompter.encoder.vit, weights, path)
    fill(prompter.prompt_encoder, _under("prompt_encoder.", weights, path), path)
    fill(prompter.mask_decoder, _under("mask_decoder.", weights, path), path)


def load_mask_decoder(decoder: SamDecoder, path: str | Path) -> None:
    """Load the mask decoder of a released SAM, as the start of a training.

    What SAM does not have, the fusion with the readout and the skip connections, keeps its weights.

    Args:
        decoder: filled in place.
        path: of the file as its authors publish it, or as .safetensors.

    Raises:
        InputError: if the file cannot be read safely, holds no SAM, or one of another width.
    """
    weights = _read(path)
    fill(decoder.mask_decoder, _under("mask_decoder.", weights, path), path)
    fill(decoder.positions, _under("prompt_encoder.pe_layer.", weights, path), path)


def _read(path: str | Path) -> dict[str, Tensor]:
    return weights_in(read_checkpoint(path), path)


def _under(prefix: str, weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The weights of one part, without its prefix."""
    part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    if not part:
        raise InputError(f"{path}: not a checkpoint of SAM: no key begins with {prefix}")
    return part


def _fill_vit(vit: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    part = _under("image_encoder.", weights, path)
    ours = vit.state_dict()
    held, wanted = _size(part), _size(ours)
    if held != wanted:
        raise InputError(
            f"{path}: the checkpoint of a {held}, the encoder is a {wanted}: give the checkpoint "
            "of that size, or change embed_dim and depth"
        )
    for key in part.keys() & ours.keys():
        if part[key].shape != ours[key].shape:
            part[key] = _interpolate(key, part[key], ours[key])
    fill(vit, part, path)


def _size(weights: dict[str, Tensor]) -> str:
    """What tells one transformer from another, in words."""
    bias = weights.get("patch_embed.proj.bias")
    width = 0 if bias is None else bias.shape[0]
    blocks = {found[0] for key in weights if (found := re.match(r"blocks\.\d+\.", key))}
    return f"{_SIZES.get(width, 'ViT')} (width {width}, {len(blocks)} blocks)"


def _interpolate(key: str, value: Tensor, like: Tensor) -> Tensor:
    """Position embeddings at another number of tokens; anything else as it is."""
    if key == "pos_embed" and value.shape[-1] == like.shape[-1]:
        height, width = like.shape[1:3]
        maps = F.interpolate(
            value.permute(0, 3, 1, 2).float(), (height, width), mode="bicubic", antialias=True
        )
        return maps.permute(0, 2, 3, 1).to(value.dtype)
    if key.endswith((".rel_pos_h", ".rel_pos_w")) and value.shape[1] == like.shape[1]:
        line = F.interpolate(value.T[None].float(), like.shape[0], mode="linear")
        return line[0].T.to(value.dtype)
    return value
