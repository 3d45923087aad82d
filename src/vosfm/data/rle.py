"""COCO's run-length masks: {"size": [H, W], "counts": runs}, with runs as a list or as a string.

Runs go down the columns, first the left one, and tell in turn how many pixels are 0 and how many
are 1; the first tells of zeros and may be 0. In a string every number is what the run is longer
than the one two before it, from the fourth run on, in pieces of five bits, the lowest first: a
character is 48 plus such a piece, plus 32 if another piece follows. The highest bit of the last
piece is the sign.

Source: cocodataset/cocoapi, common/maskApi (the format; written anew for arrays).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Mask
from vosfm.errors import InputError

Runs = NDArray[np.int64]

MOST_PIXELS = 2**28
"""Larger masks are refused: a few characters of JSON can declare any size."""

_OFFSET, _MORE, _BITS = 48, 32, 5
_MOST_PIECES = 7
"""Of a number in a string; 35 bits hold whatever two runs of a mask can differ by."""


def encode(mask: Mask) -> dict[str, Any]:
    """Encode a mask as JSON can hold it.

    Args:
        mask: (H, W) bool.

    Returns:
        "size" and "counts", the latter compressed.

    Raises:
        ValueError: if the mask is not (H, W) bool, or has no pixel.

    Example:
        >>> encode(np.array([[False, True], [False, True]]))
        {'size': [2, 2], 'counts': '22'}
    """
    return {"size": list(mask.shape), "counts": compress(runs_of(mask))}


def decode(rle: Any, whose: str) -> Mask:
    """Decode a mask.

    Args:
        rle: as read from JSON; its counts may be a list, a string or bytes.
        whose: file and field, for messages.

    Returns:
        (H, W) bool.

    Raises:
        InputError: as `runs`.
    """
    height, width = size_of(rle, whose)
    lengths = runs(rle, whose)
    columns = np.repeat(np.arange(lengths.size, dtype=np.uint8) & 1, lengths)
    rows = cv2.transpose(columns.reshape(width, height))
    return np.asarray(rows, dtype=np.uint8).view(np.bool_)


def area(rle: Any, whose: str) -> int:
    """Count the pixels of a mask without decoding it.

    Args:
        rle: as for `decode`.
        whose: file and field, for messages.

    Raises:
        InputError: as `runs`.
    """
    return int(runs(rle, whose)[1::2].sum())


def size_of(rle: Any, whose: str) -> tuple[int, int]:
    """Height and width of a mask.

    Raises:
        InputError: if they are not told, not whole positive numbers, or too large.
    """
    size = rle.get("size") if isinstance(rle, Mapping) else None
    if not (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size)
    ):
        raise InputError(
            f'{whose}: not a run-length mask; it needs a "size" of height and width and "counts"'
        )
    height, width = size
    if height * width > MOST_PIXELS:
        raise InputError(
            f"{whose}: declares a mask of {height} x {width} pixels, more than {MOST_PIXELS}; "
            "check the file"
        )
    return height, width


def runs(rle: Any, whose: str) -> Runs:
    """Lengths of the runs of a mask, zeros first.

    Args:
        rle: as for `decode`.
        whose: file and field, for messages.

    Returns:
        (R,) int64, not below 0, whose sum is H W.

    Raises:
        InputError: if size or counts are missing, of another form or damaged, a run is negative,
            or the runs do not fill the mask.
    """
    height, width = size_of(rle, whose)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        lengths = _decompressed(counts, whose)
    elif isinstance(counts, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and abs(n) <= MOST_PIXELS for n in counts
    ):
        lengths = np.asarray(counts, dtype=np.int64)
    else:
        raise InputError(f'{whose}: "counts" is no list of whole numbers and no string; check it')
    if lengths.size and int(lengths.min()) < 0:
        raise InputError(f"{whose}: a run of {int(lengths.min())} pixels; the mask is damaged")
    if (total := int(lengths.sum())) != height * width:
        raise InputError(
            f"{whose}: its runs have {total} pixels but {height} x {width} (height x width) are "
            f"{height * width}; the mask is damaged"
        )
    return lengths


def runs_of(mask: Mask) -> Runs:
    """Lengths of the runs of a mask, zeros first.

    Args:
        mask: (H, W) bool.

    Returns:
        (R,) int64, whose sum is H W; no run but the first is 0.

    Raises:
        ValueError: if the mask is not (H, W) bool, or has no pixel.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError(f"a mask is (H, W) bool, not {mask.dtype} of shape {mask.shape}")
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=pixels.size)
    return np.concatenate(([0], lengths)) if pixels[0] else lengths


def compress(lengths: Runs) -> str:
    """Write runs as a string.

    Args:
        lengths: (R,) whole numbers.

    Example:
        >>> compress(np.array([6, 1, 40, 4, 5, 4, 5, 4, 21]))
        '61X13mN000`0'
    """
    numbers = lengths.astype(np.int64)
    numbers[3:] -= lengths[1:-2]
    shifted = numbers[:, None] >> (_BITS * np.arange(_MOST_PIECES))
    # The last piece is the first whose highest bit is the sign of all that is left above it.
    done = shifted >> (_BITS - 1)
    last = np.argmax((done == 0) | (done == -1), axis=1)
    place = np.arange(_MOST_PIECES)
    pieces = (shifted & 31) + _OFFSET + _MORE * (place < last[:, None])
    return pieces[place <= last[:, None]].astype(np.uint8).tobytes().decode("ascii")


def _decompressed(counts: str | bytes, whose: str) -> Runs:
    damaged = InputError(f'{whose}: "counts" is no compressed run-length mask; it is damaged')
    try:
        data = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise damaged from None
    pieces = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - _OFFSET
    if not pieces.size:
        return pieces
    if int(pieces.min()) < 0 or int(pieces.max()) >= 2 * _MORE or pieces[-1] & _MORE:
        raise damaged
    ends = np.flatnonzero(pieces < _MORE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    widths = ends - starts + 1
    if int(widths.max()) > _MOST_PIECES:
        raise damaged
    places = np.arange(pieces.size) - np.repeat(starts, widths)
    numbers = np.add.reduceat((pieces & 31) << (_BITS * places), starts)
    numbers -= np.where(pieces[ends] & 16, 1, 0) << (_BITS * widths)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
