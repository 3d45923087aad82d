"""Masks as the bits of one Python integer: a shift moves the whole mask, an OR unites two.

A window of a mask is laid out row after row: pixel (y, x) is bit ``y * stride + x``. The columns
from ``width`` to ``stride`` are empty, so that what a horizontal shift pushes over the end of a
row falls between the rows and never into the next. On such integers, boundaries and dilation are
a few dozen operations at memory speed, which is what makes the boundary measure cheap.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a frame that is held: height rows of width pixels, stride bits apart."""

    height: int
    width: int
    stride: int


def pack(
    first: NDArray[np.bool_], second: NDArray[np.bool_], margin: int
) -> tuple[Window, int, int]:
    """Crop two masks to what either holds, and lay them out as bits.

    The crop keeps one pixel more on every side that is not the frame's own edge, which is where
    a boundary may lie. Columns are cropped by whole bytes.

    Args:
        first: (H, W).
        second: (H, W), the same size.
        margin: columns left empty between the rows, the furthest that a dilation reaches.

    Returns:
        The window and the two masks; two zeros in an empty window if both masks are empty.
    """
    height, width = first.shape
    a = np.packbits(first, axis=1, bitorder="little")
    b = np.packbits(second, axis=1, bitorder="little")
    either = a | b
    rows = np.flatnonzero(either.any(axis=1))
    if not rows.size:
        return Window(0, 0, 0), 0, 0
    columns = np.flatnonzero(either.any(axis=0))
    top, bottom = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, height)
    left, right = max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 2, a.shape[1])
    held = min(8 * right, width) - 8 * left
    stride = (held + margin + 7) // 8
    rows_of = np.zeros((2, bottom - top, stride), np.uint8)
    rows_of[0, :, : right - left] = a[top:bottom, left:right]
    rows_of[1, :, : right - left] = b[top:bottom, left:right]
    window = Window(bottom - top, held, 8 * stride)
    return (
        window,
        int.from_bytes(rows_of[0].tobytes(), "little"),
        int.from_bytes(rows_of[1].tobytes(), "little"),
    )


def boundaries(mask: int, window: Window) -> int:
    """Find the pixels that differ from their right, lower or lower right neighbour.

    Over the right and the lower edge of the frame, the edge repeats.

    Args:
        mask: bits of the window.
        window: as packed; it ends at the frame's edge or after an empty row and column.

    Returns:
        Bits of the window.
    """
    has_lower = (1 << window.stride * (window.height - 1)) - 1
    row = ((1 << (window.width - 1)) - 1).to_bytes(window.stride // 8, "little")
    has_right = int.from_bytes(row * window.height, "little")
    right = mask ^ (mask >> 1)
    lower = (mask ^ (mask >> window.stride)) & has_lower
    diagonal = (mask ^ (mask >> (window.stride + 1))) & has_lower
    return ((right | diagonal) & has_right) | lower


def dilate(mask: int, window: Window, radius: int) -> int:
    """Set every pixel whose centre is at most radius away from a set one.

    A disk is a stack of horizontal spans. Every length that occurs is grown out of the shorter
    ones, to the right; one shift then centers a span and moves it to its row.

    Args:
        mask: bits of the window.
        window: packed with a margin of at least radius.
        radius: in pixels, >= 0.

    Returns:
        Bits of the window; bits outside it are arbitrary.
    """
    reach = [isqrt(radius * radius - dy * dy) for dy in range(radius + 1)]
    disk, span, length = 0, mask, 1
    for dy in range(radius, 0, -1):
        span, length = _grow(span, length, 2 * reach[dy] + 1)
        shift = dy * window.stride
        disk |= (span << (shift - reach[dy])) | (span >> (shift + reach[dy]))
    span, _ = _grow(span, length, 2 * radius + 1)
    return disk | (span >> radius)


def _grow(span: int, length: int, wanted: int) -> tuple[int, int]:
    """Lengthen the run to the right of every set pixel from one length to another."""
    while length < wanted:
        step = min(length, wanted - length)
        span |= span << step
        length += step
    return span, length
