"""Samples written into shards, so that equal samples give equal bytes."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE, USTAR_FORMAT, TarInfo

from vosfm.data.shards.index import MOST_SAMPLE, Entry, Shard
from vosfm.data.shards.reading import members_of
from vosfm.data.shards.sample import Packed, PackedVideo
from vosfm.errors import InputError
from vosfm.files import whole

_END = bytes(2 * BLOCKSIZE)
"""Two blocks of zeros end a tar file."""


@dataclass(frozen=True)
class Written:
    """A shard that is whole.

    Attributes:
        shard: what the index tells of it.
        sources: of each sample, the name of its video.
        mask_bytes: of all members that hold masks.
    """

    shard: Shard
    sources: tuple[str, ...]
    mask_bytes: int


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:06d}.tar"


def write_shards(
    samples: Iterator[Packed], out: Path, limit: int, first: int = 0
) -> Iterator[Written]:
    """Write samples one after the other, into as many shards as they need.

    Which shard a sample goes to depends on the samples alone. A shard gets its name when it is
    whole.

    Args:
        samples: to write; one is held in memory.
        out: the folder.
        limit: bytes of a shard, which holds at least one sample.
        first: number of the first shard.

    Yields:
        Each shard, when it has its name.

    Raises:
        InputError: if a sample is too large to be read again.
    """
    number = first
    waiting = next(samples, None)
    while waiting is not None:
        filling = _Filling()
        path = out / shard_name(number)
        with whole(path) as partial, partial.open("wb") as file:
            while waiting is not None:
                block = _block(waiting)
                if filling.entries and filling.end + len(block) + len(_END) > limit:
                    break
                file.write(block)
                filling.add(waiting, len(block))
                filling.digest.update(block)
                waiting = next(samples, None)
            file.write(_END)
            filling.digest.update(_END)
        yield filling.written(path.name, filling.end + len(_END), filling.digest.hexdigest())
        number += 1


def read_written(path: Path) -> Written:
    """Find out what a shard holds by reading it, without an index.

    Args:
        path: of a shard that `write_shards` wrote.

    Raises:
        InputError: if it is damaged.
    """
    filling = _Filling()
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        with tarfile.open(path, "r:") as tar:
            begins: dict[str, int] = {}
            for member in tar:
                begins.setdefault(member.name.partition(".")[0], member.offset)
            end = tar.offset
        size = path.stat().st_size
        edges = [*begins.values(), end]
        with path.open("rb") as file:
            for key, begin, stop in zip(begins, edges, edges[1:], strict=False):
                file.seek(begin)
                told = Entry(key, begin, stop - begin, 0, 0, 0)
                members = members_of(file.read(stop - begin), told, f"{path}: {key}")
                filling.add(Packed(key, members, origin=str(path)), stop - begin)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it, and it is packed again") from None
    return filling.written(path.name, size, checksum)


class _Filling:
    """What a shard holds so far."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sources: list[str] = []
        self.mask_bytes = 0
        self.end = 0
        self.digest = hashlib.sha256()

    def add(self, packed: Packed, size: int) -> None:
        """Count a sample that takes so many bytes of the shard."""
        video = PackedVideo(packed)
        areas = [video.areas(index) for index in video.annotated()]
        self.entries.append(
            Entry(
                key=packed.key,
                offset=self.end,
                size=size,
                frames=len(video),
                tracks=len(frozenset().union(*areas)),
                masks=sum(map(len, areas)),
            )
        )
        self.sources.append(video.source)
        self.mask_bytes += sum(len(data) for name, data in packed.members if "masks" in name)
        self.end += size

    def written(self, name: str, size: int, checksum: str) -> Written:
        """The shard, now that it is whole."""
        shard = Shard(name, size, checksum, tuple(self.entries))
        return Written(shard, tuple(self.sources), self.mask_bytes)


def _block(packed: Packed) -> bytes:
    """The members of a sample as a part of a tar file, without times and owners."""
    pieces = []
    for name, data in packed.members:
        header = TarInfo(f"{packed.key}.{name}")
        header.size = len(data)
        pieces += [header.tobuf(USTAR_FORMAT), data, bytes(-len(data) % BLOCKSIZE)]
    block = b"".join(pieces)
    if len(block) > MOST_SAMPLE:
        raise InputError(
            f"{packed.key}: {len(block)} bytes, more than the {MOST_SAMPLE} that a sample may "
            "have; cut videos with --length"
        )
    return block
