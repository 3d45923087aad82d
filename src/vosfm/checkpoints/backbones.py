"""Weights of an image classifier, or of another segmenter's encoder, into an encoder."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from vosfm.checkpoints.aot import rename_encoder
from vosfm.checkpoints.weights import fill, read_checkpoint, weights_in
from vosfm.errors import InputError
from vosfm.segmenter import Segmenter

_ENCODER = ("segmenter.encoder.", "encoder.")  # in a run of ours, and in a segmenter's state dict
_HEADS = ("classifier.", "fc.", "head.")
_CONSTANT = ("relative_position_index", "attn_mask")  # what Swin computes from its window
_MERGED_EARLY = "layers.0.downsample."  # where Swin's authors merge patches, and timm does not

_FOLDED = {"": ("0.0", "0.1"), "expand": ("0.0", "0.1"), "dw": ("1.0", "1.1"), "proj": ("2", "3")}
_FOLDED_FIRST = {"dw": ("0.0", "0.1"), "proj": ("1", "2")}  # the first block does not expand


def load_backbone(segmenter: Segmenter, path: str | Path) -> None:
    """Load an encoder that has learned before, as the start of a training.

    Args:
        segmenter: the model, whose encoder is filled in place, all or nothing.
        path: of a file with an image classifier of the architecture of the encoder's timm backbone,
            by the key names of timm, of torchvision or of Swin's authors, or of a MobileNetV2 whose
            normalisation was folded into its convolutions
            (features.N.{expand,dw,proj}.{weight,bias}), as TensorFlow Lite has it, made for images
            in [-1, 1]; heads of classifiers, and stages that the encoder leaves out, are passed
            over. Or a checkpoint of another segmenter with an encoder like this one, whose other
            parts are passed over.

    Raises:
        InputError: if the file cannot be read safely, weights of the backbone are missing, or a
            shape differs.
    """
    encoder = segmenter.encoder
    weights = weights_in(read_checkpoint(path), path)
    for prefix in _ENCODER:
        trained = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        if trained:
            fill(encoder, trained, path)
            return
    backbone = getattr(encoder, "backbone", None)
    if not isinstance(backbone, torch.nn.Module):
        raise InputError(f"{path}: {type(encoder).__name__} has no backbone to load into")
    weights = {
        key: value
        for key, value in weights.items()
        if not key.startswith(_HEADS) and not key.endswith(_CONSTANT)
    }
    if any(re.match(r"features\.\d+\.(expand|proj)\.bias$", key) for key in weights):
        weights = _unfold(weights)
        _rescale(weights, encoder.mean, encoder.std)
    wanted = backbone.state_dict()
    if not weights.keys() & wanted.keys() or any(_MERGED_EARLY in key for key in weights):
        weights = {rename_encoder(key) or key: value for key, value in weights.items()}
    kept = {_stage(key) for key in wanted}
    if weights.keys() & wanted.keys():
        weights = {key: value for key, value in weights.items() if _stage(key) in kept}
    fill(backbone, weights, path)


def _stage(key: str) -> str:
    """The part of a network that a key belongs to: layer3, blocks.5, conv_stem."""
    found = re.match(r"(?:blocks|layers|stages)\.\d+|[^.]+", key)
    return key if found is None else found[0]


def _unfold(folded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every convolution with a bias its normalisation back, by the names of torchvision."""
    weights = {}
    for key, value in folded.items():
        found = re.fullmatch(r"features\.(\d+)\.(?:(expand|dw|proj)\.)?(weight|bias)", key)
        if found is None:
            weights[key] = value
            continue
        number, part, kind = int(found[1]), found[2] or "", found[3]
        conv, norm = (_FOLDED_FIRST if number == 1 else _FOLDED)[part]
        prefix = f"features.{number}." + ("conv." if part else "")
        if not part:
            conv, norm = "0", "1"
        value = value.float()
        if kind == "weight":
            weights[f"{prefix}{conv}.weight"] = value
        else:
            weights[f"{prefix}{norm}.bias"] = value
            weights[f"{prefix}{norm}.running_mean"] = torch.zeros_like(value)
            weights[f"{prefix}{norm}.running_var"] = torch.ones_like(value)
            # Undoes the epsilon that normalisation adds to a variance of one.
            weights[f"{prefix}{norm}.weight"] = torch.full_like(value, (1 + 1e-5) ** 0.5)
    return weights


def _rescale(weights: dict[str, Tensor], mean: Tensor, std: Tensor) -> None:
    """Let a network made for images in [-1, 1] take ours, by changing its first convolution.

    Exact but for the outermost pixels, where ours pads with the mean color and it with gray.
    """
    first, shift = weights["features.0.0.weight"], weights["features.0.1.bias"]
    weights["features.0.1.bias"] = shift + (first * (2 * mean.cpu() - 1)).sum((1, 2, 3))
    weights["features.0.0.weight"] = first * 2 * std.cpu()
