"""DAVIS 2016 and 2017.

Layout: JPEGImages/<resolution>/<sequence>/00000.jpg, Annotations/<resolution>/<sequence>/00000.png
and ImageSets/<year>/<split>.txt, one sequence per line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vosfm.data.datasets import ListedVideos
from vosfm.data.folder import FrameFolder
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.formats.layout import check_all_there, chosen, sequence_folders
from vosfm.data.index_truth import IndexTruth, UnitedTruth, up_to_largest
from vosfm.data.truth import Truth
from vosfm.errors import InputError

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


class DavisSequence(FrameFolder):
    """A sequence of DAVIS; its objects are given in the first frame.

    Args:
        path: the folder of its frames.
        masks: the folder of its masks.
        single_object: whether all labels are one object.

    Raises:
        InputError: as `FrameFolder`.
    """

    def __init__(self, path: Path, masks: Path, single_object: bool = False) -> None:
        super().__init__(path, masks, joining=False, single_object=single_object)
        self._annotated = masks
        self._single_object = single_object

    @cached_property
    def truth(self) -> Truth:  # type: ignore[override]  # read when it is asked for
        """Its annotation, by which it is scored."""
        truth = IndexTruth(self._annotated, up_to_largest)
        return UnitedTruth(truth) if self._single_object else truth


class Davis(ListedVideos):
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
            check_all_there(folder, names)
        return names

    def __getitem__(self, index: int) -> DavisSequence:
        """A sequence, its frames and masks read lazily."""
        name = self.sequences[index]
        return DavisSequence(
            self._folder("JPEGImages") / name,
            self._folder("Annotations") / name,
            self._single_object,
        )

    def _folder(self, kind: str) -> Path:
        folder = self._root / kind / self._resolution
        if folder.is_dir():
            return folder
        if not (self._root / kind).is_dir():
            raise mismatch("davis", self._root, f"no folder {kind}")
        found = sorted(f.name for f in folder.parent.iterdir() if f.is_dir())
        if not {*RESOLUTIONS, "ImageSets"} & {*found, *(f.name for f in self._root.iterdir())}:
            raise mismatch("davis", self._root, f"no folder {kind}/{self._resolution}")
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


def davis_truths(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> list[Truth]:
    """The annotations of DAVIS, or of any folder with a folder of index PNGs for each sequence.

    Args:
        root: of DAVIS, whose 480p annotations are taken; or the folder of the folders itself.
        split: the list of sequences, as year/name; None for all that have a folder.
        sequences: only these.

    Raises:
        InputError: if a folder, the list or a sequence is missing, or a PNG is damaged.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such annotation folder; check the path")
    found = [root / "Annotations" / r for r in RESOLUTIONS if (root / "Annotations" / r).is_dir()]
    folder = found[0] if found else root
    names = sequence_folders("davis", root, folder)
    if split is not None:
        names = chosen(names, _read_split(root, split), folder)
    names = chosen(names, sequences, folder)
    return [IndexTruth(folder / name, up_to_largest) for name in names]


def _looks(folder: Path) -> str | None:
    if (folder / "ImageSets").is_dir():
        return "it has ImageSets"
    kinds = ("JPEGImages", "Annotations")
    for resolution in RESOLUTIONS:
        if any((folder / kind / resolution).is_dir() for kind in kinds):
            return f"it has a folder {resolution}"
    return None


register(
    Format(
        name="davis",
        title="DAVIS",
        layout=(
            "JPEGImages/480p/<sequence>/00000.jpg, Annotations/480p/<sequence>/00000.png and "
            "ImageSets/2017/val.txt"
        ),
        split="2017/val",
        videos=lambda root, split: Davis(root, split or "2017/val"),
        truths=davis_truths,
        looks=_looks,
    )
)
