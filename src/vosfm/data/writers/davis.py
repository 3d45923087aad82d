"""The layout of DAVIS 2017: objects 1 to N, all of them given in the first frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.data.writers.index import IndexWriter
from vosfm.data.writers.writer import Plan
from vosfm.errors import InputError
from vosfm.files import whole

RESOLUTION = "480p"
"""The folder that DAVIS is read from unless told otherwise; pictures keep their own size."""


class DavisWriter(IndexWriter):
    """JPEGImages/480p, Annotations/480p and ImageSets/<year>/<split>.txt."""

    format = "davis"

    def __init__(self, root: Path, split: str | None) -> None:
        super().__init__(root, split)
        if split is None or len(Path(split).parts) != 2:
            raise InputError(f"split {split}: DAVIS calls them by year and name, such as 2017/val")

    @property
    def masks(self) -> Path:
        return self.root / "Annotations" / RESOLUTION

    @property
    def frames(self) -> Path:
        return self.root / "JPEGImages" / RESOLUTION

    def plan(self, truth: Truth, pictures: Sequence[str] | None = None) -> Plan:
        plan = super().plan(truth, pictures)
        if late := [i for i in truth.object_ids if truth.starts[i] > 0]:
            raise InputError(
                f"{truth.name}: object {late[0]} starts in frame "
                f"{truth.frame_names[truth.starts[late[0]]]}, but all objects of DAVIS are given "
                "in the first frame; convert to youtube_vos, or leave it out with --sequences"
            )
        return plan

    def keeps(self, ids: Collection[int]) -> bool:
        return list(ids) == list(range(1, len(ids) + 1))

    def check(self, truth: Truth, plan: Plan, place: int, masks: Mask) -> None:
        if place == 0 and not masks[-1].any():
            raise InputError(
                f"{truth.name}, frame {truth.frame_names[0]}: object {truth.object_ids[-1]} is not "
                "in sight, but DAVIS counts the objects up to the largest id of the first frame; "
                "leave the sequence out with --sequences"
            )

    def finish(self, truths: Sequence[Truth], plans: Sequence[Plan]) -> None:
        path = self.root / "ImageSets" / f"{self.split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_text("".join(f"{plan.name}\n" for plan in plans), encoding="utf-8")
