"""Layouts of one folder of PNGs for each object: overlaps survive, and so does what is not told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vosfm.data.masks import write_labels
from vosfm.data.truth import Truth
from vosfm.data.video import VOID
from vosfm.data.writers.writer import Plan, Writer
from vosfm.errors import InputError


class PerObjectWriter(Writer):
    """A PNG for every frame that an object's annotation speaks of, also where it shows nothing."""

    @abstractmethod
    def folder(self, object_id: int) -> str:
        """What the folder of an object is called."""

    def file(self, frame_name: str) -> str:
        """What the PNG of a frame is called."""
        return f"{frame_name}.png"

    def value(self, object_id: int) -> int:
        """Of the pixels of an object."""
        return VOID

    def write(self, truth: Truth, plan: Plan, folder: Path) -> list[str]:
        folders = {i: folder / self.folder(plan.object_ids[i]) for i in truth.object_ids}
        for path in folders.values():
            path.mkdir()
        left = dict.fromkeys(truth.object_ids, False)
        void = 0
        for place, name in enumerate(plan.frame_names):
            spoken = frozenset(truth.ids(place))
            if not spoken:
                continue
            void += truth.void(place) is not None
            for object_id, mask in zip(truth.object_ids, truth.masks(place), strict=True):
                if object_id not in spoken:
                    left[object_id] |= bool(mask.any())
                    continue
                self.check(truth, object_id, place, bool(mask.any()))
                pixels = mask * np.uint8(self.value(plan.object_ids[object_id]))
                write_labels(folders[object_id] / self.file(name), pixels)
        return self._lost(truth, void, [i for i, some in left.items() if some])

    def check(self, truth: Truth, object_id: int, place: int, shown: bool) -> None:
        """Look at the mask of an object in a frame before it is written.

        Raises:
            InputError: if it would be read back as another truth.
        """

    def plan(self, truth: Truth, pictures: Sequence[str] | None = None) -> Plan:
        begun: dict[int, int] = {}
        for place in range(len(truth.frame_names)):
            for object_id in truth.ids(place):
                begun.setdefault(object_id, place)
        if odd := [i for i in truth.object_ids if begun.get(i) != truth.starts[i]]:
            raise InputError(
                f"{truth.name}: object {odd[0]} is given in another frame than its annotation "
                "begins with; leave the sequence out with --sequences"
            )
        return super().plan(truth, pictures)

    def _lost(self, truth: Truth, void: int, left: list[int]) -> list[str]:
        lines = []
        if void:
            lines.append(
                f"{truth.name}: void pixels in {void} frames; {self.format} has none, they are "
                "background now"
            )
        if left:
            lines.append(
                f"{truth.name}: masks of objects {', '.join(map(str, left))} in frames that their "
                "annotation does not speak of are left out"
            )
        return lines
