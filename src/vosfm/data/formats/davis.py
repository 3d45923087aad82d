"""DAVIS 2016 and 2017.

Layout: JPEGImages/<resolution>/<sequence>/00000.jpg, Annotations/<resolution>/<sequence>/00000.png
and ImageSets/<year>/<split>.txt, one sequence per line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vosfm.data.datasets import Videos
from vosfm.data.folder import FrameFolder
from vosfm.errors import InputError


class Davis(Videos):
    """The sequences of a split of DAVIS; the objects of the first frame are given.

    To train on it, wrap it: `VideoClips(Davis(root, "2017/train"), ...)`. Nothing on disk is
    touched before the first use, so a configuration may name data that its command does not need.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        split: the list of sequences, as year/name.
        resolution: the folder of frames and annotations, "480p" or "Full-Resolution".
        single_object: whether all labels are one object, as DAVIS 2016 has it.
        sequences: only these sequences of the split; None for all.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "2017/val",
        resolution: str = "480p",
        single_object: bool = False,
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._resolution = resolution
        self._single_object = single_object
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the sequences, in the order of the list.

        Raises:
            InputError: if a folder, the list or a sequence is missing.
        """
        folders = [self._folder(kind) for kind in ("JPEGImages", "Annotations")]
        names = _read_split(self._root, self._split)
        if self._wanted is not None:
            if unknown := [name for name in self._wanted if name not in names]:
                raise InputError(
                    f"{self._root}: the split {self._split} has no sequence {', '.join(unknown)}; "
                    f"it has {', '.join(names)}"
                )
            names = tuple(name for name in names if name in self._wanted)
        for folder in folders:
            missing = [name for name in names if not (folder / name).is_dir()]
            if missing:
                raise InputError(
                    f"{folder}: {len(missing)} of {len(names)} sequences of {self._split} are "
                    f"missing, the first is {missing[0]}; unpack them or shorten the list"
                )
        return names

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sequences."""
        return self.sequences

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.sequences)

    def __getitem__(self, index: int) -> FrameFolder:
        """A sequence, its frames and masks read lazily."""
        name = self.sequences[index]
        return FrameFolder(
            self._folder("JPEGImages") / name,
            self._folder("Annotations") / name,
            name=name,
            joining=False,
            single_object=self._single_object,
        )

    def _folder(self, kind: str) -> Path:
        folder = self._root / kind / self._resolution
        if folder.is_dir():
            return folder
        if not (self._root / kind).is_dir():
            raise InputError(f"{self._root}: not a DAVIS folder, it has no {kind}; check the root")
        found = sorted(f.name for f in folder.parent.iterdir() if f.is_dir())
        raise InputError(f"{folder}: no such resolution; there are: {', '.join(found) or 'none'}")


def _read_split(root: Path, split: str) -> tuple[str, ...]:
    sets = root / "ImageSets"
    path = sets / f"{split}.txt"
    if not path.is_file():
        files = sorted(sets.glob("*/*.txt"))
        found = ", ".join(f"{f.parent.name}/{f.stem}" for f in files) or "none"
        raise InputError(f"{path}: no such split; there are: {found}")
    names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    if not names:
        raise InputError(f"{path}: the split lists no sequence")
    return names
