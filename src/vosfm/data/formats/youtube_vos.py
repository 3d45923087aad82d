"""YouTube-VOS 2018 and 2019.

Layout: <split>/JPEGImages/<video>/00000.jpg and <split>/Annotations/<video>/00000.png, at 6 frames
per second, so that names go in steps of five; <split>/meta.json tells the objects; and, if it was
unpacked, <split>_all_frames/JPEGImages/<video>/00000.jpg holds all 30 frames of a second.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from vosfm.data.datasets import ListedVideos
from vosfm.data.folder import FrameFolder, list_frames
from vosfm.data.formats.format import FORMATS, Format, mismatch, register
from vosfm.data.formats.layout import chosen, looks_split, sequence_folders, split_folder
from vosfm.data.formats.meta import META, Described, Meta, read_meta
from vosfm.data.index_truth import IndexTruth, as_they_appear
from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.errors import InputError


class YouTubeVideo(FrameFolder):
    """A video of YouTube-VOS; every object is given in the frame that first shows it.

    Args:
        path: the folder of its frames.
        masks: the folder of its masks.
        objects: what meta.json tells of its objects. None if there is none: an object is then
            given by the first mask that holds it.
        reported: the folder of the frames whose results are asked for; None for all frames.

    Raises:
        InputError: as `FrameFolder`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        objects: Mapping[int, Described] | None = None,
        reported: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(path, masks)
        self._annotated = Path(masks)
        self._objects = objects
        self._reported = None if reported is None else Path(reported)
        if objects is not None and all(told.unseen is not None for told in objects.values()):
            self.unseen = frozenset(i for i, told in objects.items() if told.unseen)

    @cached_property
    def truth(self) -> Truth:  # type: ignore[override]  # read when it is asked for
        """Its annotation, by which it is scored."""
        if self._objects is None:
            return IndexTruth(self._annotated, as_they_appear)
        return _truth(self._annotated, self._objects)

    def reported(self) -> tuple[int, ...]:
        """The frames that the benchmark takes, which are those at 6 frames per second.

        Raises:
            InputError: if one of them is not among all frames.
        """
        if self._reported is None:
            return super().reported()
        return tuple(self._place(file.stem, str(file)) for file in list_frames(self._reported))

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """Frame index -> object id -> (H, W) bool mask of the objects that start there.

        Raises:
            InputError: if no object is told of, or a frame or mask in which one starts is missing
                or does not show it.
        """
        starts = self._first_masks() if self._objects is None else self._described()
        if not starts:
            raise InputError(f"{self._path}: no object in this video; leave it out")
        prompts: dict[int, dict[int, Mask]] = {}
        for object_id, index in sorted(starts.items(), key=lambda start: (start[1], start[0])):
            note = self.annotation(index)
            if note is None or object_id not in note.object_ids:
                lack = "has no mask" if note is None else "does not show it in its mask"
                raise InputError(
                    f"{self._path}: object {object_id} starts in frame {self.frame_names[index]} "
                    f"by {META}, which {lack}; unpack the annotations again or leave the video out"
                )
            prompts.setdefault(index, {})[object_id] = note.masks[note.object_ids.index(object_id)]
        return prompts

    def _described(self) -> dict[int, int]:
        what = f"{self._path}: by {META}, the start of object"
        told = self._objects or {}
        return {i: self._place(told[i].first, f"{what} {i}") for i in told}

    def _first_masks(self) -> dict[int, int]:
        starts: dict[int, int] = {}
        for index in self.annotated():
            note = self.annotation(index)
            for object_id in note.object_ids if note else ():
                starts.setdefault(object_id, index)
        return starts

    def _place(self, name: str, what: str) -> int:
        if name not in self.frame_names:
            raise InputError(
                f"{what}: frame {name} is not in {self._path}; unpack that folder again"
            )
        return self.frame_names.index(name)


