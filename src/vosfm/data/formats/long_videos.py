"""Long Videos: blueboy, dressage and rat, thousands of frames of which few are annotated.

Layout: JPEGImages/<video>/00000.jpg and Annotations/<video>/00000.png, masks for about one frame
in a hundred; lists such as val.txt or videos.txt beside them, a video a line.

Source: Liang et al., AFB-URR (NeurIPS 2020); the layout by its repository and that of XMem, which
calls the folder long_video.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.formats.format import Format, register
from vosfm.data.formats.layout import (
    IndexVideo,
    Layout,
    LayoutVideos,
    chosen,
    read_list,
    sequence_folders,
    split_folder,
)
from vosfm.data.index_truth import IndexTruth, up_to_largest
from vosfm.data.truth import Truth
from vosfm.data.video import Mask

VIDEOS = ("blueboy", "dressage", "rat")


class LongVideo(IndexVideo):
    """A long video; ids without a pixel in the first mask count, but there is nothing to give."""

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """The first frame -> object id -> (H, W) bool mask of the objects that it shows.

        Raises:
            InputError: if the mask is damaged.
        """
        given = {
            frame: {object_id: mask for object_id, mask in masks.items() if mask.any()}
            for frame, masks in super().prompts().items()
        }
        return {frame: masks for frame, masks in given.items() if masks}


class LongVideos(LayoutVideos):
    """The long videos; the objects of the first frame are given, and annotated frames reported.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds JPEGImages and Annotations.
        split: a list of videos in the root, such as "val"; None for all that have a folder.
        sequences: only these videos; None for all.
    """

    _kind = LongVideo

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._wanted = sequences

    def _find(self) -> Layout:
        return long_videos_layout(self._root, self._split, self._wanted)


def long_videos_layout(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> Layout:
    """Where the long videos lie; arguments and errors as `long_videos_truths`."""
    folder = split_folder("long_videos", root, None, (".",))
    masks = folder / "Annotations"
    names = sequence_folders("long_videos", root, masks)
    if split is not None:
        names = chosen(names, read_list(folder / f"{split}.txt"), masks)
    names = chosen(names, sequences, masks)
    return Layout(
        folder / "JPEGImages", masks, names, lambda name: IndexTruth(masks / name, up_to_largest)
    )


def long_videos_truths(
    root: Path, split: str | None = None, sequences: Sequence[str] | None = None
) -> list[Truth]:
    """The annotations of the long videos.

    Args:
        root: the folder that holds JPEGImages and Annotations, or its Annotations.
        split: a list of videos in the root, such as "val"; None for all that have a folder.
        sequences: only these videos.

    Raises:
        InputError: if a folder, the list or a video is missing, or a PNG is damaged.
    """
    return long_videos_layout(root, split, sequences).truths()


def _looks(folder: Path) -> str | None:
    for kind in ("JPEGImages", "Annotations"):
        if any((folder / kind / video).is_dir() for video in VIDEOS):
            return "it has their names"
    return None


register(
    Format(
        name="long_videos",
        title="Long Videos",
        layout="JPEGImages/<video>/00000.jpg and, of few frames, Annotations/<video>/00000.png",
        split=None,
        videos=LongVideos,
        truths=long_videos_truths,
        looks=_looks,
    )
)
