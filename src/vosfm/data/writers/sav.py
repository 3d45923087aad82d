"""The layout of SA-V's validation and test sets: a folder of PNGs for each object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.sav import FRAMES, MASKS
from vosfm.data.truth import Truth
from vosfm.data.writers.per_object import PerObjectWriter
from vosfm.data.writers.writer import Plan
from vosfm.errors import InputError
from vosfm.files import whole


class SAVWriter(PerObjectWriter):
    """sav_<split>/Annotations_6fps/<video>/000/00000.png, JPEGImages_24fps and sav_<split>.txt.

    Object 1 lies in the folder 000. The names of the outer folders are those of SA-V, whatever the
    rates of the frames are.
    """

    format = "sav"

    def __init__(self, root: Path, split: str | None) -> None:
        super().__init__(root, split)
        if split is None or len(Path(split).parts) != 1:
            raise InputError(f"split {split}: SA-V calls them by one name, such as val")
        self._folder = root / f"sav_{split.removeprefix('sav_')}"

    @property
    def masks(self) -> Path:
        return self._folder / MASKS

    @property
    def frames(self) -> Path:
        return self._folder / FRAMES

    def folder(self, object_id: int) -> str:
        return f"{object_id - 1:03d}"

    def finish(self, truths: Sequence[Truth], plans: Sequence[Plan]) -> None:
        with whole(self._folder / f"{self._folder.name}.txt") as partial:
            partial.write_text("".join(f"{plan.name}\n" for plan in plans), encoding="utf-8")
