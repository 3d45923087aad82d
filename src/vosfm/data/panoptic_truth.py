"""The truth of a sequence whose masks are panoptic, as VIPSeg has them: each value an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Mask
from vosfm.errors import InputError
from vosfm.files import read_bytes

Panoptic = NDArray[np.int32]

FIRST_THING, LAST_THING, INSTANCES = 125, 12499, 100
"""Values from 1 on are categories of stuff; from the first of these on, INSTANCES times a category
and the number of an instance."""

STRAY = 200
"""Would be a thing of category 2, the ceiling, which is stuff. It is void, say VIPSeg's authors in
issue 1 of VIPSeg-Dataset/VIPSeg-Dataset; their own script makes it ceiling."""


class PanopticTruth(Truth):
    """Panoptic masks of a video, each of their values an object.

    Noise: a connected part (8 neighbours) of an object that covers less than `noise` of the frame
    is no part of the object, in this frame. An object starts in the first frame in which a part is
    left; one of which none ever is does not count. Pixels of no object are void.

    The ids of n objects are 1 to n in an order drawn from (seed, name), so that they tell nothing
    of the category; the same masks always get the same ids.

    Args:
        files: the masks, in the order of time.
        name: of the sequence.
        noise: share of the frame.
        seed: for the ids.
        categories: category -> its name; empty if not known.

    Raises:
        InputError: on the first use of what depends on masks, if one is damaged or of another size
            or kind, or there are more than 254 objects.
    """

    def __init__(
        self,
        files: Sequence[Path],
        name: str,
        noise: float = 1e-4,
        seed: int = 0,
        categories: Mapping[int, str] | None = None,
    ) -> None:
        self.name = name
        self._files = tuple(files)
        self.frame_names = tuple(file.stem for file in files)
        self.numbers = tuple(range(len(files)))
        self.length = len(files)
        self._noise = noise
        self._seed = seed
        self._categories = dict(categories or {})

    @cached_property
    def _starts(self) -> dict[int, int]:
        """Value in the masks -> place of the first frame that shows the object."""
        starts: dict[int, int] = {}
        for place in range(len(self._files)):
            labels = self._read(place)
            for value in _values(labels):
                if value not in starts and self._without_noise(labels == value).any():
                    starts[value] = place
        if len(starts) >= VOID:
            raise InputError(
                f"{self._files[0].parent}: {len(starts)} objects, but results hold {VOID - 1}; "
                "raise the noise, or leave the video out of the list"
            )
        return starts

    @cached_property
    def _of(self) -> dict[int, int]:
        """Object id -> value in the masks."""
        values = sorted(self._starts)
        chance = np.random.default_rng([self._seed, crc32(self.name.encode())])
        return dict(enumerate((values[i] for i in chance.permutation(len(values))), start=1))

    @cached_property
    def object_ids(self) -> tuple[int, ...]:  # type: ignore[override]  # known once masks are read
        """The objects."""
        return tuple(self._of)

    @cached_property
    def starts(self) -> dict[int, int]:  # type: ignore[override]  # known once masks are read
        """Object id -> place of the frame in which it is given."""
        return {i: self._starts[value] for i, value in self._of.items()}

    @cached_property
    def captions(self) -> dict[int, str]:  # type: ignore[override]  # known once masks are read
        """Object id -> its category, where it is known."""
        categories = {
            i: value // INSTANCES if value >= FIRST_THING else value
            for i, value in self._of.items()
        }
        return {i: self._categories[c] for i, c in categories.items() if c in self._categories}

    def masks(self, place: int) -> Mask:
        """(O, H, W) bool masks of a frame, in the order of `object_ids`; empty out of sight.

        Raises:
            InputError: if the mask is missing, damaged or of another size than the first one.
        """
        labels = self._read(place)
        masks = np.zeros((len(self._of), *labels.shape), dtype=np.bool_)
        there = set(_values(labels))
        for row, (i, value) in enumerate(self._of.items()):
            # What is noise before its start is not seen; after it, the rule is the same.
            if value in there and place >= self.starts[i]:
                masks[row] = self._without_noise(labels == value)
        return masks

    def void(self, place: int) -> Mask | None:
        """(H, W) bool, pixels of no object; None if there are none."""
        void = np.asarray(~self.masks(place).any(0))
        return void if void.any() else None

    def _without_noise(self, mask: Mask) -> Mask:
        """The same array, without its small parts."""
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        box = np.ascontiguousarray(mask[top : top + height, left : left + width])
        _, parts, stats, _ = cv2.connectedComponentsWithStats(
            box.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        small = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] < self._noise * mask.size) + 1
        for part in small.tolist():
            x, y, w, h = stats[part, : cv2.CC_STAT_AREA].tolist()
            there = parts[y : y + h, x : x + w] == part
            mask[top + y : top + y + h, left + x : left + x + w][there] = False
        return mask

    def _read(self, place: int) -> Panoptic:
        labels = _read_panoptic(self._files[place])
        if labels.shape != (size := self._size):
            found, first = (f"{h} x {w}" for h, w in (labels.shape, size))
            raise InputError(
                f"{self._files[place]}: the mask measures {found} (height x width) but the first "
                f"one of the video {first}; unpack it again"
            )
        return labels

    @cached_property
    def _size(self) -> tuple[int, ...]:
        return _read_panoptic(self._files[0]).shape


def _read_panoptic(path: Path) -> Panoptic:
    """(H, W) values of a panoptic mask; what is void is 0."""
    data = read_bytes(path, "panoptic mask")
    try:
        with Pictures.open(BytesIO(data), formats=["PNG"]) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except Exception as error:  # Pillow does not document what it raises
        raise InputError(f"{path}: no PNG, or a damaged one ({error}); unpack it again") from None
    if mode == "RGB":
        return np.asarray(pixels.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32))
    if mode not in ("I;16", "I;16B", "I", "L", "P"):
        raise InputError(f"{path}: a PNG of kind {mode}, not a panoptic mask of 16 bits")
    labels = pixels.astype(np.int32)
    if int(labels.max(initial=0)) > LAST_THING:
        raise InputError(
            f"{path}: holds {int(labels.max())}, but the values of VIPSeg end at {LAST_THING}"
        )
    labels[labels == STRAY] = 0
    return labels


def _values(labels: Panoptic) -> list[int]:
    """Values of a mask but void, in ascending order."""
    if int(labels.max(initial=0)) <= LAST_THING:
        found: NDArray[Any] = np.flatnonzero(np.bincount(labels.ravel()))
    else:
        found = np.unique(labels)
    return [int(value) for value in found if value]
