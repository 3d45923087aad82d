"""PUMaVOS: partial and unusual masks, such as parts, clothes, hair and reflections.

Layout: JPEGImages/<video>/frame_000000.jpg and Annotations/<video>/frame_000000.png, masks for all
frames; no splits.

Source: Bekuzarov et al., XMem++ (ICCV 2023); the layout by mbzuai-metaverse/XMem2.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.format import Format, register
from vosfm.data.formats.layout import Layout, LayoutVideos, chosen, sequence_folders, split_folder
from vosfm.data.index_truth import IndexTruth, as_they_appear
from vosfm.data.truth import Truth
from vosfm.errors import InputError

SOME_VIDEOS = (
    "billie_shoes",
    "chair",
    "dog_tail",
    "ice_cream",
    "pants_workout",
    "skz",
    "tattoo",
    "vlog",
)
"""Those that its authors show, by which a folder of it is known."""


class PUMaVOS(LayoutVideos):
    """The videos of PUMaVOS; an object is given in the first mask that shows it.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds JPEGImages and Annotations.
        sequences: only these videos; None for all.
    """

    def __init__(
        self, root: str | os.PathLike[str], sequences: Sequence[str] | None = None
    ) -> None:
        self._root = Path(root)
        self._wanted = sequences

    def _find(self) -> Layout:
        return pumavos_layout(self._root, None, self._wanted)


def pumavos_layout(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> Layout:
    """Where the videos of PUMaVOS lie; arguments and errors as `pumavos_truths`."""
    if split is not None:
        raise InputError(f"{root}: PUMaVOS has no split {split}, nor any other; name none")
    folder = split_folder("pumavos", root, None, (".",))
    masks = folder / "Annotations"
    names = chosen(sequence_folders("pumavos", root, masks), sequences, masks)
    return Layout(
        folder / "JPEGImages", masks, names, lambda name: IndexTruth(masks / name, as_they_appear)
    )


def pumavos_truths(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> list[Truth]:
    """The annotations of PUMaVOS.

    Args:
        root: the folder that holds JPEGImages and Annotations, or its Annotations.
        split: must be None.
        sequences: only these videos.

    Raises:
        InputError: if a folder or a video is missing, or a PNG is damaged.
    """
    return pumavos_layout(root, split, sequences).truths()


def _looks(folder: Path) -> str | None:
    for kind in ("JPEGImages", "Annotations"):
        if sum((folder / kind / video).is_dir() for video in SOME_VIDEOS) > 1:
            return "it has its names"
    return None


register(
    Format(
        name="pumavos",
        title="PUMaVOS",
        layout=("JPEGImages/<video>/frame_000000.jpg and Annotations/<video>/frame_000000.png"),
        split=None,
        videos=lambda root, split: PUMaVOS(root),
        truths=pumavos_truths,
        looks=_looks,
    )
)
