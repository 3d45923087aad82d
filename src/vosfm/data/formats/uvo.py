"""UVO, its videos that are annotated in every frame.

Layout: VideoDenseSet/UVO_video_<split>_dense.json and uvo_videos_dense_frames/<video>/<n>.png, or
other names of the file and of the folder: UVO 1.0 also has UVO_video_<split>_dense_with_label.json,
with categories, and its script that cuts videos leaves the name of its folder to the user.

The JSON is that of YouTube-VIS: "videos" with "id", "height", "width" and "file_names", relative to
the folder of frames; "annotations" with "id", "video_id" and "segmentations", one for each of
these frames, each a run-length mask or null; and "categories".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.fields import checked, field, inside
from vosfm.data.formats.format import Format, register
from vosfm.data.formats.json_videos import JSONVideos
from vosfm.data.rle_truth import RLETruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError


class UVO(JSONVideos):
    """The videos of a split of UVO; every object is given in the first frame that shows it.

    Objects are numbered from 1 in each video, in the order of their ids in the file, which count
    through all videos. Annotations of crowds ("iscrowd") are no object and are left out, and so is
    an object without a pixel.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the annotations and the frames.
        split: "train" or "val"; the annotations of "test" are not public.
        file: of the annotations, below the root; the split stands for {split}.
        frames: the folder of frames, below the root.
        sequences: only these videos of the split; None for all.

    Source: Wang et al., Unidentified Video Objects, arXiv 2104.04691, and the UVO 1.0 kit guide.
    """

    format = "uvo"

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "val",
        file: str = "VideoDenseSet/UVO_video_{split}_dense.json",
        frames: str = "uvo_videos_dense_frames",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._file = self._root / file.replace("{split}", split)
        self._frames = self._root / frames
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def _told(self) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
        """The videos by name, each with the annotations of its objects."""
        videos: dict[int, tuple[str, dict[str, Any]]] = {}
        for at, video in enumerate(field(self._content, "videos", list, str(self._file))):
            whose = f"{self._file}: video {at}"
            videos[field(video, "id", int, whose)] = _folder_of(video, whose), video
        names = [name for name, _ in videos.values()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{self._file}: two videos {twice}; results need a name for each")
        objects: dict[int, list[dict[str, Any]]] = {video_id: [] for video_id in videos}
        for at, told in enumerate(field(self._content, "annotations", list, str(self._file))):
            whose = f"{self._file}: annotation {at}"
            field(told, "id", int, whose)
            video_id = field(told, "video_id", int, whose)
            if video_id not in objects:
                raise InputError(f"{whose}: of video {video_id}, which is not among the videos")
            if not told.get("iscrowd"):
                objects[video_id].append(told)
        return {name: (video, objects[video_id]) for video_id, (name, video) in videos.items()}

    def __getitem__(self, index: int) -> AnnotatedVideo:
        """A video, its frames read lazily."""
        truth = self.truth(self.sequences[index])
        files = field(self._told[truth.name][0], "file_names", list, f"{self._file}: {truth.name}")
        if not self._frames.is_dir():
            raise InputError(
                f"{self._frames}: no such folder of frames; cut the videos into frames or name it"
            )
        whose = f'{self._file}: {truth.name}: a name in "file_names"'
        paths = [inside(self._frames, name, whose) for name in files]
        return AnnotatedVideo(truth, paths, range(len(paths)))

    def truth(self, name: str) -> RLETruth:
        video, objects = self._told[name]
        whose = f"{self._file}: {name}"
        files = field(video, "file_names", list, whose)
        records: list[dict[int, Any]] = [{} for _ in files]
        captions: dict[int, str] = {}
        for object_id, told in enumerate(sorted(objects, key=lambda one: one["id"]), start=1):
            masks = field(told, "segmentations", list, f"{whose}, annotation {told['id']}")
            if len(masks) != len(files):
                raise InputError(
                    f"{whose}, annotation {told['id']}: {len(masks)} segmentations but {len(files)}"
                    " frames; unpack the file again"
                )
            for place, mask in enumerate(masks):
                if mask is not None:
                    records[place][object_id] = mask
            if (category := told.get("category_id")) in self._categories:
                captions[object_id] = self._categories[category]
        return RLETruth(
            self._file,
            name,
            (field(video, "height", int, whose), field(video, "width", int, whose)),
            [PurePosixPath(file).stem for file in files],
            records,
            captions=captions,
        )


def _folder_of(video: Any, whose: str) -> str:
    """The folder in which the frames of a video lie, by which it is called."""
    files = field(video, "file_names", list, whose)
    if not files:
        raise InputError(f'{whose}: no name in "file_names"; unpack the file again')
    where = f'{whose}: a name in "file_names"'
    parents = {inside(Path(), checked(name, str, where), where).parent for name in files}
    if len(parents) > 1 or len(next(iter(parents)).parts) != 1:
        raise InputError(
            f'{whose}: its "file_names" are not all in one folder, <video>/<frame>.png, but in '
            f"{', '.join(sorted(str(p) for p in parents)[:2])}"
        )
    return next(iter(parents)).name


def _videos(root: Path, split: str | None) -> UVO:
    return UVO(root, split or "val")


def _truths(root: Path, split: str | None, sequences: Sequence[str] | None) -> list[Truth]:
    return UVO(root, split or "val", sequences=sequences).truths()


def _looks(root: Path) -> str | None:
    files = sorted((root / "VideoDenseSet").glob("UVO_video_*_dense.json"))
    splits = [file.stem.removeprefix("UVO_video_").removesuffix("_dense") for file in files]
    return f"its split {' and '.join(splits)}" if splits else None


register(
    Format(
        name="uvo",
        title="UVO",
        layout=(
            "VideoDenseSet/UVO_video_<split>_dense.json and uvo_videos_dense_frames/<video>/<n>.png"
        ),
        split="val",
        videos=_videos,
        truths=_truths,
        looks=_looks,
    )
)
