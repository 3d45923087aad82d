"""MOSE: complex scenes, versions 1 and 2.

Layout: <split>/JPEGImages/<video>/00000.jpg and <split>/Annotations/<video>/00000.png, with the
splits train and valid. Only train has masks of all frames; those of valid are of the first frame
and its results are scored by the benchmark's server.

Source: Ding et al., arXiv 2302.01872 and 2508.05630; the layout by henghuiding/MOSE-api.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.formats.layout import (
    SPLITS,
    Layout,
    LayoutVideos,
    chosen,
    has_sequences,
    sequence_folders,
    split_folder,
)
from vosfm.data.formats.meta import META
from vosfm.data.index_truth import IndexTruth, as_they_appear
from vosfm.data.truth import Truth


class MOSE(LayoutVideos):
    """The videos of a split of MOSE; an object is given in the first mask that shows it.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the splits.
        split: its folder, "train" or "valid".
        sequences: only these videos of the split; None for all.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "valid",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._wanted = sequences

    def _find(self) -> Layout:
        return mose_layout(self._root, self._split, self._wanted)


def mose_layout(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> Layout:
    """Where the videos of a split of MOSE lie; arguments as `mose_truths`."""
    folder = split_folder("mose", root, split, ("valid",))
    # Only what other benchmarks put beside the same two folders tells them from MOSE.
    for file in (folder / META, *sorted(folder.glob("*_meta.json"))):
        if file.is_file():
            raise mismatch("mose", root, f"a file {folder.name}/{file.name}, which MOSE has not,")
    masks = folder / "Annotations"
    names = chosen(sequence_folders("mose", root, masks), sequences, masks)
    return Layout(
        folder / "JPEGImages", masks, names, lambda name: IndexTruth(masks / name, as_they_appear)
    )


def mose_truths(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> list[Truth]:
    """The annotations of a split of MOSE.

    Args:
        root: the folder that holds the splits; or a split, or its Annotations.
        split: its folder; None for the root if it is a split, else "valid".
        sequences: only these videos.

    Raises:
        InputError: if a folder or a video is missing, or a PNG is damaged.
    """
    return mose_layout(root, split, sequences).truths()


def _looks(folder: Path) -> str | None:
    for name in SPLITS:
        split = folder / name
        if (
            has_sequences(split)
            and not (split / META).is_file()
            and not any(split.glob("*_meta.json"))
        ):
            return f"its split {name}"
    return None


register(
    Format(
        name="mose",
        title="MOSE",
        layout="<split>/JPEGImages/<video>/00000.jpg and <split>/Annotations/<video>/00000.png",
        split="valid",
        videos=lambda root, split: MOSE(root, split or "valid"),
        truths=mose_truths,
        looks=_looks,
    )
)
