"""Tar shards, as `vosfm pack` writes them: every sample is a video.

Layout: index.json, shard-000000.tar, shard-000001.tar and so on. A video is called by the key of
its sample, which is the name of the video that was packed, with the place of its first frame where
that was cut into several clips.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

from vosfm.data.datasets import ListedVideos
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.formats.layout import chosen
from vosfm.data.shards.index import INDEX, ShardIndex
from vosfm.data.shards.reading import read_description, read_one
from vosfm.data.shards.sample import PackedTruth, PackedVideo
from vosfm.data.shards.writing import shard_name
from vosfm.data.truth import Truth
from vosfm.errors import InputError


class ShardVideos(ListedVideos):
    """The samples of a folder of shards, each a video to test on.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need. To train on shards, stream them.

    Args:
        root: the folder that holds index.json and the shards.
        sequences: only these samples, by their keys; None for all.
    """

    def __init__(
        self, root: str | os.PathLike[str], sequences: Sequence[str] | None = None
    ) -> None:
        self._root = Path(root)
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def _where(self) -> dict[str, ShardIndex]:
        """Key -> where this one sample lies."""
        if not (self._root / INDEX).is_file():
            raise mismatch("shards", self._root, f"no file {INDEX}")
        return {
            entry.key: ShardIndex(str(self._root), (replace(shard, samples=(entry,)),))
            for shard in ShardIndex.read(self._root).shards
            for entry in shard.samples
        }

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Keys of the samples, in the order of the shards.

        Raises:
            InputError: if there is no index, or it is damaged, or a wanted sample is not in it.
        """
        return chosen(tuple(self._where), self._wanted, self._root, "sample")

    def __getitem__(self, index: int) -> PackedVideo:
        """A sample, as bytes in memory; pictures and masks are decoded when they are asked for."""
        return PackedVideo(read_one(self._where[self.sequences[index]], 0, 0))

    def truths(self) -> list[Truth]:
        """The annotations of all samples; masks are read when they are asked for.

        Raises:
            InputError: as `sequences`, or if what a sample tells of itself is damaged.
        """
        return [
            PackedTruth(
                key, read_description(self._where[key], 0, 0), partial(_opened, self._where[key])
            )
            for key in self.sequences
        ]


@lru_cache(maxsize=2)
def _opened(where: ShardIndex) -> PackedVideo:
    """One sample; those read last are kept, since truths are asked for frame after frame."""
    return PackedVideo(read_one(where, 0, 0))


def _videos(root: Path, split: str | None) -> ShardVideos:
    _refuse(split)
    return ShardVideos(root)


def _truths(root: Path, split: str | None, sequences: Sequence[str] | None) -> list[Truth]:
    _refuse(split)
    return ShardVideos(root, sequences).truths()


def _refuse(split: str | None) -> None:
    if split is not None:
        raise InputError(f"shards: no split {split}; every folder of shards is one, name none")


def _looks(root: Path) -> str | None:
    is_one = (root / INDEX).is_file() and (root / shard_name(0)).is_file()
    return "a folder of shards" if is_one else None


register(
    Format(
        name="shards",
        title="Shards",
        layout=f"{INDEX} and {shard_name(0)}",
        split=None,
        videos=_videos,
        truths=_truths,
        looks=_looks,
    )
)
