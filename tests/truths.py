"""Truths in memory, and masks drawn by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vosfm.data.truth import Truth
from vosfm.data.video import Mask

SIZE = (40, 50)
Box = tuple[int, int, int, int]
"""Top, left, height and width of a rectangle."""


class MemoryTruth(Truth):
    """Masks as an array (P, O, H, W); every object starts at once unless told otherwise."""

    def __init__(
        self,
        masks: NDArray[np.bool_],
        object_ids: Sequence[int],
        name: str = "clip",
        starts: Mapping[int, int] | None = None,
        ranges: Mapping[int, tuple[int, ...]] | None = None,
        numbers: Sequence[int] | None = None,
        frame_names: Sequence[str] | None = None,
        length: int | None = None,
        void: Mask | None = None,
        overlapping: bool = False,
        attributes: frozenset[str] = frozenset(),
    ) -> None:
        self._masks = masks
        self._void = void
        self.name = name
        self.object_ids = tuple(object_ids)
        self.starts = dict.fromkeys(object_ids, 0) if starts is None else dict(starts)
        self.ranges = ranges
        self.numbers = tuple(range(len(masks)) if numbers is None else numbers)
        names = (f"{number:05d}" for number in self.numbers)
        self.frame_names = tuple(names if frame_names is None else frame_names)
        self.length = self.numbers[-1] + 1 if length is None else length
        self.overlapping = overlapping
        self.attributes = attributes

    def masks(self, place: int) -> Mask:
        return self._masks[place]

    def void(self, place: int) -> Mask | None:
        void = None if self._void is None else self._void[place]
        return void if void is not None and void.any() else None


def boxes(*objects: Sequence[Box | None], size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """(P, O, H, W) masks of rectangles: of each object one a frame, None where it is not seen."""
    masks = np.zeros((len(objects[0]), len(objects), *size), np.bool_)
    for row, course in enumerate(objects):
        for place, box in enumerate(course):
            if box is not None:
                top, left, height, width = box
                masks[place, row, top : top + height, left : left + width] = True
    return masks
