"""Samples read from shards, undecoded: in order, or any one of them.

The index says where a sample begins and ends, so that what is damaged in one does not reach the
next. Nothing is unpacked to disk, and a member is read only if it is a plain one with one of the
names that samples have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from tarfile import AREGTYPE, BLOCKSIZE, REGTYPE, HeaderError, TarInfo
from types import TracebackType

from vosfm.data.shards.cache import Cache
from vosfm.data.shards.description import Description
from vosfm.data.shards.index import Entry, ShardIndex
from vosfm.data.shards.sample import Packed, SampleError
from vosfm.data.shards.sources import Source
from vosfm.errors import InputError

__all__ = [
    "Packed",
    "SampleError",
    "Stream",
    "members_of",
    "read_description",
    "read_one",
    "stream",
]

_MEMBER = re.compile(r"json|\d{5,7}\.(jpg|masks)")


class Stream(Iterator[Packed]):
    """The samples of one shard in order; opened at the first one, closed behind the last.

    A sample that is broken raises a `SampleError`, and the next call goes on behind it.

    Args:
        index: of the shards.
        shard: which.
        first: the place to begin at; files are entered there, pipes and URLs are read up to there.
        cache: where shards that are no files are kept; None reads them as they come.
    """

    def __init__(
        self, index: ShardIndex, shard: int, first: int = 0, cache: Cache | None = None
    ) -> None:
        self._index = index
        self._shard = shard
        self._place = first
        self._cache = cache
        self._source: Source | None = None

    def __next__(self) -> Packed:
        """The next sample.

        Raises:
            SampleError: if it is broken; those behind it can be read.
            InputError: if the shard cannot be opened or read; nothing comes behind that.
        """
        entries = self._index.shards[self._shard].samples
        if self._place >= len(entries):
            self.close()
            raise StopIteration
        place, entry = self._place, entries[self._place]
        self._place += 1
        try:
            if self._source is None:
                self._source = _opened(self._index, self._shard, self._cache)
            self._source.go_to(entry.offset)
            data = self._source.read(entry.size)
        except InputError:
            self._place = len(entries)
            self.close()
            raise
        origin = self._index.url(self._shard)
        try:
            members = members_of(data, entry, f"{origin}: {entry.key}")
        except InputError as error:
            raise SampleError(str(error), self._shard, place) from None
        return Packed(entry.key, members, self._shard, place, origin)

    def close(self) -> None:
        """Close the shard, as its end does."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def __enter__(self) -> Stream:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def stream(index: ShardIndex, shard: int, first: int = 0, cache: Cache | None = None) -> Stream:
    """The samples of a shard from the place `first` on; as `Stream`."""
    return Stream(index, shard, first, cache)


def read_one(index: ShardIndex, shard: int, place: int, cache: Cache | None = None) -> Packed:
    """Read one sample; of a file no other one is read.

    Args:
        index: of the shards.
        shard: which.
        place: of the sample in it.
        cache: as for `Stream`.

    Raises:
        SampleError: if it is broken.
        InputError: if the shard cannot be read.
    """
    with Stream(index, shard, place, cache) as samples:
        return next(samples)


def read_description(index: ShardIndex, shard: int, place: int) -> Description:
    """Read what the first member of a sample tells, and nothing else of it.

    Args:
        index: of the shards.
        shard: which.
        place: of the sample in it.

    Raises:
        SampleError: if that is broken.
        InputError: if the shard cannot be read.
    """
    entry, origin = index.shards[shard].samples[place], index.url(shard)
    with Source(origin, "shard") as source:
        source.go_to(entry.offset)
        block = source.read(BLOCKSIZE)
        try:
            name, size = _header(block, entry, f"{origin}: {entry.key}")
            if name != "json" or size > entry.size:
                raise InputError(f"{origin}: {entry.key}: does not begin with its description")
            return Description.from_bytes(source.read(size), f"{origin}: {entry.key}.json")
        except InputError as error:
            raise SampleError(str(error), shard, place) from None


def _opened(index: ShardIndex, shard: int, cache: Cache | None) -> Source:
    if cache is None or index.path(shard) is not None:
        return Source(index.url(shard), "shard")
    return cache.open(index, shard)


def members_of(data: bytes, entry: Entry, whose: str) -> tuple[tuple[str, bytes], ...]:
    """The members of a sample, which follow each other without a gap.

    Raises:
        InputError: if there are fewer bytes than the index says, a header is damaged, or a member
            is no plain file, has another name than samples have, is there twice, or declares more
            bytes than there are.
    """
    if len(data) < entry.size:
        raise InputError(
            f"{whose}: cut off, {len(data)} of {entry.size} bytes are there; copy the shard again"
        )
    members: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        name, size = _header(data[at : at + BLOCKSIZE], entry, whose)
        at += BLOCKSIZE
        told = f"{whose}.{name}"
        if name in members:
            raise InputError(f"{told}: there twice; pack the video again")
        if size > len(data) - at:
            raise InputError(
                f"{told}: declares {size} bytes where {len(data) - at} are left; refused"
            )
        members[name] = data[at : at + size]
        at += -(-size // BLOCKSIZE) * BLOCKSIZE
    return tuple(members.items())


def _header(block: bytes, entry: Entry, whose: str) -> tuple[str, int]:
    """What follows the key in the name of a member, and how many bytes it declares."""
    try:
        header = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except HeaderError as error:
        raise InputError(f"{whose}: a damaged header ({error}); copy the shard again") from None
    told = f"{whose}: member {header.name[:100]!a}"
    if header.type not in (REGTYPE, AREGTYPE):
        raise InputError(f"{told}: no plain file, but of type {header.type!r}; refused")
    key, _, name = header.name.partition(".")
    if key != entry.key or not _MEMBER.fullmatch(name):
        raise InputError(
            f"{told}: a sample holds {entry.key}.json and its .jpg and .masks alone; refused"
        )
    if header.size < 0:
        raise InputError(f"{told}: declares {header.size} bytes; refused")
    return name, header.size
