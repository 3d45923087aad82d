"""Positions as rotations: what two tokens say to each other depends on how far apart they are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from vosfm.types import Size


@lru_cache(maxsize=16)
def rotations(
    size: Size, channels: int, device: torch.device, temperature: float = 10000.0
) -> Tensor:
    """Rotation of each pair of channels at each place of a map.

    Args:
        size: (h, w).
        channels: a multiple of 4; the first half of the pairs turns with x, the second with y.
        device: of the result.
        temperature: ratio of the longest to the shortest wavelength, about.

    Returns:
        (h*w, channels / 2) complex64 of absolute value 1, row-major.

    Source: "Rotary Position Embedding for Vision Transformer" (axial frequencies), as used in the
    memory attention of SAM 2.
    """
    height, width = size
    # The table outlives the call: a later training step must be able to save it for its gradient.
    with torch.inference_mode(False):
        speed = temperature ** (-torch.arange(0, channels, 4, device=device).float() / channels)
        x = torch.outer(torch.arange(width, device=device).float(), speed)
        y = torch.outer(torch.arange(height, device=device).float(), speed)
        each = (height, width, channels // 4)
        angle = torch.cat((x[None].expand(each), y[:, None].expand(each)), 2).flatten(0, 1)
        return torch.polar(torch.ones_like(angle), angle)


def rotate(tokens: Tensor, rotations: Tensor, still: int = 0) -> Tensor:
    """Turn pairs of neighbouring channels by the place of their token.

    Args:
        tokens: (A, F*N + still, C), F maps of N tokens each, one after the other. May be
            overwritten.
        rotations: (N, C / 2) complex.
        still: last tokens, which have no place and are not turned.

    Returns:
        As tokens.
    """
    end, places = tokens.shape[1] - still, len(rotations)
    pairs = tokens[:, :end].unflatten(1, (end // places, places)).unflatten(3, (-1, 2))
    if tokens.dtype == torch.float32:
        # One pass over the keys of a whole memory, instead of one for each half and their sum.
        torch.view_as_complex(pairs).mul_(rotations)
        return tokens
    turned = torch.view_as_real(torch.view_as_complex(pairs.float()) * rotations)
    turned = turned.to(tokens.dtype).flatten(3).flatten(1, 2)
    return torch.cat((turned, tokens[:, end:]), 1)
