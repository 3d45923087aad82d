"""MUG-VOS: its test set, version 1.

Layout: <masks>/<video>/track_000/000.png, 0 and 255, a folder for each track; tracks may overlap.
The frames are those of DAVIS 2017, JPEGImages/480p/<video>/00000.jpg: mask 000.png is of the frame
whose name is the same number.

Its training set has another layout, see `mug_vos_train`.

Source: cvlab-kaist/MUG-VOS, README.md and the annotation tool, which writes the masks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.datasets import ListedVideos
from vosfm.data.folder import list_frames
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.masks import read_labels
from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Mask
from vosfm.errors import InputError

TRACK = re.compile(r"track_(\d+)")
MASKS = "mug_vos_test_v1"


class TrackTruth(Truth):
    """The tracks of a video of MUG-VOS, each in a folder of its own.

    Track 000 is object 1, track 001 object 2 and so on, since ids start at 1. A track starts with
    its first mask that has a pixel and is left out without one; from then on its annotation speaks
    of the frames that it has a mask of, empty or not. Frames are called as those of DAVIS, by five
    digits, whatever the masks are called.

    Args:
        path: the folder of the folders.

    Raises:
        InputError: if there is no track, a track has no mask or one whose name is no number, or a
            mask by which a track starts is damaged.
    """

    overlapping = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.name = self._path.name
        files = {
            int(match[1]) + 1: _masks_of(folder)
            for folder in sorted(self._path.iterdir())
            if folder.is_dir() and (match := TRACK.fullmatch(folder.name))
        }
        if not files:
            raise InputError(f"{path}: no folder track_000 or the like in it; unpack it again")
        if max(files) >= VOID:
            raise InputError(
                f"{path}: track {max(files) - 1:03d}; results hold the ids 1 to {VOID - 1}, so "
                f"that tracks are numbered from 000 to {VOID - 2}"
            )
        self.numbers = tuple(sorted({number for masks in files.values() for number in masks}))
        self.length = self.numbers[-1] + 1
        self.frame_names = tuple(f"{number:05d}" for number in self.numbers)
        places = {number: place for place, number in enumerate(self.numbers)}
        self._files = {
            i: {places[number]: file for number, file in masks.items()}
            for i, masks in files.items()
        }
        starts = {i: _start(masks) for i, masks in self._files.items()}
        self.starts = {i: start for i, start in sorted(starts.items()) if start is not None}
        self.object_ids = tuple(self.starts)
        self.ranges = {
            i: tuple(place for place in self._files[i] if place >= start)
            for i, start in self.starts.items()
        }

    def masks(self, place: int) -> Mask:
        """(O, H, W) bool masks of a frame; empty out of sight, or without an annotation.

        Raises:
            InputError: if a mask is damaged, or the masks of the frame are of several sizes.
        """
        files = {i: self._files[i][place] for i in self.object_ids if place in self._files[i]}
        masks = {i: read_labels(file) > 0 for i, file in files.items()}
        sizes = {mask.shape: files[i] for i, mask in masks.items()}
        if len(sizes) > 1:
            (one, first), (other, second) = list(sizes.items())[:2]
            raise InputError(
                f"{second}: the mask measures {other[0]} x {other[1]} (height x width) but {first} "
                f"{one[0]} x {one[1]}; unpack the tracks again"
            )
        if not masks:
            raise InputError(
                f"{self._path}: no track has a mask of frame {self.frame_names[place]}"
            )
        size = next(iter(sizes))
        none = np.zeros(size, dtype=np.bool_)
        return np.stack([masks.get(i, none) for i in self.object_ids])


class MUGVOS(ListedVideos):
    """The videos of the test set of MUG-VOS; every track is given in the first frame that shows it.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the masks, or that of the masks itself.
        masks: the folder of masks, below the root, if it is not the root.
        frames: the folder of frames, below the root or anywhere, as DAVIS/JPEGImages/480p.
        sequences: only these videos; None for all.

    Source: Lim et al., Multi-Granularity Video Object Segmentation, arXiv 2412.01471.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        masks: str = MASKS,
        frames: str | os.PathLike[str] = "JPEGImages/480p",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._masks = self._root / masks
        self._frames = self._root / frames
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def _folder(self) -> Path:
        for folder in (self._masks, self._root):
            if folder.is_dir() and _has_tracks(folder):
                return folder
        raise mismatch("mug_vos", self._root, f"no {self._masks.name}/<video>/track_000")

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the videos, in the order of their names.

        Raises:
            InputError: if the masks or a wanted video are missing.
        """
        names = tuple(sorted(f.name for f in self._folder.iterdir() if any(f.glob("track_*"))))
        if self._wanted is None:
            return names
        if unknown := [name for name in self._wanted if name not in names]:
            raise InputError(
                f"{self._folder}: no video {', '.join(unknown)}; there are {len(names)}, the first "
                f"is {names[0]}"
            )
        return tuple(name for name in names if name in self._wanted)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        """A video, its frames and masks read lazily."""
        truth = self.truth(self.sequences[index])
        if not self._frames.is_dir():
            raise InputError(
                f"{self._frames}: no such folder of frames; MUG-VOS comes without them: name "
                "JPEGImages/480p of DAVIS 2017 as its frames, or link it there"
            )
        files = list_frames(self._frames / truth.name)
        places = {int(file.stem): at for at, file in enumerate(files) if file.stem.isdecimal()}
        if absent := [number for number in truth.numbers if number not in places]:
            raise InputError(
                f"{self._frames / truth.name}: no frame {absent[0]:05d}, which has masks; use the "
                "frames of DAVIS 2017 at 480p"
            )
        return AnnotatedVideo(truth, files, [places[number] for number in truth.numbers])

    def truth(self, name: str) -> TrackTruth:
        """The tracks of a video, which need no frames."""
        return TrackTruth(self._folder / name)


def _masks_of(folder: Path) -> dict[int, Path]:
    """The masks of a track by the number of their frame."""
    files = sorted(file for file in folder.glob("*.png") if not file.name.startswith("."))
    if odd := [file for file in files if not file.stem.isdecimal()]:
        raise InputError(f"{odd[0]}: its name is no number of a frame, such as 000.png; remove it")
    if not files:
        raise InputError(f"{folder}: no mask in it; unpack the track again, or remove it")
    return dict(sorted((int(file.stem), file) for file in files))


def _start(masks: Mapping[int, Path]) -> int | None:
    return next((place for place, file in masks.items() if read_labels(file).any()), None)


def _has_tracks(folder: Path) -> bool:
    return next(folder.glob("*/track_*"), None) is not None


def _videos(root: Path, split: str | None) -> MUGVOS:
    _refuse(split)
    return MUGVOS(root)


def _truths(root: Path, split: str | None, sequences: Sequence[str] | None) -> list[Truth]:
    _refuse(split)
    videos = MUGVOS(root, sequences=sequences)
    return [videos.truth(name) for name in videos.sequences]


def _refuse(split: str | None) -> None:
    if split is not None:
        raise InputError(f"MUG-VOS: no split {split}; only its test set was published, name none")


def _looks(root: Path) -> str | None:
    if _has_tracks(root / MASKS) or _has_tracks(root):
        return "its test set"
    return None


register(
    Format(
        name="mug_vos",
        title="MUG-VOS",
        layout=f"{MASKS}/<video>/track_000/000.png and JPEGImages/480p/<video>/00000.jpg",
        split=None,
        videos=_videos,
        truths=_truths,
        looks=_looks,
    )
)
