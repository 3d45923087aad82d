"""Attention over local windows and over the tokens of a memory."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm.types import Size


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """View (..., N, C) as (..., heads, N, C / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(-2, -3)


def merge_heads(tokens: Tensor) -> Tensor:
    """View (..., heads, N, d) as (..., N, heads * d)."""
    return tokens.transpose(-2, -3).flatten(-2)


@lru_cache(maxsize=16)
def _outside(size: Size, radius: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(W, 2r+1): 0 where a horizontal offset stays inside the map, -inf where it leaves it."""
    width = size[1]
    column = torch.arange(width, device=device)[:, None]
    offset = torch.arange(-radius, radius + 1, device=device)
    target = column + offset
    outside = (target < 0) | (target >= width)
    return torch.zeros(outside.shape, device=device, dtype=dtype).masked_fill_(
        outside, float("-inf")
    )


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    size: Size,
    radius: int,
    bias: Tensor,
    relative_value: Tensor,
) -> Tensor:
    """Attend from each position to the (2r+1) x (2r+1) window around it.

    Computed row by row: the queries of one row meet the 2r+1 rows of keys around it in one dense
    product, of which the diagonal band is the window. That costs more arithmetic than the band
    alone but is a matrix product on memory that fits a cache, where gathering every window (unfold)
    writes (2r+1)^2 copies of the keys.

    Args:
        query: (B, heads, N, d), N = h*w tokens in row-major order; already scaled.
        key: (B, heads, N, d).
        value: (B, heads, N, d).
        size: (h, w).
        radius: r, in tokens.
        bias: (B, heads, N, (2r+1)^2), added to the logits; offsets row-major from (-r, -r).
        relative_value: (heads, (2r+1)^2, d), added to the values by offset.

    Returns:
        (B, heads, N, d). Positions outside the map take no part.

    Source: AOT, section 4.3 (short-term attention) and its relative positions in the released code.
    """
    batch, heads, _, depth = query.shape
    height, width = size
    side = 2 * radius + 1
    padded = width + 2 * radius
    rows = query.reshape(batch * heads, height, width, depth)
    keys = F.pad(key.reshape(batch * heads, height, width, depth), (0, 0, radius, radius))
    values = F.pad(value.reshape(batch * heads, height, width, depth), (0, 0, radius, radius))
    biases = bias.reshape(batch * heads, height, width, side, side)
    biases = biases + _outside(size, radius, query.device, query.dtype)[:, None]
    outputs = []
    for y in range(height):
        first, last = max(0, y - radius), min(height, y + radius + 1)
        span = last - first
        above = first - y + radius
        window = keys[:, first:last].flatten(1, 2)
        # (B*heads, w, span, padded) of which [x, :, x : x + side] is the window of column x.
        dense = torch.bmm(rows[:, y], window.transpose(1, 2))
        strides = (width * span * padded, span * padded + 1, padded, 1)
        band = dense.as_strided((batch * heads, width, span, side), strides)
        logits = band + biases[:, y, :, above : above + span]
        weights = logits.flatten(2).softmax(-1)
        scattered = dense.new_zeros(dense.shape)
        scattered.as_strided(band.shape, strides).copy_(weights.unflatten(2, (span, side)))
        output = torch.bmm(scattered, values[:, first:last].flatten(1, 2))
        offsets = relative_value[:, above * side : (above + span) * side]
        if batch > 1:
            offsets = offsets.repeat(batch, 1, 1)
        outputs.append(torch.baddbmm(output, weights, offsets))
    return torch.stack(outputs, 1).reshape(batch, heads, height * width, depth)


@lru_cache(maxsize=16)
def sine_positions(
    size: Size,
    channels: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    temperature: float = 10000.0,
) -> Tensor:
    """Sine and cosine of the normalised position, half of the channels for each axis.

    Args:
        size: (h, w).
        channels: a multiple of 4; the first half encodes y, the second x.
        device: of the result.
        dtype: of the result.
        temperature: ratio of the longest to the shortest wavelength.

    Returns:
        (h*w, channels).

    Source: the position embedding of DETR, as used in AOT.
    """
    half = channels // 2
    height, width = size
    exponent = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
    frequency = temperature**exponent

    def encode(count: int) -> Tensor:
        place = torch.arange(count, device=device, dtype=torch.float32)
        angle = (place / (place[-1] + 1e-6) * 2 * torch.pi)[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), 2).flatten(1)

    y = encode(height)[:, None].expand(height, width, half)
    x = encode(width)[None].expand(height, width, half)
    return torch.cat((y, x), 2).flatten(0, 1).to(dtype)
