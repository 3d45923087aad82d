"""The objects of a sequence as runs of numbers: how large, where and when each of them is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.errors import InputError


@dataclass(frozen=True)
class Track:
    """One object in the T annotated frames that speak of it, in the order of time.

    Attributes:
        places: (T,) int, of these frames among all annotated ones.
        numbers: (T,) int, which frames of the video they are, as `Truth.numbers`.
        areas: (T,) int, pixels of its mask; 0 where it is not in sight.
        boxes: (T, 4) int, left, top, width and height of the upright box around its mask, in
            pixels; 0 where it is not in sight.
        centroids: (T, 2) float, mean x and y of its pixels; NaN where it is not in sight.
    """

    places: NDArray[np.int64]
    numbers: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]
    centroids: NDArray[np.float64]

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """Indices into the T frames of those that show it."""
        return np.flatnonzero(self.areas)

    @property
    def masks(self) -> int:
        """How many frames show it."""
        return len(self.seen)

    @property
    def length(self) -> int:
        """Frames of the video from the first to the last that shows it; 0 if none does."""
        if not self.masks:
            return 0
        first, last = self.numbers[self.seen[[0, -1]]]
        return int(last - first) + 1

    @cached_property
    def absences(self) -> NDArray[np.int64]:
        """(A, 2): the indices of the frames before it went out of sight and after it came back.

        It is out of sight if at least one annotated frame that speaks of it does not show it. An
        absence that lasts to the end of its annotation has T as its second index.
        """
        if not self.masks:
            return np.empty((0, 2), np.int64)
        ends = np.append(self.seen, len(self.areas))
        gaps = np.flatnonzero(np.diff(ends) > 1)
        return np.stack([ends[gaps], ends[gaps + 1]], axis=1)


@dataclass(frozen=True)
class Tracks:
    """All objects of a sequence.

    Attributes:
        size: (H, W) of its frames; (0, 0) if no annotated frame speaks of an object.
        objects: object id -> its track, in the order of `Truth.object_ids`.
        places: (P,) int, the annotated frames that speak of any object.
        covered: (P,) int, pixels of each of them that at least one mask covers.
        step: frames of the video from one annotated frame to the next, the median of the sequence.
    """

    size: tuple[int, int]
    objects: Mapping[int, Track]
    places: NDArray[np.int64]
    covered: NDArray[np.int64]
    step: float


def measure(truth: Truth) -> Tracks:
    """Read the masks of a sequence once, frame by frame, and keep a few numbers of each.

    Masks of an object in frames that its annotation does not speak of are left out.

    Args:
        truth: of the sequence; one frame of it is in memory at a time.

    Raises:
        InputError: if a mask cannot be read, or the frames differ in size.
    """
    size: tuple[int, int] | None = None
    rows: dict[int, list[tuple[float, ...]]] = {i: [] for i in truth.object_ids}
    places, covered = [], []
    for place, name in enumerate(truth.frame_names):
        spoken = frozenset(truth.ids(place))
        if not spoken:
            continue
        masks = truth.masks(place)
        if size is not None and masks.shape[1:] != size:
            here, before = (f"{h} x {w}" for h, w in (masks.shape[1:], size))
            raise InputError(
                f"{truth.name}, frame {name}: the masks measure {here} (height x width), those of "
                f"the frames before {before}; bring all frames of a sequence to one size"
            )
        size = masks.shape[1], masks.shape[2]
        shown = {
            object_id: _measure_mask(mask)
            for object_id, mask in zip(truth.object_ids, masks, strict=True)
            if object_id in spoken
        }
        for object_id, measured in shown.items():
            rows[object_id].append((place, *measured))
        places.append(place)
        if truth.overlapping:
            rows_shown = [index for index, i in enumerate(truth.object_ids) if i in spoken]
            covered.append(int(np.count_nonzero(masks[rows_shown].any(axis=0))))
        else:
            covered.append(int(sum(measured[0] for measured in shown.values())))
    numbers = np.asarray(truth.numbers, np.int64)
    return Tracks(
        size=size or (0, 0),
        objects={i: _track(own, numbers) for i, own in rows.items()},
        places=np.asarray(places, np.int64),
        covered=np.asarray(covered, np.int64),
        step=float(np.median(np.diff(numbers))) if len(numbers) > 1 else 1.0,
    )


def _measure_mask(mask: Mask) -> tuple[float, ...]:
    """Area, box (left, top, width, height) and centroid (x, y)."""
    shown = np.ascontiguousarray(mask).view(np.uint8)
    left, top, width, height = cv2.boundingRect(shown)
    if not width:
        return 0, 0, 0, 0, 0, np.nan, np.nan
    box = shown[top : top + height, left : left + width]
    # Far quicker than cv2.moments, which reads the box for all orders.
    columns = cv2.reduce(box, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0].astype(np.int64)
    lines = cv2.reduce(box, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0].astype(np.int64)
    area = int(columns.sum())
    x = left + int(columns @ np.arange(width)) / area
    y = top + int(lines @ np.arange(height)) / area
    return area, left, top, width, height, x, y


def _track(rows: list[tuple[float, ...]], numbers: NDArray[np.int64]) -> Track:
    table = np.asarray(rows, np.float64).reshape(-1, 8)
    whole = table[:, :6].astype(np.int64)
    places = whole[:, 0]
    return Track(places, numbers[places], whole[:, 1], whole[:, 2:], table[:, 6:])
