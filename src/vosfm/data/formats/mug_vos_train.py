"""MUG-VOS, its training set, and whatever `vosfm collect` writes: clips with tracks in JSON.

Layout: JPEGImages/<clip>/00000.jpg and Annotations/<clip>/00000.json, a file for each picture: a
list of masks, each with an "id" from 0 on, a run-length "segmentation", and the "iou" by which the
data engine took it. Raw files of the released engine, Annotations/<clip>/origin/00000.json, in
which "size" and "counts" stand beside the id, are read as well. A track without a mask in a frame
is not in sight there, or lost.

The released loaders match sorted pictures and sorted files by their places, and so does this one.
Released masks are all 640 x 1080 whatever their pictures measure, so pictures of another size are
brought to that of their masks.

Source: cvlab-kaist/MUG-VOS, the data engine (what it writes) and the loaders (what they read).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.datasets import ListedVideos
from vosfm.data.folder import list_frames, natural_order, read_frames
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.formats.layout import check_all_there, chosen
from vosfm.data.images import read_image, resize_image
from vosfm.data.rle import area, size_of
from vosfm.data.rle_truth import decode_some, read_records
from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Image, Mask
from vosfm.errors import InputError

FRAMES, MASKS = "JPEGImages", "Annotations"
ORIGIN = "origin"
"""The folder of a clip in which the released engine writes masks, beside folders of other things"""


class TracksTruth(Truth):
    """The tracks of a clip, read from a JSON file for each frame; one of them is in memory.

    Object ids are those of the files plus 1. A track starts with its first mask that has a pixel;
    one without any is left out.

    Args:
        path: the folder of the files, or one with such a folder "origin".

    Attributes:
        files: the JSON file of each frame.

    Raises:
        InputError: if there is no file.
    """

    overlapping = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.name = self._path.name
        folder = self._path / ORIGIN if (self._path / ORIGIN).is_dir() else self._path
        self.files = tuple(sorted(folder.glob("[!.]*.json"), key=natural_order))
        if not self.files:
            raise InputError(f"{path}: no JSON file of masks in it; unpack it again")
        self.frame_names = tuple(file.stem for file in self.files)
        self.numbers = tuple(range(len(self.files)))
        self.length = len(self.files)
        self._read: tuple[int, dict[int, dict[str, Any]]] | None = None

    def records(self, place: int) -> Mapping[int, Mapping[str, Any]]:
        """What the file of a frame tells of each object, by its id here.

        Raises:
            InputError: if the file is missing or damaged, or there are ids above 253 in it.
        """
        if self._read is None or self._read[0] != place:
            records = read_records(self.files[place])
            if wrong := [i for i in records if not 0 <= i < VOID - 1]:
                raise InputError(
                    f"{self.files[place]}: a mask of id {wrong[0]}; tracks are numbered from 0 to "
                    f"{VOID - 2}"
                )
            self._read = place, {i + 1: told for i, told in sorted(records.items())}
        return self._read[1]

    @cached_property
    def starts(self) -> Mapping[int, int]:  # type: ignore[override]  # read when it is asked for
        """Object id -> place of the frame in which it is given."""
        starts: dict[int, int] = {}
        for place in range(len(self.files)):
            for object_id, pixels in self.areas(place).items():
                if pixels:
                    starts.setdefault(object_id, place)
        return dict(sorted(starts.items()))

    @cached_property
    def object_ids(self) -> tuple[int, ...]:  # type: ignore[override]  # known with the starts
        """The objects that count, in ascending order."""
        return tuple(self.starts)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of all masks; (0, 0) if there are none."""
        for place in range(len(self.files)):
            for object_id, told in self.records(place).items():
                return size_of(told["segmentation"], self._whose(place, object_id))
        return 0, 0

    def areas(self, place: int) -> dict[int, int]:
        """Object id -> pixels of its mask in a frame, without decoding it.

        An "area" in the file is not asked: it may be of another resolution.
        """
        return {
            object_id: area(told["segmentation"], self._whose(place, object_id))
            for object_id, told in self.records(place).items()
        }

    def masks(self, place: int) -> Mask:
        """(O, H, W) bool masks of a frame; empty out of sight.

        Raises:
            InputError: if a mask is damaged, or of another size than the first one of the clip.
        """
        return self.masks_of(place, self.object_ids)

    def masks_of(self, place: int, ids: Sequence[int]) -> Mask:
        """As `masks`, of some objects; no other is decoded."""
        masks = {i: told["segmentation"] for i, told in self.records(place).items()}
        return decode_some(masks, ids, self.size, lambda i: self._whose(place, i))

    def quality(self, place: int) -> dict[int, float] | None:
        """Object id -> noted IoU of its mask in a frame; None if none was noted."""
        noted = {i: told["iou"] for i, told in self.records(place).items() if "iou" in told}
        return {i: float(q) for i, q in noted.items() if isinstance(q, int | float)} or None

    def _whose(self, place: int, object_id: int) -> str:
        return f"{self.files[place]}: the mask of id {object_id - 1}"


