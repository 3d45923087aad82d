"""Layouts of one index PNG for each annotated frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vosfm.data.masks import write_labels
from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Mask
from vosfm.data.writers.writer import Plan, Writer
from vosfm.errors import InputError


class IndexWriter(Writer):
    """All objects of a frame in one PNG, so that they must not overlap; void is 255."""

    def write(self, truth: Truth, plan: Plan, folder: Path) -> list[str]:
        for place, name in enumerate(plan.frame_names):
            masks = truth.masks(place)
            self.check(truth, plan, place, masks)
            ids = np.array([plan.object_ids[i] for i in truth.object_ids], np.uint8)
            labels = flatten(masks, ids, truth.void(place))
            if labels is None:
                raise InputError(
                    f"{truth.name}, frame {truth.frame_names[place]}: {overlap(truth, masks)}, "
                    f"which an index PNG of {self.format} cannot hold; convert to a layout of one "
                    "folder per object, such as sav"
                )
            write_labels(folder / f"{name}.png", labels)
        return []

    def check(self, truth: Truth, plan: Plan, place: int, masks: Mask) -> None:
        """Look at the masks of a frame before they are written.

        Raises:
            InputError: if they would be read back as another truth.
        """


def flatten(
    masks: Mask, ids: NDArray[np.uint8], void: Mask | None = None
) -> NDArray[np.uint8] | None:
    """Paint masks into one.

    Args:
        masks: (O, H, W) bool.
        ids: (O,) of the masks.
        void: (H, W) bool, pixels without a truth; None if there are none.

    Returns:
        (H, W) ids, void as 255; None if any two overlap, void included.
    """
    labels = np.zeros(masks.shape[1:], np.uint8)
    painted = 0
    for object_id, mask in zip(ids, masks, strict=True):
        labels[mask] = object_id
        painted += int(np.count_nonzero(mask))
    if void is not None:
        labels[void] = VOID
        painted += int(np.count_nonzero(void))
    return labels if np.count_nonzero(labels) == painted else None


def overlap(truth: Truth, masks: Mask) -> str:
    """Name two objects of a frame that overlap."""
    count = masks.sum(0, dtype=np.int64)
    if count.max(initial=0) < 2:
        return "an object overlaps with void pixels"
    y, x = np.unravel_index(int(count.argmax()), count.shape)
    first, second = np.flatnonzero(masks[:, y, x])[:2]
    return f"objects {truth.object_ids[first]} and {truth.object_ids[second]} overlap"
