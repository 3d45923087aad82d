"""Opening whatever a path may be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vosfm.data.datasets import Videos
from vosfm.data.file import VideoFile
from vosfm.data.folder import FrameFolder
from vosfm.data.images import SUFFIXES
from vosfm.data.video import Video
from vosfm.errors import InputError

StrPath = str | os.PathLike[str]


def open_video(path: StrPath, masks: StrPath | None = None, name: str | None = None) -> Video:
    """Open a folder of frames or a video file.

    Args:
        path: the folder or the file.
        masks: the index PNG of the first frame; or a folder of PNGs named like their frames, where
            objects that first appear in a later mask join there; or a folder with a folder of
            PNGs for each object, named by its id, where objects overlap.
        name: what results are filed under; that of the folder or file if None.

    Raises:
        InputError: if the path or the masks are missing or unusable.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, masks, name)
    if not path.exists():
        raise InputError(f"{path}: no such video or folder of frames; check the path")
    if path.suffix.lower() in SUFFIXES:
        raise InputError(f"{path}: a single picture; give the folder of frames that it lies in")
    return VideoFile(path, masks, name)


class VideoList(Videos):
    """Folders of frames and video files, by path.

    Args:
        paths: of the videos.
        masks: of each video, in the same order: the first mask or a folder of masks; or None.

    Raises:
        InputError: if there are not as many masks as videos.
    """

    def __init__(self, paths: Sequence[str], masks: Sequence[str] | None = None) -> None:
        if masks is not None and len(masks) != len(paths):
            raise InputError(
                f"{len(paths)} videos but {len(masks)} masks were given; give one for each"
            )
        self._paths = tuple(paths)
        self._masks = tuple(masks) if masks is not None else (None,) * len(paths)

    def __len__(self) -> int:
        """How many."""
        return len(self._paths)

    def __getitem__(self, index: int) -> Video:
        """A video, opened now and read lazily."""
        return open_video(self._paths[index], self._masks[index])
