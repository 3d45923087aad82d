"""Small videos, and shards made of them: good ones and evil ones."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vosfm.data.memory import ArrayVideo
from vosfm.data.shards.cutting import Cut
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.packing import pack
from vosfm.data.video import Annotation, Video

SIZE = (24, 32)


class NotedVideo(ArrayVideo):
    """Blots that overlap, with void pixels in the second frame and qualities as from an engine."""

    def __init__(self, name: str = "noted", length: int = 4, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        frames = np.repeat(rng.integers(0, 255, (length, *SIZE, 1), np.uint8), 3, axis=3)
        masks = rng.random((length, 3, *SIZE)) > 0.6
        masks[1:, 2] = False
        super().__init__(frames, masks, name, (2, 5, 200))
        self.void = rng.random(SIZE) > 0.9

    def annotation(self, index: int) -> Annotation:
        note = super().annotation(index)
        assert note is not None
        return Annotation(note.object_ids, note.masks, self.void if index == 1 else None)

    def quality(self, index: int) -> dict[int, float]:
        return {2: 0.9 - index / 20, 5: 0.75}


def videos(count: int = 4, length: int = 4) -> list[Video]:
    """Noted videos, each of other noise."""
    return [NotedVideo(f"clip{seed}", length, seed) for seed in range(count)]


def save(out: Path, count: int = 4, shard_size: int = 40_000, **how: int) -> ShardIndex:
    """Shards of noted videos; two samples to a shard."""
    return pack(videos(count), out, Cut(**how), shard_size).index  # type: ignore[arg-type]


Change = Callable[[tarfile.TarInfo, bytes], Sequence[tuple[tarfile.TarInfo, bytes]]]
"""A member and its bytes -> what stands in its place."""


def rewrite(folder: Path, change: Change) -> ShardIndex:
    """Change members of the first shard of a folder, so that its index tells the truth of it."""
    index = json.loads((folder / "index.json").read_text())
    told = index["shards"][0]
    path = folder / told["name"]
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore
    data, spans = io.BytesIO(), {row[0]: [0, 0] for row in told["samples"]}
    for member, content in members:
        key = member.name.split(".")[0]
        if spans[key][1] == 0:
            spans[key][0] = data.tell()
        for header, changed in change(member, content):
            data.write(header.tobuf(tarfile.GNU_FORMAT) + changed + bytes(-len(changed) % 512))
        spans[key][1] = data.tell()
    data.write(bytes(1024))
    for row in told["samples"]:
        begin, end = spans[row[0]]
        row[1:3] = begin, end - begin
    path.write_bytes(data.getvalue())
    told["bytes"], told["sha256"] = (
        len(data.getvalue()),
        hashlib.sha256(data.getvalue()).hexdigest(),
    )
    (folder / "index.json").write_text(json.dumps(index))
    return ShardIndex.read(folder)


def renamed(member: tarfile.TarInfo, **fields: object) -> tarfile.TarInfo:
    """A header like another one."""
    header = tarfile.TarInfo(member.name)
    header.size = member.size
    for name, value in fields.items():
        setattr(header, name, value)
    return header
