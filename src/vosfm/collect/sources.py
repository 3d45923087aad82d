"""What to collect from: video files, folders of frames, folders of either, and datasets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data.datasets import Videos
from vosfm.data.file import VideoFile
from vosfm.data.formats.format import format_named
from vosfm.data.images import SUFFIXES
from vosfm.data.open import open_video
from vosfm.data.video import Video
from vosfm.errors import InputError

VIDEOS = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".ogv", ".ts", ".webm", ".wmv"}
)
"""Names of files that count as videos in a folder, in lower case; named alone, any file may be."""


@dataclass(frozen=True)
class Source:
    """A video that can be opened anywhere, such as in another process.

    Attributes:
        name: of letters, digits, _ and - alone; clips are called by it.
        path: of the file or the folder of frames; of a dataset its root.
        format: of the dataset; None for a video by itself.
        split: of the dataset.
        index: of the video in the dataset.
    """

    name: str
    path: str
    format: str | None = None
    split: str | None = None
    index: int = 0

    def open(self) -> Video:
        """The video; with masks if it is one of a dataset.

        Raises:
            InputError: if it is missing or broken.
        """
        if self.format is None:
            return open_video(self.path, name=self.name)
        return _dataset(self.format, self.path, self.split)[self.index]


def rate_of(video: Video) -> float | None:
    """Frames a second; None for folders of frames, which do not tell."""
    return video.rate if isinstance(video, VideoFile) else None


def list_sources(
    paths: Sequence[Path], format_name: str | None = None, split: str | None = None
) -> list[Source]:
    """Find the videos.

    Args:
        paths: of video files, folders of frames, and folders that hold such files or folders; or
            the root of a dataset.
        format_name: of the dataset; None for videos by themselves.
        split: of the dataset.

    Raises:
        InputError: if a path is missing or holds nothing, or two videos would have one name.
    """
    if format_name is None:
        if split is not None:
            raise InputError(f"split {split}: of which dataset? Name its layout with --format")
        files = [file for path in paths for file in _videos(path.resolve())]
        found = [Source(_plain(f.name if f.is_dir() else f.stem), str(f)) for f in files]
    else:
        entry = format_named(format_name)
        found = [
            Source(_plain(name), str(path.resolve()), format_name, split, index)
            for path in paths
            for index, name in enumerate(entry.videos(path, split).names)
        ]
    by_name: dict[str, Source] = {}
    for source in found:
        if source.name in by_name:
            first = by_name[source.name].path
            raise InputError(
                f"{source.path}: clips of it would be called {source.name}, and so would those of "
                f"{first}; rename one, or collect them into two folders"
            )
        by_name[source.name] = source
    if not found:
        raise InputError(f"{', '.join(map(str, paths))}: no video in it; check the path")
    return found


def _videos(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such video or folder; check the path")
        return [path]
    if _holds_frames(path):
        return [path]
    inner = sorted(p for p in path.iterdir() if p.name[0] != ".")
    found = [p for p in inner if _holds_frames(p) or (p.is_file() and p.suffix.lower() in VIDEOS)]
    if not found:
        raise InputError(
            f"{path}: neither frames such as 00000.jpg, nor videos, nor folders of frames in it; "
            "check the path, or name the layout of a dataset with --format"
        )
    return found


def _holds_frames(path: Path) -> bool:
    return path.is_dir() and any(
        p.suffix.lower() in SUFFIXES and p.name[0] != "." for p in path.iterdir()
    )


def _plain(name: str) -> str:
    """A name that any file system and any tar can hold."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


@lru_cache(maxsize=4)
def _dataset(name: str, root: str, split: str | None) -> Videos:
    return format_named(name).videos(Path(root), split)
