"""BURST.

Layout: annotations/<split>/all_classes.json, beside it common_classes.json, uncommon_classes.json
and first_frame_annotations.json; and frames/<split>/<dataset>/<sequence>/<frame>.jpg, the frames of
TAO. BURST leaves the name of the folder of frames to the user; TAO unpacks to "frames".

The JSON has "categories" and "sequences"; of each of these "dataset", "seq_name", "height",
"width", "all_image_paths", "annotated_image_paths" (names inside the sequence's folder),
"segmentations" (for each annotated frame: track id -> {"rle": counts}) and "track_category_ids"
(track id -> category).

Source: Ali2500/BURST-benchmark, ANNOTATION_FORMAT.md and README.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.fields import checked, field, inside, plain_name
from vosfm.data.formats.format import Format, register
from vosfm.data.formats.json_videos import JSONVideos
from vosfm.data.rle_truth import RLETruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError


class BURST(JSONVideos):
    """The sequences of a split of BURST; every object is given in the first frame that shows it.

    A sequence is called <dataset>_<sequence>, since two datasets may have one of the same name.
    Objects keep their track ids, which start at 1 in every sequence. `first_frame_annotations`
    holds no masks that are not in `all_classes`, and cannot be scored by.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the annotations and the frames.
        split: "train", "val" or "test".
        classes: the file of annotations, "all_classes", "common_classes" or "uncommon_classes".
        all_frames: whether models see all frames, not the annotated ones alone (1 a second in val
            and test). Only annotated ones are reported.
        frames: the folder of frames, below the root.
        sequences: only these sequences of the split; None for all.

    Source: Athar et al., BURST, arXiv 2209.12118.
    """

    format = "burst"

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "val",
        classes: str = "all_classes",
        all_frames: bool = False,
        frames: str = "frames",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._file = self._root / "annotations" / split / f"{classes}.json"
        self._frames = self._root / frames / split
        self._all_frames = all_frames
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def _told(self) -> dict[str, dict[str, Any]]:
        """What is told of each sequence, by its name."""
        told: dict[str, dict[str, Any]] = {}
        for at, sequence in enumerate(field(self._content, "sequences", list, str(self._file))):
            whose = f"{self._file}: sequence {at}"
            parts = [
                plain_name(field(sequence, key, str, whose), f'{whose}: "{key}"')
                for key in ("dataset", "seq_name")
            ]
            if (name := "_".join(parts)) in told:
                raise InputError(f"{whose}: a second sequence {name}; unpack the file again")
            told[name] = sequence
        return told

    def __getitem__(self, index: int) -> AnnotatedVideo:
        """A sequence, its frames read lazily."""
        name = self.sequences[index]
        truth, told = self.truth(name), self._told[name]
        if not self._frames.is_dir():
            raise InputError(f"{self._frames}: no such folder of frames; unpack those of TAO there")
        folder = self._frames / told["dataset"] / told["seq_name"]
        key = "all_image_paths" if self._all_frames else "annotated_image_paths"
        whose = f"{self._file}: {name}"
        files = [inside(folder, file, f'{whose}: "{key}"') for file in _names(told, key, whose)]
        return AnnotatedVideo(
            truth, files, truth.numbers if self._all_frames else range(len(files))
        )

    def truth(self, name: str) -> RLETruth:
        told = self._told[name]
        whose = f"{self._file}: {name}"
        size = field(told, "height", int, whose), field(told, "width", int, whose)
        files, annotated = (
            _names(told, key, whose) for key in ("all_image_paths", "annotated_image_paths")
        )
        places = {file: at for at, file in enumerate(files)}
        if unknown := [file for file in annotated if file not in places]:
            raise InputError(
                f'{whose}: "annotated_image_paths" names {unknown[0]}, which "all_image_paths" '
                "does not; unpack the file again"
            )
        records: list[dict[int, Any]] = []
        for place, masks in enumerate(field(told, "segmentations", list, whose)):
            at = f'{whose}: "segmentations" {place}'
            records.append(
                {
                    _track(key, at): {
                        "size": size,
                        "counts": field(mask, "rle", str, f"{at}, {key}"),
                    }
                    for key, mask in checked(masks, dict, at).items()
                }
            )
        categories = {
            _track(key, f'{whose}: "track_category_ids"'): category
            for key, category in field(told, "track_category_ids", dict, whose).items()
        }
        return RLETruth(
            self._file,
            name,
            size,
            [PurePosixPath(file).stem for file in annotated],
            records,
            numbers=[places[file] for file in annotated],
            length=len(files),
            captions={
                i: self._categories[c] for i, c in categories.items() if c in self._categories
            },
        )


def _names(told: Any, key: str, whose: str) -> list[str]:
    names = [checked(name, str, f'{whose}: "{key}"') for name in field(told, key, list, whose)]
    if not names:
        raise InputError(f'{whose}: no frame in "{key}"; unpack the file again')
    return names


def _track(key: str, whose: str) -> int:
    if not key.isdecimal():
        raise InputError(f"{whose}: a track {key!r}, which is no number; unpack the file again")
    return int(key)


def _videos(root: Path, split: str | None) -> BURST:
    return BURST(root, split or "val")


def _truths(root: Path, split: str | None, sequences: Sequence[str] | None) -> list[Truth]:
    return BURST(root, split or "val", sequences=sequences).truths()


def _looks(root: Path) -> str | None:
    splits = sorted(file.parent.name for file in root.glob("annotations/*/all_classes.json"))
    return f"its split {' and '.join(splits)}" if splits else None


register(
    Format(
        name="burst",
        title="BURST",
        layout=(
            "annotations/<split>/all_classes.json and "
            "frames/<split>/<dataset>/<sequence>/<frame>.jpg"
        ),
        split="val",
        videos=_videos,
        truths=_truths,
        looks=_looks,
    )
)