class YouTubeVOS(ListedVideos):
    """The videos of a split of YouTube-VOS.

    Objects join in the middle of videos; each is given once, in its first frame. The training
    split has masks of all its frames; wrap it to train on it:
    `VideoClips(YouTubeVOS(root, "train"), ...)`. Validation and test have masks of first frames
    only, so there is nothing to score them by: predict them, and let the benchmark's server score
    the masks.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the splits.
        split: its folder, "train", "valid" or "test".
        all_frames: whether models see all 30 frames of a second. Only those at 6 frames per second
            are reported, and only they can have masks.
        sequences: only these videos of the split; None for all.
        unseen: the categories that training has not shown, for the protocol `youtube_vos`; None for
            those of no training video.

    Source: Xu et al., arXiv 1809.03327.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "valid",
        all_frames: bool = False,
        sequences: Sequence[str] | None = None,
        unseen: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._all_frames = all_frames
        self._wanted = None if sequences is None else tuple(sequences)
        self._unseen = None if unseen is None else tuple(unseen)

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the videos, in the order of meta.json, or of their names if there is none.

        Raises:
            InputError: if a folder or a video is missing, or meta.json is damaged.
        """
        folders = self._folders()
        meta = self._root / self._split / META
        if self._meta is None:
            meta = folders[0]
            names = tuple(sorted(f.name for f in meta.iterdir() if f.is_dir()))
        else:
            names = tuple(self._meta)
        if not names:
            raise InputError(f"{meta}: no video in it; unpack it again")
        if self._wanted is not None:
            if unknown := [name for name in self._wanted if name not in names]:
                raise InputError(
                    f"{meta}: no video {', '.join(unknown)}; there are {len(names)}, the first is "
                    f"{names[0]}"
                )
            names = tuple(name for name in names if name in self._wanted)
        for folder in folders:
            if missing := [name for name in names if not (folder / name).is_dir()]:
                raise InputError(
                    f"{folder}: {len(missing)} of the {len(names)} videos of {self._split} are "
                    f"missing, the first is {missing[0]}; unpack them or name the others as "
                    "sequences"
                )
        return names

    def __getitem__(self, index: int) -> YouTubeVideo:
        """A video, its frames and masks read lazily."""
        name = self.sequences[index]
        frames, masks, *dense = (folder / name for folder in self._folders())
        objects = None if self._meta is None else self._meta[name]
        if not dense:
            return YouTubeVideo(frames, masks, objects)
        return YouTubeVideo(dense[0], masks, objects, reported=frames)

    @cached_property
    def _meta(self) -> Meta | None:
        path = self._root / self._split / META
        # A list of categories is of no use without it, so that its absence is then an error.
        return read_meta(path, self._unseen) if path.is_file() or self._unseen else None

    def _folders(self) -> list[Path]:
        """Those of frames, of masks, and of all frames if they are wanted."""
        split = self._root / self._split
        if not split.is_dir():
            if (self._root / "JPEGImages").is_dir() and (self._root / META).is_file():
                raise InputError(
                    f"{self._root}: is a split itself; give the folder that it lies in, "
                    f"{self._root.parent}"
                )
            raise mismatch("youtube_vos", self._root, f"no folder {self._split}")
        if not (split / META).is_file() and any(other.looks(split) for other in FORMATS.values()):
            raise mismatch("youtube_vos", self._root, f"no {META} in {self._split}")
        folders = [split / "JPEGImages", split / "Annotations"]
        if self._all_frames:
            folders.append(self._root / f"{self._split}_all_frames" / "JPEGImages")
        for folder in folders:
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder, which a split of YouTube-VOS "
                    f"{'with all frames ' if folder not in folders[:2] else ''}has; unpack "
                    f"{folder.parent.name} into {self._root}"
                )
        return folders


def youtube_vos_truths(
    root: Path,
    split: str | None = None,
    sequences: Sequence[str] | None = None,
    unseen: Collection[str] | None = None,
) -> list[Truth]:
    """The annotations of a split of YouTube-VOS.

    Args:
        root: the folder that holds the splits; or a split, or its Annotations.
        split: its folder; None for the root if it is a split, else "valid".
        sequences: only these videos.
        unseen: the categories that training has not shown; None for those of no training video.

    Raises:
        InputError: if a folder or a video is missing, or meta.json is missing, damaged, or does not
            fit the annotations.
    """
    folder = split_folder("youtube_vos", root, split, ("valid",))
    masks = folder / "Annotations"
    names = chosen(sequence_folders("youtube_vos", root, masks), sequences, masks)
    if not (folder / META).is_file():
        raise mismatch("youtube_vos", root, f"no {META} in {folder.name}")
    told = read_meta(folder / META, unseen)
    for name in names:
        if not told.get(name):
            raise InputError(
                f"{folder / META}: tells of no object of {name}; leave the sequence out with "
                "--sequences"
            )
    return [_truth(masks / name, told[name]) for name in names]


def _truth(path: Path, objects: Mapping[int, Described]) -> IndexTruth:
    places = {file.stem: at for at, file in enumerate(sorted(path.glob("*.png")))}
    if absent := [told.first for told in objects.values() if told.first not in places]:
        raise InputError(
            f"{path}: no annotation of frame {min(absent)}, where objects start by {META}; unpack "
            "it again"
        )
    new = frozenset(i for i, told in objects.items() if told.unseen)
    return IndexTruth(
        path,
        {i: places[told.first] for i, told in objects.items()},
        unseen=None if any(told.unseen is None for told in objects.values()) else new,
        captions={i: told.category for i, told in objects.items() if told.category is not None},
    )


def _looks(folder: Path) -> str | None:
    return looks_split(folder, lambda split: (split / META).is_file())


register(
    Format(
        name="youtube_vos",
        title="YouTube-VOS",
        layout=(
            f"<split>/JPEGImages/<video>/00000.jpg, <split>/Annotations/<video>/00000.png and "
            f"<split>/{META}"
        ),
        split="valid",
        videos=lambda root, split: YouTubeVOS(root, split or "valid"),
        truths=youtube_vos_truths,
        looks=_looks,
        unseen=youtube_vos_truths,
    )
)
