"""The layout of YouTube-VOS: objects may start later, meta.json tells in which frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.meta import META, SEEN
from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.data.writers.index import IndexWriter
from vosfm.data.writers.writer import Plan
from vosfm.errors import InputError
from vosfm.files import whole


class YouTubeVOSWriter(IndexWriter):
    """<split>/JPEGImages, <split>/Annotations and <split>/meta.json.

    An object's "frames" are those that its annotation speaks of, from the one in which it is given.
    Its "category" is what the source says of it, where that tells seen from unseen as the source
    does; else there is none, since our reader would take every unknown word for an unseen category.
    """

    format = "youtube_vos"

    def __init__(self, root: Path, split: str | None) -> None:
        super().__init__(root, split)
        if split is None or len(Path(split).parts) != 1:
            raise InputError(f"split {split}: YouTube-VOS calls them by one name, such as valid")
        self._folder = root / split

    @property
    def masks(self) -> Path:
        return self._folder / "Annotations"

    @property
    def frames(self) -> Path:
        return self._folder / "JPEGImages"

    def check(self, truth: Truth, plan: Plan, place: int, masks: Mask) -> None:
        for row, object_id in enumerate(truth.object_ids):
            if truth.starts[object_id] == place and not masks[row].any():
                raise InputError(
                    f"{truth.name}, frame {truth.frame_names[place]}: object {object_id} is given "
                    "here but not in sight, while YouTube-VOS gives objects in frames that show "
                    "them; convert to sav, or leave the sequence out with --sequences"
                )

    def finish(self, truths: Sequence[Truth], plans: Sequence[Plan]) -> None:
        videos = {
            plan.name: {"objects": _objects(truth, plan)}
            for truth, plan in zip(truths, plans, strict=True)
        }
        with whole(self._folder / META) as partial:
            partial.write_text(json.dumps({"videos": videos}, indent=1) + "\n", encoding="utf-8")


def _objects(truth: Truth, plan: Plan) -> dict[str, dict[str, object]]:
    frames: dict[int, list[str]] = {i: [] for i in truth.object_ids}
    for place, name in enumerate(plan.frame_names):
        for object_id in truth.ids(place):
            if place > truth.starts[object_id]:
                frames[object_id].append(name)
    told = _tells_unseen(truth)
    objects: dict[str, dict[str, object]] = {}
    for object_id, later in frames.items():
        category = {"category": truth.captions[object_id]} if told else {}
        first = plan.frame_names[truth.starts[object_id]]
        objects[str(plan.object_ids[object_id])] = {**category, "frames": [first, *later]}
    return objects


def _tells_unseen(truth: Truth) -> bool:
    """Whether what is said of the objects tells the unseen ones from the others."""
    return truth.unseen is not None and all(
        i in truth.captions and (truth.captions[i] not in SEEN) == (i in truth.unseen)
        for i in truth.object_ids
    )
