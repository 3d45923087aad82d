"""Shards of so many samples each, and damage to single samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from vosfm.data import ArrayVideo, Video
from vosfm.data.shards.cutting import Cut, cut
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.writing import write_shards


def squares(count: int, size: tuple[int, int] = (32, 48), length: int = 3) -> list[Video]:
    """Videos of a moving square on noise, called v00, v01, ..."""
    videos: list[Video] = []
    for number in range(count):
        chance = np.random.default_rng(number)
        frames = chance.integers(0, 60, (length, *size, 3)).astype(np.uint8)
        masks = np.zeros((length, 1, *size), bool)
        for t in range(length):
            top, left = 4 + 2 * t, 4 + (number + t) % (size[1] - 24)
            masks[t, 0, top : top + 16, left : left + 16] = True
        frames[masks[:, 0]] += np.asarray([150, 90, 30], np.uint8)
        videos.append(ArrayVideo(frames, masks, f"v{number:02d}"))
    return videos


def save_shards(root: Path, videos: Iterable[Video], counts: Sequence[int]) -> ShardIndex:
    """Write shards of these numbers of samples, each a whole video."""
    root.mkdir(parents=True)
    samples = (packed for video in videos for packed in cut(video, Cut()))
    written = [
        one
        for number, count in enumerate(counts)
        for one in write_shards(islice(samples, count), root, 2**40, number)
    ]
    assert next(samples, None) is None
    shards = tuple(one.shard for one in written)
    names = frozenset(name for one in written for name in one.sources)
    index = ShardIndex(str(root), shards, "test", names)
    (root / "index.json").write_text(json.dumps(index.to_json()))
    return index


def damage(index: ShardIndex, shard: int, place: int) -> str:
    """Overwrite the end of a sample, which holds masks, and tell its key."""
    entry = index.shards[shard].samples[place]
    path = index.path(shard)
    assert path is not None
    data = bytearray(path.read_bytes())
    end = entry.offset + entry.size
    start = data.rindex(b".masks", entry.offset, end) // 512 * 512 + 512
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    return entry.key


def cut_off(index: ShardIndex, shard: int) -> str:
    """Cut a shard within its last sample, and tell its key."""
    entry = index.shards[shard].samples[-1]
    path = index.path(shard)
    assert path is not None
    path.write_bytes(path.read_bytes()[: entry.offset + 700])
    return entry.key