class TracksVideo(AnnotatedVideo):
    """A clip with its tracks, in the size of its masks; its frames are called like its JSON files.

    Args:
        truth: of the clip.
        files: its pictures, as many.

    Raises:
        InputError: if there are not as many pictures as files of masks.
    """

    truth: TracksTruth

    def __init__(self, truth: TracksTruth, files: Sequence[Path]) -> None:
        if len(files) != len(truth.files):
            raise InputError(
                f"{files[0].parent}: {len(files)} pictures, but {truth.files[0].parent} has "
                f"{len(truth.files)} files of masks, which are matched in their order; unpack both "
                "again"
            )
        super().__init__(truth, files, range(len(files)))
        self.frame_names = truth.frame_names

    @cached_property
    def _taken(self) -> tuple[int, int]:
        """(H, W) of the first picture as it lies on disk."""
        height, width = read_image(self._files[0]).shape[:2]
        return height, width

    @cached_property
    def size(self) -> tuple[int, int]:  # type: ignore[override]  # known once a file is read
        """(H, W) of the masks; of the first picture if there are none."""
        return self.truth.size if any(self.truth.size) else self._taken

    @property
    def files(self) -> tuple[Path, ...] | None:  # type: ignore[override]  # may be of other sizes
        """The picture of each frame; None where pictures are of another size than their masks."""
        return self._files if self._taken == self.size else None

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, in the size of the masks.

        Raises:
            InputError: if a picture is missing, broken or of another size than the first one.
        """
        for image in read_frames(self._files[start:], self._taken):
            yield resize_image(image, self.size)

    def areas(self, index: int) -> dict[int, int]:
        """Object id -> pixels of its mask, counted without decoding any."""
        return {i: pixels for i, pixels in self.truth.areas(index).items() if pixels}

    def masks_of(self, index: int, ids: Sequence[int]) -> Mask:
        """(len(ids), H, W) bool, empty out of sight; no other object is decoded."""
        return self.truth.masks_of(index, ids)

    def quality(self, index: int) -> dict[int, float] | None:
        """Object id -> IoU with the warped mask that the data engine noted; None if it did not."""
        return self.truth.quality(index)

    def _masks(self, index: int) -> Mask:
        if not self.truth.object_ids:
            return np.zeros((0, *self.size), np.bool_)
        return super()._masks(index)


class MUGVOSTrain(ListedVideos):
    """The clips of the training set of MUG-VOS, or of what `vosfm collect` wrote.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the pictures and the masks.
        frames: the folder of pictures, below the root or anywhere.
        masks: the folder of masks, below the root or anywhere.
        sequences: only these clips; None for all that have masks.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        frames: str = FRAMES,
        masks: str = MASKS,
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._frames = self._root / frames
        self._masks = self._root / masks
        self._wanted = sequences

    @cached_property
    def annotated(self) -> tuple[str, ...]:
        """Names of the clips that have masks, with or without pictures, in their order.

        Raises:
            InputError: if there is no folder of masks, none in it, or a wanted clip is missing.
        """
        if not self._masks.is_dir():
            raise mismatch("mug_vos_train", self._root, f"no folder {self._masks.name}")
        names = sorted(f.name for f in self._masks.iterdir() if f.name[0] != "." and f.is_dir())
        if not any(_holds_masks(self._masks / name) for name in names):
            raise mismatch(
                "mug_vos_train", self._root, f"no JSON files in the folders of {self._masks.name}"
            )
        return chosen(names, self._wanted, self._masks)

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the clips, in their order.

        Raises:
            InputError: as `annotated`, or if a clip has no folder of pictures.
        """
        check_all_there(self._frames, self.annotated)
        return self.annotated

    def __getitem__(self, index: int) -> TracksVideo:
        """A clip, its frames and masks read lazily."""
        name = self.sequences[index]
        return TracksVideo(self.truth(name), list_frames(self._frames / name))

    def truth(self, name: str) -> TracksTruth:
        """The annotation of a clip, which needs no pictures.

        Raises:
            InputError: if it has no file of masks.
        """
        return TracksTruth(self._masks / name)

    def truths(self) -> list[Truth]:
        """The annotations of all clips; errors as of `truth`."""
        return [self.truth(name) for name in self.annotated]


def _holds_masks(folder: Path) -> bool:
    return any(True for inner in (folder, folder / ORIGIN) for _ in inner.glob("[!.]*.json"))


def _of(root: Path, split: str | None, sequences: Sequence[str] | None = None) -> MUGVOSTrain:
    return MUGVOSTrain(root if split is None else root / split, sequences=sequences)


def _looks(root: Path) -> str | None:
    if (root / MASKS).is_dir():
        first = next((f for f in (root / MASKS).iterdir() if f.is_dir() and f.name[0] != "."), None)
        if first is not None and _holds_masks(first):
            return "its masks are in JSON"
    return None


register(
    Format(
        name="mug_vos_train",
        title="MUG-VOS, the training set",
        layout=f"{FRAMES}/<clip>/00000.jpg and {MASKS}/<clip>/00000.json",
        split=None,
        videos=_of,
        truths=lambda root, split, sequences: _of(root, split, sequences).truths(),
        looks=_looks,
    )
)
