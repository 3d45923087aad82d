"""SA-V, validation and test: objects that may overlap.

Layout: sav_<split>/JPEGImages_24fps/<video>/00000.jpg at 24 frames per second,
sav_<split>/Annotations_6fps/<video>/<object>/00000.png at 6, so that their names go in steps of
four; and sav_<split>/sav_<split>.txt, a video a line. Folders of objects are named 000, 001 and so
on; their ids here are 1, 2 and so on.

Source: Ravi et al., SAM 2; the layout by facebookresearch/sam2, sav_dataset.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.formats.format import Format, register
from vosfm.data.formats.layout import (
    Layout,
    LayoutVideos,
    chosen,
    read_list,
    sequence_folders,
    split_folder,
)
from vosfm.data.index_truth import FolderTruth
from vosfm.data.truth import Truth

FRAMES, MASKS = "JPEGImages_24fps", "Annotations_6fps"


class SAV(LayoutVideos):
    """The videos of a split of SA-V, all 24 frames of a second; objects are given at their start.

    Results are reported of the 6 frames of a second that have masks. Objects may overlap, so let
    the model not choose between them: `--model.exclusive false`. Nothing on disk is touched before
    the first use, so a configuration may name data that its command does not need.

    Args:
        root: the folder that holds sav_val and sav_test, or one of these.
        split: "val" or "test".
        sequences: only these videos of the split; None for all.
    """

    _kind = AnnotatedVideo

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "val",
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._wanted = sequences

    def _find(self) -> Layout:
        return sav_layout(self._root, self._split, self._wanted)


def sav_layout(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> Layout:
    """Where the videos of a split of SA-V lie; arguments and errors as `sav_truths`."""
    name = None if split is None else f"sav_{split.removeprefix('sav_')}"
    within = name if name is not None and (root / name).is_dir() else None
    folder = split_folder("sav", root, within, ("sav_val", "sav_test"), MASKS)
    masks = folder / MASKS
    names = sequence_folders("sav", root, masks, "*/*.png")
    listed = folder / f"{name or folder.name}.txt"
    if name is not None and name != folder.name and not listed.is_file():
        folder = split_folder("sav", root, name, (), MASKS)  # says that there is no such split
    if listed.is_file():
        names = chosen(names, read_list(listed), masks)
    names = chosen(names, sequences, masks)
    return Layout(folder / FRAMES, masks, names, lambda video: FolderTruth(masks / video, first=0))


def sav_truths(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> list[Truth]:
    """The annotations of a split of SA-V.

    Args:
        root: the folder that holds sav_val and sav_test; or one of these, or its Annotations_6fps.
        split: "val" or "test"; None for the root if it is a split, else "val".
        sequences: only these videos.

    Raises:
        InputError: if a folder, the list or a video is missing.
    """
    return sav_layout(root, split, sequences).truths()


def _looks(folder: Path) -> str | None:
    if any((folder / kind).is_dir() for kind in (FRAMES, MASKS)):
        return "a split of it"
    for split in ("sav_val", "sav_test"):
        if any((folder / split / kind).is_dir() for kind in (FRAMES, MASKS)):
            return f"its split {split.removeprefix('sav_')}"
    return None


register(
    Format(
        name="sav",
        title="SA-V",
        layout=(
            f"sav_<split>/{FRAMES}/<video>/00000.jpg, "
            f"sav_<split>/{MASKS}/<video>/<object>/00000.png and sav_<split>/sav_<split>.txt"
        ),
        split="val",
        videos=lambda root, split: SAV(root, split or "val"),
        truths=sav_truths,
        looks=_looks,
    )
)
