"""A dataset packed into shards, in a way that survives kills; and shards checked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from vosfm.data.claim import claim
from vosfm.data.datasets import Videos
from vosfm.data.formats.layout import chosen
from vosfm.data.shards.cutting import Cut, cut
from vosfm.data.shards.index import INDEX, ShardIndex
from vosfm.data.shards.sample import Packed
from vosfm.data.shards.sources import Source
from vosfm.data.shards.writing import Written, read_written, shard_name, write_shards
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.processes import each
from vosfm.progress import shown

RECORD = "packing.json"
"""What was packed and how, by which an interrupted run goes on."""

_MIB = 2**20

Item = TypeVar("Item")


@dataclass(frozen=True)
class Packing:
    """What a dataset became.

    Attributes:
        index: of its shards.
        resumed: how many of these an earlier run had finished.
        warnings: what the shards do not hold of it, a line each.
    """

    index: ShardIndex
    resumed: int = 0
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, float]:
        """One row: what there is of everything, and what a mask costs."""
        entries = [entry for shard in self.index.shards for entry in shard.samples]
        masks = sum(entry.masks for entry in entries)
        return {
            "shards": len(self.index.shards),
            "samples": len(entries),
            "videos": len(self.index.sources),
            "frames": sum(entry.frames for entry in entries),
            "tracks": sum(entry.tracks for entry in entries),
            "masks": masks,
            "bytes": sum(shard.bytes for shard in self.index.shards),
            "mask_bytes": self.index.mask_bytes,
            "bytes_per_mask": self.index.mask_bytes / masks if masks else float("nan"),
        }


def pack(
    videos: Videos | Sequence[Video],
    out: str | os.PathLike[str],
    how: Cut | None = None,
    shard_size: int = 256 * _MIB,
    workers: int = 1,
    source: str = "",
    origin: str = "",
    sequences: Sequence[str] | None = None,
) -> Packing:
    """Write videos as shards.

    A shard gets its name when it is whole, and the index is written last. A run that was
    interrupted goes on behind the last shard that is whole; what it then leaves is the same, byte
    for byte, and so it is with any number of workers.

    Args:
        videos: with masks; their truths, where they have some, say which objects count.
        out: the folder to write into: a new one, an empty one, or that of the same packing.
        how: they are cut and encoded; None for whole videos as they are.
        shard_size: bytes of a shard, which holds at least one clip.
        workers: processes that encode, each of which holds the clips of a video.
        source: name of their format, for the index.
        origin: where they lie, so that a run does not go on with others.
        sequences: only these videos; None for all.

    Raises:
        InputError: if a video cannot be read or has no masks, two have one name, or `out` holds
            anything else.
    """
    for what, value in (("workers", workers), ("shard size", shard_size)):
        if value < 1:
            raise InputError(f"{what} is {value}: give at least 1")
    out, how = Path(out), how or Cut()
    every = videos.names if isinstance(videos, Videos) else tuple(v.name for v in videos)
    at = {name: index for index, name in enumerate(every)}
    if len(at) < len(every):
        twice = next(name for index, name in enumerate(every) if at[name] != index)
        raise InputError(f"{origin}: two videos {twice}; samples need one name each")
    names = chosen(every, sequences, Path(origin), "video")
    if not names:
        raise InputError(f"{origin}: no video; check the root and the split")
    record = {
        "source": source,
        "origin": origin,
        "shard_size": shard_size,
        **asdict(how),
        "videos": list(names),
    }
    claim(out, RECORD, record, "packing")
    if (out / INDEX).is_file():
        return _finished(out)
    for leftover in out.glob(".*.partial"):  # of a run that was killed
        leftover.unlink()
    written = list(_there(out))
    resumed, sources = len(written), [name for one in written for name in one.sources]
    # The last video of the last shard may go on in the next one.
    left = names[names.index(sources[-1]) :] if sources else names
    skips = {left[0]: sources.count(left[0])}
    jobs = (_Job(_video(videos, at[name]), skips.get(name, 0), how) for name in left)
    bare: dict[str, int] = {}
    packed = zip(left, each(pack_video, jobs, workers, __name__), strict=True)
    clips = _clips(shown(packed, "packing", len(left)), bare)
    keys = {entry.key for one in written for entry in one.shard.samples}
    written += write_shards(_once(clips, keys), out, shard_size, resumed)
    index = ShardIndex(
        str(out),
        tuple(one.shard for one in written),
        source,
        frozenset(names),
        sum(one.mask_bytes for one in written),
    )
    with whole(out / INDEX) as partial:
        partial.write_text(json.dumps(index.to_json(), separators=(",", ":")) + "\n")
    return Packing(index, resumed, tuple(_warnings(bare, len(left))))


def check(root: str | os.PathLike[str]) -> ShardIndex:
    """Compare every shard with its size and checksum in the index.

    Args:
        root: of the shards, as `ShardIndex.root`.

    Returns:
        The index.

    Raises:
        InputError: if the index cannot be read, or a shard is missing or another one; the message
            says how many are.
    """
    index = ShardIndex.read(root)
    broken = []
    for number, shard in enumerate(shown(index.shards, "checking", len(index.shards))):
        digest, count = hashlib.sha256(), 0
        try:
            with Source(index.url(number), "shard") as source:
                while chunk := source.read(_MIB):
                    digest.update(chunk)
                    count += len(chunk)
        except InputError as error:
            broken.append(str(error))
            continue
        if count != shard.bytes:
            broken.append(f"{index.url(number)}: has {count} bytes, not {shard.bytes}")
        elif digest.hexdigest() != shard.sha256:
            broken.append(f"{index.url(number)}: its content has changed, by its SHA-256")
    if broken:
        raise InputError(
            f"{len(broken)} of {len(index.shards)} shards are broken, the first: {broken[0]}; copy "
            f"them again, or remove them and {INDEX} and pack again"
        )
    return index


@dataclass(frozen=True)
class _Job:
    """A video to pack.

    Attributes:
        video: opened; or why it cannot be.
        skip: clips of it that lie in a shard already.
        how: it is cut.
    """

    video: Video | InputError
    skip: int
    how: Cut


def pack_video(job: _Job) -> tuple[list[Packed], int]:
    """The clips of a video, and how many frames without masks they leave out.

    Raises:
        InputError: as `cut`, or if the video could not be opened.
    """
    if isinstance(job.video, InputError):
        raise job.video
    bare = 0
    if job.how.pictures == "annotated":
        bare = len(job.video) - len(job.video.annotated())
    return list(cut(job.video, job.how, job.skip)), bare


def _video(videos: Videos | Sequence[Video], index: int) -> Video | InputError:
    """Open a video; what is wrong with it is told when its turn comes, with any workers."""
    try:
        return videos[index]
    except InputError as error:
        return error


def _clips(
    packed: Iterable[tuple[str, tuple[list[Packed], int]]], bare: dict[str, int]
) -> Iterator[Packed]:
    """The clips of all videos; frames that are left out are counted by video."""
    for name, (clips, count) in packed:
        if count:
            bare[name] = count
        yield from clips


def _once(clips: Iterable[Packed], keys: set[str]) -> Iterator[Packed]:
    """See that no key is there twice."""
    for clip in clips:
        if clip.key in keys:
            raise InputError(
                f"{clip.key}: a second sample would be called so, since a video has the name of a "
                "part of another one; rename it, or pack it by itself"
            )
        keys.add(clip.key)
        yield clip


def _there(out: Path) -> Iterator[Written]:
    """The shards that an earlier run finished."""
    number = 0
    while (path := out / shard_name(number)).is_file():
        yield read_written(path)
        number += 1


def _finished(out: Path) -> Packing:
    """What an earlier run left, to its end."""
    index = ShardIndex.read(out)
    for shard in index.shards:
        path = out / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise InputError(f"{path}: missing or cut off; remove {out / INDEX} to pack it again")
    return Packing(index, len(index.shards))


def _warnings(bare: Mapping[str, int], videos: int) -> Iterator[str]:
    if bare:
        yield (
            f"{len(bare)} of {videos} videos lose {sum(bare.values())} pictures without masks (the "
            f"first is {next(iter(bare))}); keep them with --pictures all"
        )
