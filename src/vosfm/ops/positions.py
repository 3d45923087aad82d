"""Codes of places that are numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_code(places: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Sines, then cosines, of a number at many wavelengths.

    Args:
        places: (...) float.
        channels: an even number.
        temperature: ratio of the longest to the shortest wavelength.

    Returns:
        (..., channels).

    Source: the released code of SAM 2, where it tells how long ago an object pointer is; each
    wavelength occurs twice.
    """
    half = channels // 2
    pair = torch.arange(half, device=places.device).div(2, rounding_mode="floor")
    angle = places[..., None] / temperature ** (2 * pair / half)
    return torch.cat((angle.sin(), angle.cos()), -1)
