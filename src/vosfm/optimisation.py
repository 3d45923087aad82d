"""Which parameters learn how fast, and which decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from vosfm.segmenter import Segmenter

_NEVER_DECAY = ("relative_value", "decoder.exit.weight", "relative_position_bias_table")
"""Suffixes of parameters that are kept from decaying whatever their shape."""


def parameter_groups(segmenter: Segmenter, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into backbone and rest, and by weight decay.

    Biases, other vectors, relative positions and the last convolution do not decay; frozen
    parameters are left out.

    Args:
        segmenter: the model.
        weight_decay: of the others.

    Returns:
        Groups for a torch optimiser; `encoder` tells whether a group is the backbone's.

    Source: AOT's released code.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in segmenter.named_parameters():
        if not parameter.requires_grad:
            continue
        encoder = name.startswith("encoder.") and not name.startswith("encoder.project.")
        spared = (
            name.endswith((".bias", "relative_bias"))
            or parameter.dim() == 1
            or name.endswith(_NEVER_DECAY)
        )
        groups.setdefault((encoder, spared), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if spared else weight_decay,
            "encoder": encoder,
        }
        for (encoder, spared), parameters in sorted(groups.items())
    ]
