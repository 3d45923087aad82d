"""The masks of one frame in a few bytes: what they are is known before any of them is decoded.

A JSON object of columns, one entry for each object in sight, deflated by zlib:

    {"size": [H, W], "ids": [3, 8], "areas": [1203, 77], "boxes": [[x, y, w, h], ...],
     "quality": [0.97, null] or null, "counts": ["...", "..."], "void": "..."}

Counts are COCO's compressed runs, see `vosfm.data.rle`; "void" is there if a pixel has no truth.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vosfm.data.rle import compress, decode, runs_of, size_of
from vosfm.data.video import VOID, Annotation, Mask
from vosfm.errors import InputError

MOST_BYTES = 2**26
"""Of the columns of one frame, inflated: a few bytes can be inflated to any number."""

_LEVEL = 6
"""Of zlib: 9 saves one byte in a thousand. Binary columns would save 3 to 7 in a hundred."""

_DIGITS = 4
"""Of a quality, which is an IoU."""

Box = tuple[int, int, int, int]
"""Left, top, width and height."""


@dataclass(frozen=True)
class Columns:
    """The objects in sight in one frame; a row is a place in these tuples.

    Attributes:
        size: (H, W) of the frame.
        ids: of the objects, each once, from 1 to 254.
        areas: pixels of each mask, at least 1.
        boxes: the smallest rectangle around each mask.
        counts: the runs of each mask.
        quality: IoU of each mask with the one that it was found by, in [0, 1], where somebody noted
            it; None if nobody noted any.
        hidden: the runs of the pixels without a truth; None if there are none.
    """

    size: tuple[int, int]
    ids: tuple[int, ...]
    areas: tuple[int, ...]
    boxes: tuple[Box, ...]
    counts: tuple[str, ...]
    quality: tuple[float | None, ...] | None = None
    hidden: str | None = None

    @classmethod
    def of(cls, note: Annotation, quality: Mapping[int, float] | None = None) -> Columns:
        """Encode the masks of a frame; those without a pixel are left out.

        Args:
            note: the masks.
            quality: object id -> IoU in [0, 1], if anybody noted any.

        Raises:
            ValueError: if an id is not 1 to 254, or there twice, or a quality out of range.
        """
        if len(set(note.object_ids)) < len(note.object_ids):
            raise ValueError(f"an id is there twice: {note.object_ids}")
        if odd := [i for i in note.object_ids if not 0 < i < VOID]:
            raise ValueError(f"object {odd[0]}: ids are 1 to {VOID - 1}")
        rows = [
            (int(i), int(np.count_nonzero(mask)), mask)
            for i, mask in sorted(zip(note.object_ids, note.masks, strict=True), key=_first)
            if mask.any()
        ]
        return cls(
            size=(int(note.masks.shape[1]), int(note.masks.shape[2])),
            ids=tuple(i for i, _, _ in rows),
            areas=tuple(area for _, area, _ in rows),
            boxes=tuple(_box(mask) for _, _, mask in rows),
            counts=tuple(compress(runs_of(mask)) for _, _, mask in rows),
            quality=_rounded(quality, [i for i, _, _ in rows]),
            hidden=None if note.void is None else compress(runs_of(note.void)),
        )

    def to_bytes(self) -> bytes:
        """Deflate; equal columns give equal bytes."""
        told: dict[str, Any] = {
            "size": self.size,
            "ids": self.ids,
            "areas": self.areas,
            "boxes": self.boxes,
            "quality": self.quality,
            "counts": self.counts,
        }
        if self.hidden is not None:
            told["void"] = self.hidden
        return zlib.compress(json.dumps(told, separators=(",", ":")).encode("ascii"), _LEVEL)

    @classmethod
    def from_bytes(cls, data: bytes, size: tuple[int, int], whose: str) -> Columns:
        """Inflate and check; no mask is decoded.

        Args:
            data: as `to_bytes` gave it.
            size: (H, W) that the frame has.
            whose: masks they are, for messages.

        Raises:
            InputError: if the bytes are damaged, inflate to more than `MOST_BYTES`, or the columns
                do not fit each other or the frame.
        """
        told = _inflated(data, whose)
        columns: list[Any] = [told.get(name) for name in ("ids", "areas", "boxes", "counts")]
        ids, areas, boxes, counts = columns
        if size_of(told, whose) != size:
            raise InputError(
                f"{whose}: they measure {told['size']} but the frame {list(size)} (height, width); "
                "pack the video again"
            )
        pixels = size[0] * size[1]
        quality, hidden = told.get("quality"), told.get("void")
        fits = (
            _are_numbers(ids, 1, VOID - 1)
            and len(set(ids)) == len(ids)
            and _are_numbers(areas, 1, pixels)
            and isinstance(boxes, list)
            and all(_is_box(box, size) for box in boxes)
            and isinstance(counts, list)
            and all(isinstance(runs, str) for runs in counts)
            and len(ids) == len(areas) == len(boxes) == len(counts)
            and (quality is None or _are_qualities(quality, len(ids)))
            and (hidden is None or isinstance(hidden, str))
        )
        if not fits:
            raise InputError(f"{whose}: their columns do not fit; pack the video again")
        return cls(
            size,
            tuple(ids),
            tuple(areas),
            tuple((x, y, w, h) for x, y, w, h in boxes),
            tuple(counts),
            None if quality is None else tuple(quality),
            hidden,
        )

    def mask(self, row: int, whose: str) -> Mask:
        """Decode the mask of one object, (H, W) bool.

        Args:
            row: which.
            whose: masks they are, for messages.

        Raises:
            InputError: if it is damaged.
        """
        told = f"{whose}, object {self.ids[row]}"
        mask = decode({"size": self.size, "counts": self.counts[row]}, told)
        if np.count_nonzero(mask) != self.areas[row]:
            raise InputError(f"{told}: not of {self.areas[row]} pixels, as is told beside it")
        return mask

    def void(self, whose: str) -> Mask | None:
        """Decode the pixels without a truth, (H, W) bool; None if there are none.

        Raises:
            InputError: if they are damaged.
        """
        if self.hidden is None:
            return None
        return decode({"size": self.size, "counts": self.hidden}, f"{whose}, void")


def _inflated(data: bytes, whose: str) -> dict[str, Any]:
    inflating = zlib.decompressobj()
    try:
        text = inflating.decompress(data, MOST_BYTES)
        if inflating.unconsumed_tail or (not inflating.eof and len(text) == MOST_BYTES):
            raise InputError(f"{whose}: inflate to more than {MOST_BYTES} bytes; check the shard")
        if not inflating.eof or inflating.unused_data:
            raise InputError(f"{whose}: cut off, or followed by other bytes; pack the video again")
        told = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{whose}: damaged, {error}; pack the video again") from None
    if not isinstance(told, dict):
        raise InputError(f"{whose}: no columns; pack the video again")
    return told


def _first(row: tuple[int, Mask]) -> int:
    return row[0]


def _box(mask: Mask) -> Box:
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return left, top, width, height


def _rounded(
    quality: Mapping[int, float] | None, ids: Sequence[int]
) -> tuple[float | None, ...] | None:
    if quality is None:
        return None
    if odd := [i for i in ids if i in quality and not 0 <= quality[i] <= 1]:
        raise ValueError(f"object {odd[0]}: a quality of {quality[odd[0]]}, not in [0, 1]")
    return tuple(round(float(quality[i]), _DIGITS) if i in quality else None for i in ids)


def _are_numbers(values: Any, least: int, most: int) -> bool:
    return isinstance(values, list) and all(type(n) is int and least <= n <= most for n in values)


def _is_box(box: Any, size: tuple[int, int]) -> bool:
    if not _are_numbers(box, 0, max(size)) or len(box) != 4:
        return False
    x, y, width, height = box
    return bool(width and height and x + width <= size[1] and y + height <= size[0])


def _are_qualities(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            q is None or (type(q) in (int, float) and math.isfinite(q) and 0 <= q <= 1)
            for q in values
        )
    )
