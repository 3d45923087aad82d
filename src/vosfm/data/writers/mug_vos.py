"""The layout of the test set of MUG-VOS: a folder for each track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.mug_vos import MASKS
from vosfm.data.truth import Truth
from vosfm.data.writers.per_object import PerObjectWriter
from vosfm.errors import InputError


class MUGVOSWriter(PerObjectWriter):
    """mug_vos_test_v1/<video>/track_000/000.png and JPEGImages/480p/<video>/00000.jpg.

    Object 1 is track 000. Frames are called by the numbers in their names, in five digits.
    """

    format = "mug_vos"

    def __init__(self, root: Path, split: str | None) -> None:
        super().__init__(root, split)
        if split is not None:
            raise InputError(f"split {split}: MUG-VOS has none; leave it away")

    @property
    def masks(self) -> Path:
        return self.root / MASKS

    @property
    def frames(self) -> Path:
        return self.root / "JPEGImages" / "480p"

    def kept(self, names: Sequence[str]) -> list[str] | None:
        numbers = [int(name) if name.isdecimal() else -1 for name in names]
        if min(numbers) < 0 or sorted(set(numbers)) != numbers:
            return None
        return [f"{number:05d}" for number in numbers]

    def folder(self, object_id: int) -> str:
        return f"track_{object_id - 1:03d}"

    def file(self, frame_name: str) -> str:
        return f"{int(frame_name):03d}.png"

    def check(self, truth: Truth, object_id: int, place: int, shown: bool) -> None:
        if place == truth.starts[object_id] and not shown:
            raise InputError(
                f"{truth.name}, frame {truth.frame_names[place]}: object {object_id} is given here "
                "but not in sight, while tracks of MUG-VOS start with their first pixel; leave "
                "the sequence out with --sequences"
            )
