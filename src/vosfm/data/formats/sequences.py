"""Folders of frames beside folders of masks, one of each for a sequence.

Layout: JPEGImages/<sequence>/00000.jpg and Annotations/<sequence>/00000.png, or other names of the
two outer folders. Not every frame needs a mask.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vosfm.data.datasets import Videos
from vosfm.data.folder import FrameFolder
from vosfm.errors import InputError


class Sequences(Videos):
    """All sequences of a folder, in the order of their names.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the two others.
        frames: the folder of frames, below the root.
        masks: the folder of masks, below the root.
        single_object: whether all labels are one object.
        joining: whether an object that first appears in a later mask is prompted there.
        sequences: only these; None for all.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        frames: str = "JPEGImages",
        masks: str = "Annotations",
        single_object: bool = False,
        joining: bool = True,
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._frames = Path(root) / frames
        self._masks = Path(root) / masks
        self._single_object = single_object
        self._joining = joining
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the sequences.

        Raises:
            InputError: if a folder or a sequence is missing.
        """
        found = {folder: _folders(folder) for folder in (self._frames, self._masks)}
        names = found[self._frames] if self._wanted is None else self._wanted
        for folder, there in found.items():
            if missing := [name for name in names if name not in there]:
                raise InputError(
                    f"{folder}: {len(missing)} of {len(names)} sequences are missing, the first is "
                    f"{missing[0]}; unpack them or name the sequences that there are"
                )
        return names

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.names)

    def __getitem__(self, index: int) -> FrameFolder:
        """A sequence, its frames and masks read lazily."""
        name = self.names[index]
        return FrameFolder(
            self._frames / name,
            self._masks / name,
            name=name,
            joining=self._joining,
            single_object=self._single_object,
        )


def _folders(path: Path) -> tuple[str, ...]:
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; check the root and the names of its folders")
    names = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise InputError(f"{path}: holds no folder; it needs one for each sequence")
    return tuple(names)
