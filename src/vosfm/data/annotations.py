"""PNGs that belong to a video: index masks, or a folder for each object where objects overlap."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vosfm.data.masks import read_labels
from vosfm.data.video import VOID, Annotation, Mask, Video
from vosfm.errors import InputError


class IndexMasks:
    """The masks of a video, kept as index PNGs.

    Args:
        path: a PNG, the mask of the first frame; or a folder of PNGs named like their frames.
        video: the video that they belong to, for messages.
        frame_names: stems of its frames.
        size: (H, W) of its frames.
        joining: whether an object that first appears in a later mask is prompted there. If not,
            only the first mask counts as given.
        single_object: whether all labels are one object, id 1, as in DAVIS 2016.

    Raises:
        InputError: if there is no such file or folder.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        video: str | os.PathLike[str],
        frame_names: Sequence[str],
        size: tuple[int, int],
        joining: bool = True,
        single_object: bool = False,
    ) -> None:
        self._path = Path(path)
        self._video = video
        self._first_name = frame_names[0]
        self._size = size
        self._joining = joining
        self._single_object = single_object
        self._files: dict[int, Path] = {}
        if self._path.is_dir():
            found = {file.stem: file for file in self._path.glob("*.png")}
            self._files = {
                index: found[name] for index, name in enumerate(frame_names) if name in found
            }
        elif self._path.exists():
            self._files = {0: self._path}
        else:
            raise InputError(f"{path}: no such mask; give an index PNG or a folder of them")

    def annotated(self) -> tuple[int, ...]:
        """The frames that have a mask."""
        return tuple(self._files)

    def annotation(self, index: int) -> Annotation | None:
        """The masks of a frame, or None where it has none.

        Raises:
            InputError: if the file is not an index PNG, or of another size than the frames.
        """
        file = self._files.get(index)
        return None if file is None else Annotation.from_labels(self._labels(file))

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """Frame index -> object id -> (H, W) bool mask of the objects that appear there.

        Raises:
            InputError: if the first frame has no mask, or an empty one.
        """
        if 0 not in self._files:
            raise InputError(
                f"{self._path}: no mask for the first frame of {self._video}; "
                f"expected {self._first_name}.png"
            )
        prompts: dict[int, dict[int, Mask]] = {}
        known: set[int] = set()
        for index in self._files if self._joining else (0,):
            annotation = self.annotation(index)
            assert annotation is not None
            joining = {
                i: mask
                for i, mask in zip(annotation.object_ids, annotation.masks, strict=True)
                if i not in known
            }
            if index == 0 and not joining:
                raise InputError(f"{self._files[0]}: {_why_empty(annotation)}")
            if joining:
                prompts[index] = joining
                known.update(joining)
        return prompts

    def _labels(self, file: Path) -> NDArray[np.uint8]:
        labels = read_labels(file)
        if labels.shape != self._size:
            mask, frame = (f"{h} x {w}" for h, w in (labels.shape, self._size))
            raise InputError(
                f"{file}: the mask measures {mask} (height x width) but the frames of "
                f"{self._video} {frame}; resize the mask without interpolation"
            )
        if not self._single_object:
            return labels
        # DAVIS 2016 as first released marks its object 255, which elsewhere means void.
        void = (labels == VOID) if np.any((labels > 0) & (labels < VOID)) else np.False_
        return np.where(void, VOID, labels > 0).astype(np.uint8)


class ObjectMasks(IndexMasks):
    """The masks of a video, kept as ID/NAME.png: they may overlap.

    Whatever is not 0 in a PNG is the object. This is how `vosfm track --overlap` writes.

    Args:
        path: the folder of the folders.
        video: the video that they belong to, for messages.
        frame_names: stems of its frames.
        size: (H, W) of its frames.
        joining: whether an object whose first mask is of a later frame is prompted there. If not,
            only the masks of the first frame count as given.

    Raises:
        InputError: if there is no such folder.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        video: str | os.PathLike[str],
        frame_names: Sequence[str],
        size: tuple[int, int],
        joining: bool = True,
    ) -> None:
        super().__init__(path, video, frame_names, size, joining)
        folders = {int(f.name): f for f in self._path.iterdir() if f.name.isdecimal()}
        self._objects: dict[int, dict[int, Path]] = {}
        for index, name in enumerate(frame_names):
            files = {i: folders[i] / f"{name}.png" for i in sorted(folders)}
            if present := {i: file for i, file in files.items() if file.is_file()}:
                self._objects[index] = present
                self._files[index] = self._path

    def annotation(self, index: int) -> Annotation | None:
        if index not in self._objects:
            return None
        files = self._objects[index]
        masks = np.stack([self._labels(file) > 0 for file in files.values()])
        seen = [bool(mask.any()) for mask in masks]
        ids = tuple(i for i, present in zip(files, seen, strict=True) if present)
        return Annotation(ids, masks[seen])


def keep_masks(
    path: str | os.PathLike[str],
    video: str | os.PathLike[str],
    frame_names: Sequence[str],
    size: tuple[int, int],
    joining: bool = True,
    single_object: bool = False,
) -> IndexMasks:
    """The masks of a video, in whichever of the two layouts they lie; arguments as `IndexMasks`."""
    folder = Path(path)
    if folder.is_dir() and any(f.name.isdecimal() and f.is_dir() for f in folder.iterdir()):
        return ObjectMasks(path, video, frame_names, size, joining)
    return IndexMasks(path, video, frame_names, size, joining, single_object)


class MaskedVideo(Video):
    """A video on disk with its masks, if it has any."""

    _path: Path
    _masks: IndexMasks | None

    def annotated(self) -> tuple[int, ...]:
        """The frames that have a mask."""
        return () if self._masks is None else self._masks.annotated()

    def annotation(self, index: int) -> Annotation | None:
        """The true masks of a frame, or None where it has none."""
        return None if self._masks is None else self._masks.annotation(index)

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """The masks that a model is given.

        Raises:
            InputError: if there is no mask of the first frame, or an empty one.
        """
        if self._masks is None:
            raise InputError(f"{self._path}: no masks were given; give that of the first frame")
        return self._masks.prompts()


def _why_empty(annotation: Annotation) -> str:
    if annotation.void is not None:
        return (
            "the first mask holds no object: all that is marked is 255, which means void; "
            "mark objects with 1 to 254"
        )
    return "the first mask holds no object; mark at least one pixel with an id from 1 to 254"
