"""Truths that lie in folders of PNGs: index masks, or a folder for each object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vosfm.data.masks import read_labels
from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Mask
from vosfm.errors import InputError

Labels = NDArray[np.uint8]

Starts = Callable[[Sequence[Path]], dict[int, int]]
"""Index PNGs in the order of time -> object id -> place of the one in which it is given."""


class IndexTruth(Truth):
    """One index PNG for each annotated frame; 255 is void.

    Args:
        path: the folder of the PNGs; results are filed under its name.
        starts: object id -> place of the frame in which it is given; or how to find that in the
            PNGs, such as `up_to_largest` or `as_they_appear`, which is done when it is asked for.
        ranges: as `Truth.ranges`.
        numbers: as `Truth.numbers`; None: what the names of the PNGs count, or else places.
        unseen: as `Truth.unseen`.
        attributes: as `Truth.attributes`.
        captions: as `Truth.captions`.

    Raises:
        InputError: if there is no PNG.
    """

    def __init__(
        self,
        path: Path,
        starts: Mapping[int, int] | Starts,
        ranges: Mapping[int, tuple[int, ...]] | None = None,
        numbers: Sequence[int] | None = None,
        unseen: frozenset[int] | None = None,
        attributes: frozenset[str] = frozenset(),
        captions: Mapping[int, str] | None = None,
    ) -> None:
        self.path = path
        self.name = path.name
        self.frame_names = mask_names(path)
        if not self.frame_names:
            raise InputError(f"{path}: no PNG; give the folder whose folders are sequences")
        self._starts = starts
        self.ranges = ranges
        self.numbers = counted_by_name(self.frame_names) if numbers is None else tuple(numbers)
        self.length = self.numbers[-1] + 1
        self.unseen = unseen
        self.attributes = attributes
        self.captions = captions or {}

    @cached_property
    def starts(self) -> Mapping[int, int]:  # type: ignore[override]  # known once it is asked for
        """Object id -> place of the frame in which it is given."""
        starts = self._starts
        found = starts(self.files) if callable(starts) else starts
        return {object_id: found[object_id] for object_id in sorted(found)}

    @cached_property
    def object_ids(self) -> tuple[int, ...]:  # type: ignore[override]  # known with the starts
        """The objects that count, in ascending order."""
        return tuple(self.starts)

    @property
    def files(self) -> tuple[Path, ...]:
        """The PNGs, in the order of time."""
        return tuple(self.path / f"{name}.png" for name in self.frame_names)

    def labels(self, place: int) -> Labels:
        """(H, W) ids of a frame as they are stored.

        Raises:
            InputError: if the PNG is missing or damaged, or holds colors.
        """
        return read_labels(self.path / f"{self.frame_names[place]}.png")

    def masks(self, place: int) -> Mask:
        return np.asarray(
            self.labels(place) == np.asarray(self.object_ids, np.uint8)[:, None, None]
        )

    def void(self, place: int) -> Mask | None:
        void = np.asarray(self.labels(place) == VOID)
        return void if void.any() else None


class UnitedTruth(Truth):
    """All objects of index PNGs as one, object 1; 255 is part of it, as in DAVIS 2016.

    Args:
        parts: the truth of the objects.
    """

    def __init__(self, parts: IndexTruth) -> None:
        self._parts = parts
        self.name = parts.name
        self.frame_names = parts.frame_names
        self.numbers = parts.numbers
        self.length = parts.length
        self.starts = {1: 0} if parts.labels(0).any() else {}
        self.object_ids = tuple(self.starts)
        self.attributes = parts.attributes

    def masks(self, place: int) -> Mask:
        return np.asarray(self._parts.labels(place) != 0)[None]


class FolderTruth(Truth):
    """One PNG for each object and frame, OBJECT/NAME.png; whatever is not 0 in it is the object.

    An object is given in the first frame of its folder, and its annotation is complete in all
    frames of its folder; the masks may overlap.

    Args:
        path: the folder of the folders, each named by the number of its object; results are filed
            under its name.
        first: the number that is object 1, for ids count from 1 everywhere here.

    Attributes:
        folders: object id -> name of its folder.

    Raises:
        InputError: if there is no folder of PNGs, one has another name, or two are of one object.
    """

    overlapping = True

    def __init__(self, path: Path, first: int = 1) -> None:
        self.path = path
        self.name = path.name
        self.folders: dict[int, str] = {}
        names: dict[int, tuple[str, ...]] = {}
        for folder in sorted(f for f in path.iterdir() if f.is_dir() and f.name[0] != "."):
            if not folder.name.isdecimal() or not first <= int(folder.name) < first + VOID - 1:
                raise InputError(
                    f"{folder}: name the folder of an object by its number, {first} to "
                    f"{first + VOID - 2}"
                )
            if (object_id := int(folder.name) - first + 1) in self.folders:
                raise InputError(
                    f"{folder}: a second folder of its object, beside {self.folders[object_id]}; "
                    "remove one"
                )
            if found := mask_names(folder):
                self.folders[object_id], names[object_id] = folder.name, found
        if not names:
            raise InputError(f"{path}: no folder of PNGs for an object; unpack it again")
        self.object_ids = tuple(sorted(names))
        self.frame_names = tuple(sorted(set().union(*names.values())))
        self.numbers = counted_by_name(self.frame_names)
        self.length = self.numbers[-1] + 1
        places = {name: place for place, name in enumerate(self.frame_names)}
        self._told = {i: tuple(places[name] for name in names[i]) for i in self.object_ids}
        self.ranges = self._told
        self.starts = {i: own[0] for i, own in self._told.items()}

    def masks(self, place: int) -> Mask:
        found = {
            row: self._read(object_id, place)
            for row, object_id in enumerate(self.object_ids)
            if place in self._told[object_id]
        }
        masks: Mask = np.zeros((len(self.object_ids), *next(iter(found.values())).shape), bool)
        for row, mask in found.items():
            if mask.shape != masks.shape[1:]:
                file = self._file(self.object_ids[row], place)
                h, w = mask.shape
                raise InputError(
                    f"{file}: {w}x{h} pixels, but another object's mask of this frame has "
                    f"{masks.shape[2]}x{masks.shape[1]}; unpack the masks again"
                )
            masks[row] = mask
        return masks

    def _read(self, object_id: int, place: int) -> Mask:
        return np.asarray(read_labels(self._file(object_id, place)) != 0)

    def _file(self, object_id: int, place: int) -> Path:
        return self.path / self.folders[object_id] / f"{self.frame_names[place]}.png"


def up_to_largest(files: Sequence[Path]) -> dict[int, int]:
    """The objects 1 to N, where N is the largest id of the first PNG, all given there; 255 is void.

    Raises:
        InputError: if the PNG is damaged or holds colors.
    """
    labels = read_labels(files[0])
    largest = int(labels[labels != VOID].max(initial=0))
    return dict.fromkeys(range(1, largest + 1), 0)


def as_they_appear(files: Sequence[Path]) -> dict[int, int]:
    """All objects of the PNGs, each given in the first one that shows it; 255 is void.

    Raises:
        InputError: if a PNG is damaged or holds colors.
    """
    starts: dict[int, int] = {}
    for place, file in enumerate(files):
        present = np.flatnonzero(np.bincount(read_labels(file).ravel(), minlength=VOID + 1))
        for object_id in present.tolist():
            if object_id not in (0, VOID):
                starts.setdefault(object_id, place)
    return starts


def mask_names(path: Path) -> tuple[str, ...]:
    """The stems of the PNGs of a folder, in the order of their names."""
    return tuple(sorted(file.stem for file in path.glob("*.png") if file.name[0] != "."))


def counted_by_name(names: Sequence[str]) -> tuple[int, ...]:
    """The numbers that frames are named by, or their places if not all are named so."""
    if all(name.isdecimal() for name in names):
        return tuple(int(name) for name in names)
    return tuple(range(len(names)))
