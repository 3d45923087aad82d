"""The masks of one sequence that are scored, as PNGs on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vosfm.data.masks import read_labels
from vosfm.data.video import Mask
from vosfm.errors import InputError


class Results(Protocol):
    """The masks of one sequence; sent to other processes.

    Attributes:
        path: the folder that they lie in.
    """

    path: Path

    def frames(self) -> set[str]:
        """Names of all frames that have a mask of any object."""

    def missing(self, names: Sequence[str], object_id: int) -> list[str]:
        """Those of the frames that tell nothing of an object."""

    def masks(self, name: str, object_ids: Sequence[int], size: tuple[int, ...]) -> Mask:
        """(O, H, W) bool masks of these objects in a frame.

        Raises:
            InputError: for a mask that cannot be read, of another size, or with a foreign id.
        """


class IndexResults:
    """One index PNG for each frame, NAME.png.

    Args:
        path: the folder.
        object_ids: the objects of the sequence.
        told_by: what tells these objects, for messages.
        union: whether all that is not background is one object, as object 1.
    """

    def __init__(
        self, path: Path, object_ids: Sequence[int], told_by: str, union: bool = False
    ) -> None:
        self.path = path
        self._object_ids = tuple(object_ids)
        self._told_by = told_by
        self._union = union
        self._names = {file.stem for file in path.glob("*.png") if file.name[0] != "."}
        if not self._names and _object_folders(path):
            raise InputError(
                f"{path}: a folder for each object, but this benchmark's objects do not overlap; "
                "write one index PNG a frame (track without --overlap)"
            )

    def frames(self) -> set[str]:
        return self._names

    def missing(self, names: Sequence[str], object_id: int) -> list[str]:
        return [name for name in names if name not in self._names]

    def masks(self, name: str, object_ids: Sequence[int], size: tuple[int, ...]) -> Mask:
        file = self.path / f"{name}.png"
        labels = read_labels(file)
        _check_size(file, labels, size)
        if self._union:
            return np.asarray(labels != 0)[None]
        if others := foreign(labels, self._object_ids):
            raise InputError(
                f"{file}: holds {listed(others, 'id')}, but the objects are "
                f"{listed(self._object_ids, 'id')} by {self._told_by}; keep to its ids"
            )
        return np.asarray(labels == np.asarray(object_ids, np.uint8)[:, None, None])


class FolderResults:
    """One PNG for each object and frame, ID/NAME.png, whatever is not 0 in it; they may overlap.

    Args:
        path: the folder.
        object_ids: the objects of the sequence.
        told_by: what tells these objects, for messages.
        own: object id -> what the benchmark calls its folder. If all folders have such names, they
            are those objects; else they are named by id, such as 3 or 003.

    Raises:
        InputError: if there are index PNGs instead, an object has two folders, or there is a folder
            of another object.
    """

    def __init__(
        self,
        path: Path,
        object_ids: Sequence[int],
        told_by: str,
        own: Mapping[int, str] | None = None,
    ) -> None:
        self.path = path
        self._folders: dict[int, Path] = {}
        folders = _object_folders(path)
        ids = {name: object_id for object_id, name in (own or {}).items()}
        if not all(folder.name in ids for folder in folders):
            ids = {folder.name: int(folder.name) for folder in folders}
        self._called = {object_id: name for name, object_id in ids.items()}
        for folder in folders:
            if (object_id := ids[folder.name]) in self._folders:
                raise InputError(
                    f"{folder}: a second folder of object {object_id}, beside "
                    f"{self._folders[object_id].name}; remove one"
                )
            self._folders[object_id] = folder
        if not self._folders and any(path.glob("*.png")):
            raise InputError(
                f"{path}: one PNG for all objects, but this benchmark's objects may overlap; write "
                "a folder of PNGs for each (track with --overlap)"
            )
        if others := sorted(self._folders.keys() - set(object_ids)):
            raise InputError(
                f"{path}: holds {listed(others, 'object')}, but the objects are "
                f"{listed(object_ids, 'object')} by {told_by}; remove their folders"
            )
        self._names = {
            object_id: {file.stem for file in folder.glob("*.png") if file.name[0] != "."}
            for object_id, folder in self._folders.items()
        }

    def frames(self) -> set[str]:
        return set().union(*self._names.values())

    def missing(self, names: Sequence[str], object_id: int) -> list[str]:
        there = self._names.get(object_id, set())
        folder = self._called.get(object_id, object_id)
        return [f"{folder}/{name}" for name in names if name not in there]

    def masks(self, name: str, object_ids: Sequence[int], size: tuple[int, ...]) -> Mask:
        found = np.empty((len(object_ids), *size), bool)
        for row, object_id in enumerate(object_ids):
            file = self._folders[object_id] / f"{name}.png"
            labels = read_labels(file)
            _check_size(file, labels, size)
            np.not_equal(labels, 0, out=found[row])
        return found


def foreign(labels: NDArray[np.uint8], object_ids: Sequence[int]) -> tuple[int, ...]:
    """The ids of an index mask, without 0, that are none of the given ones."""
    # Both ways are far quicker than looking every pixel up, and foreign ids are rare.
    if max(object_ids) == len(object_ids):
        if int(labels.max(initial=0)) <= len(object_ids):
            return ()
    elif np.count_nonzero(labels) == sum(np.count_nonzero(labels == i) for i in object_ids):
        return ()
    return tuple(int(i) for i in np.unique(labels) if i and i not in object_ids)


def listed(items: Iterable[object], what: str) -> str:
    """Write ``sequences a, b``, cut short after five."""
    named = [str(item) for item in items]
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return f"{what}{'s' if len(named) > 1 else ''} {shown}"


def _check_size(file: Path, labels: NDArray[np.uint8], size: tuple[int, ...]) -> None:
    if labels.shape != size:
        raise InputError(
            f"{file}: {labels.shape[1]}x{labels.shape[0]} pixels, but its annotation has "
            f"{size[1]}x{size[0]}; save results at the annotation's size"
        )


def _object_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.name.isdecimal() and f.is_dir())
