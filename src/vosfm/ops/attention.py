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


_BLOCK = 2**20
"""Elements of one dense block of local attention on an accelerator."""


def _tile(size: Size, radius: int, batch: int, device: torch.device) -> Size:
    """How many rows and columns of queries one dense block of local attention takes.

    A square as wide as the window's half wastes least arithmetic, and its block fits the cache of a
    processor core; sides are cut evenly, so that no sliver is left. Accelerators prefer few large
    products: whole rows.
    """
    if device.type == "cpu":
        rows, columns = (-(-side // max(1, round(side / (radius + 1)))) for side in size)
        return rows, columns
    height, width = size
    row = width * (2 * radius + 1) * (width + 2 * radius)
    return max(1, min(height, _BLOCK // (batch * row))), width


@lru_cache(maxsize=16)
def _outside(size: Size, radius: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(h, w, 2r+1, 2r+1): 0 where an offset stays inside the map, -inf where it leaves it."""

    def leaves(count: int) -> Tensor:
        place = torch.arange(count, device=device)[:, None]
        target = place + torch.arange(-radius, radius + 1, device=device)
        return (target < 0) | (target >= count)

    rows, columns = (leaves(count) for count in size)
    outside = rows[:, None, :, None] | columns[None, :, None, :]
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
    seen: Tensor | None = None,
) -> Tensor:
    """Attend from each position to the (2r+1) x (2r+1) window around it, in each of M frames.

    Computed in tiles: the queries of a tile meet all keys around it in one dense product, of which
    the diagonal bands are the windows. That costs more arithmetic than the bands alone but is a
    matrix product on memory that fits a cache, where gathering every window (unfold) writes
    (2r+1)^2 copies of the keys.

    Args:
        query: (B, heads, N, d), N = h*w tokens in row-major order; already scaled.
        key: (B, heads, M*N, d), frame by frame.
        value: (B, heads, M*N, d).
        size: (h, w).
        radius: r, in tokens.
        bias: (B, heads, N, (2r+1)^2), added to the logits; offsets row-major from (-r, -r), the
            same for all frames.
        relative_value: (heads, (2r+1)^2, d), added to the values by offset.
        seen: (B, M) bool, False for frames that take no part; None for no such frames.

    Returns:
        (B, heads, N, d). Positions outside the map take no part. Zeros where no frame does.

    Source: AOT, section 4.3 (short-term attention) and its relative positions in the released code.
    """
    batch, heads, _, depth = query.shape
    height, width = size
    side = 2 * radius + 1
    flat, frames = batch * heads, key.shape[2] // (height * width)
    margins = (0, 0, radius, radius, radius, radius)
    queries = query.reshape(flat, height, width, depth)
    keys = F.pad(key.reshape(flat, frames, height, width, depth), margins)
    values = F.pad(value.reshape(flat, frames, height, width, depth), margins)
    biases = bias.reshape(flat, height, width, side, side)
    outside = _outside(size, radius, query.device, query.dtype).unsqueeze(2)
    blind = None
    if seen is not None:
        blind = ~seen.any(1)
        unseen = ~(seen | blind[:, None]).repeat_interleave(heads, 0).view(flat, 1, 1, -1, 1, 1)
        outside = outside.masked_fill(unseen, float("-inf"))
    offsets = relative_value.repeat(batch, frames, 1)
    rows, columns = _tile(size, radius, flat * frames, query.device)
    bands = []
    for top in range(0, height, rows):
        tiles = []
        for left in range(0, width, columns):
            inner = slice(top, top + rows), slice(left, left + columns)
            outer = slice(top, top + rows + 2 * radius), slice(left, left + columns + 2 * radius)
            tiles.append(
                _attend_tile(
                    queries[:, *inner],
                    keys[:, :, *outer],
                    values[:, :, *outer],
                    biases[:, *inner],
                    outside[..., *inner, :, :, :],
                    offsets,
                )
            )
        bands.append(torch.cat(tiles, 2))
    read = torch.cat(bands, 1).view(batch, heads, height * width, depth)
    return read if blind is None else read.masked_fill(blind[:, None, None, None], 0)


def _attend_tile(
    queries: Tensor, keys: Tensor, values: Tensor, biases: Tensor, outside: Tensor, offsets: Tensor
) -> Tensor:
    """Local attention (n, rows, columns, d) of a tile, n = B * heads.

    Keys and values (n, M, ...) are those of the tile and its margins; biases (n, rows, columns,
    2r+1, 2r+1); outside (n or nothing, rows, columns, M or 1, 2r+1, 2r+1); offsets (n, M*(2r+1)^2,
    d).
    """
    flat, rows, columns, _ = queries.shape
    frames, height, width = keys.shape[1:4]
    shape = (flat, rows, columns, frames, *biases.shape[3:])
    # (n, rows * columns, M * around); query (y, x) finds its window's first row at y * width + x.
    dense = torch.bmm(queries.flatten(1, 2), keys.flatten(1, 3).transpose(1, 2))
    around, row = height * width, dense.shape[2]
    strides = (rows * columns * row, columns * row + width, row + 1, around, width, 1)
    logits = dense.as_strided(shape, strides) + biases.unsqueeze(3)
    weights = (logits + outside).flatten(3).softmax(-1)
    scattered = torch.zeros_like(dense)
    scattered.as_strided(shape, strides).copy_(weights.view(shape))
    seen = torch.bmm(scattered, values.flatten(1, 3))
    return torch.baddbmm(seen, weights.flatten(1, 2), offsets).view(flat, rows, columns, -1)


@lru_cache(maxsize=16)
def sine_positions(
    size: Size,
    channels: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    temperature: float = 10000.0,
    first: int = 0,
) -> Tensor:
    """Sine and cosine of the normalised position, half of the channels for each axis.

    Args:
        size: (h, w).
        channels: a multiple of 4; the first half encodes y, the second x.
        device: of the result.
        dtype: of the result.
        temperature: ratio of the longest to the shortest wavelength.
        first: number of the first row and column; the last is always at a whole turn.

    Returns:
        (h*w, channels).

    Source: the position embedding of DETR, as used in AOT (counts from 0) and SAM 2 (from 1).
    """
    half = channels // 2
    height, width = size
    exponent = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
    frequency = temperature**exponent

    def encode(count: int) -> Tensor:
        place = torch.arange(first, first + count, device=device, dtype=torch.float32)
        angle = (place / (place[-1] + 1e-6) * 2 * torch.pi)[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), 2).flatten(1)

    y = encode(height)[:, None].expand(height, width, half)
    x = encode(width)[None].expand(height, width, half)
    return torch.cat((y, x), 2).flatten(0, 1).to(dtype)
