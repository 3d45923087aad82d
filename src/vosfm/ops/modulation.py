"""Weights of what is remembered, by how surely the object was seen there."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_weights(scores: Tensor, valid: Tensor, span: tuple[float, float]) -> Tensor:
    """Spread weights evenly over entries in the order of their scores.

    Args:
        scores: (..., M).
        valid: (..., M) bool, entries that take part; the others weigh 1.
        span: weights of the least and of the greatest score. Equal scores keep their order; a
            single entry has the least weight.

    Returns:
        (..., M).

    Source: SAM2Long, section 3.3 (object-aware memory bank) and the released code.
    """
    rank = scores.masked_fill(~valid, torch.inf).argsort(dim=-1, stable=True).argsort(-1)
    steps = (valid.sum(-1, keepdim=True) - 1).clamp_min(1)
    low, high = span
    return (low + (high - low) * rank / steps).masked_fill(~valid, 1.0)


def key_weights(
    frames: tuple[Tensor, Tensor], pointers: tuple[Tensor, Tensor], span: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Weights of remembered frames and of object pointers, each ranked among their kind.

    Args:
        frames: scores (..., F) and which of them are looked at, (..., F) bool.
        pointers: the same of pointers, (..., Q).
        span: as `rank_weights`.

    Returns:
        (..., F) and (..., Q). Where only one frame is looked at, everything weighs 1.

    Source: the released code of SAM2Long.
    """
    several = frames[1].sum(-1, keepdim=True) > 1
    of_frames, of_pointers = rank_weights(*frames, span), rank_weights(*pointers, span)
    return of_frames.where(several, 1.0), of_pointers.where(several, 1.0)
