"""What lies where in the shards of a dataset: index.json, written last.

{"version": 1, "source": format, "videos": [names], "mask_bytes": n, "shards": [{"name":
"shard-000000.tar", "bytes": n, "sha256": "...", "samples": [[key, offset, size, frames, tracks,
masks], ...]}, ...]}

Shards may lie in a folder, behind a URL or behind a command; who reads them says where. The index
is data: it names shards by plain names and can neither lead out of the folder nor name a command.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vosfm.data.fields import field
from vosfm.data.shards.description import KEY
from vosfm.data.shards.sources import Source, local_folder, url_of
from vosfm.errors import InputError

INDEX = "index.json"
VERSION = 1

MOST_SAMPLE = 2**30
"""Bytes of one sample, which is read into memory as a whole."""

_MOST_INDEX = 2**31
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a sample lies in its shard, and how much it holds.

    Attributes:
        key: its name.
        offset: bytes of the shard before it.
        size: bytes of it in the shard, headers and all.
        frames: its pictures.
        tracks: objects that any of its masks shows.
        masks: that show something.
    """

    key: str
    offset: int
    size: int
    frames: int
    tracks: int
    masks: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file.

    Attributes:
        name: of the file.
        bytes: of the file.
        sha256: of the file, in hexadecimal digits.
        samples: what it holds, in order.
    """

    name: str
    bytes: int
    sha256: str
    samples: tuple[Entry, ...]


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a dataset.

    Attributes:
        root: where they are: a folder; a URL that their names are appended to, such as
            https://host/corpus, s3://bucket/corpus or gs://bucket/corpus; or a command that writes
            one of them, with {} for its name: "pipe:ssh host cat /corpus/{}".
        shards: in order.
        source: name of the format that they were packed from; empty if there was none.
        sources: names of the videos that the samples were cut from.
        mask_bytes: of all members that hold masks.
    """

    root: str
    shards: tuple[Shard, ...]
    source: str = ""
    sources: frozenset[str] = frozenset()
    mask_bytes: int = 0

    @classmethod
    def read(cls, root: str | os.PathLike[str]) -> ShardIndex:
        """Read the index of a root.

        Raises:
            InputError: if it cannot be read, is damaged, or names what it may not.
        """
        root = os.fspath(root)
        where = url_of(root, INDEX)
        if (folder := local_folder(root)) is not None and not folder.is_dir():
            raise InputError(f"{root}: no such folder of shards; check the path")
        data = bytearray()
        with Source(where, "index of shards") as source:
            while chunk := source.read(2**20):
                data += chunk
                if len(data) > _MOST_INDEX:
                    raise InputError(f"{where}: more than {_MOST_INDEX} bytes; check the root")
        try:
            told = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: damaged JSON, {error}; copy it again") from None
        return cls._checked(root, where, told)

    @classmethod
    def _checked(cls, root: str, where: str, told: Any) -> ShardIndex:
        if not isinstance(told, dict) or told.get("version") != VERSION:
            raise InputError(
                f"{where}: no index of shards of version {VERSION}; pack the dataset again"
            )
        shards = tuple(
            _shard(one, f"{where}: shard {at}")
            for at, one in enumerate(field(told, "shards", list, where))
        )
        for what, names in (
            ("shards", [shard.name for shard in shards]),
            ("samples", [entry.key for shard in shards for entry in shard.samples]),
        ):
            if len(set(names)) < len(names):
                twice = next(name for name, count in Counter(names).items() if count > 1)
                raise InputError(f"{where}: two {what} {twice}; pack the dataset again")
        videos = field(told, "videos", list, where)
        if not all(isinstance(name, str) for name in videos):
            raise InputError(f'{where}: "videos" are not names; pack the dataset again')
        mask_bytes = field(told, "mask_bytes", int, where)
        return cls(root, shards, field(told, "source", str, where), frozenset(videos), mask_bytes)

    def to_json(self) -> dict[str, Any]:
        """What index.json holds; equal shards give equal content, wherever they are."""
        return {
            "version": VERSION,
            "source": self.source,
            "videos": sorted(self.sources),
            "mask_bytes": self.mask_bytes,
            "shards": [
                {
                    "name": shard.name,
                    "bytes": shard.bytes,
                    "sha256": shard.sha256,
                    "samples": [
                        [e.key, e.offset, e.size, e.frames, e.tracks, e.masks]
                        for e in shard.samples
                    ],
                }
                for shard in self.shards
            ],
        }

    def url(self, shard: int) -> str:
        """Where a shard is: a path, a URL, or "pipe:" and a command."""
        return url_of(self.root, self.shards[shard].name)

    def path(self, shard: int) -> Path | None:
        """The file of a shard; None if it is no file of this machine."""
        folder = local_folder(self.root)
        return None if folder is None else folder / self.shards[shard].name


def _shard(told: Any, whose: str) -> Shard:
    name, digest = (field(told, key, str, whose) for key in ("name", "sha256"))
    size, rows = field(told, "bytes", int, whose), field(told, "samples", list, whose)
    if not _NAME.fullmatch(name):
        raise InputError(f"{whose}: named {name!r}, not like shard-000000.tar; check the index")
    if not _SHA256.fullmatch(digest):
        raise InputError(f"{whose}: {digest[:80]!r} is no SHA-256; check the index")
    entries = tuple(_entry(row, f"{whose}, sample {at}") for at, row in enumerate(rows))
    end = 0
    for entry in entries:
        if entry.offset != end:
            raise InputError(f"{whose}: {entry.key} does not lie behind the sample before it")
        end += entry.size
    if end > size:
        raise InputError(f"{whose}: its samples have {end} bytes but it has {size}")
    return Shard(name, size, digest, entries)


def _entry(row: Any, whose: str) -> Entry:
    key, numbers = (row[0], row[1:]) if isinstance(row, Sequence) and len(row) == 6 else (None, [])
    if (
        not isinstance(key, str)
        or not KEY.fullmatch(key)
        or not all(type(n) is int and 0 <= n < 2**53 for n in numbers)
    ):
        raise InputError(f"{whose}: {row!r:.80} is not a key and five whole numbers")
    entry = Entry(key, *numbers)
    if entry.offset % _BLOCK or entry.size % _BLOCK or not entry.size or entry.size > MOST_SAMPLE:
        raise InputError(
            f"{whose}: {entry.size} bytes at {entry.offset}; a sample has whole blocks of {_BLOCK} "
            f"and at most {MOST_SAMPLE}"
        )
    return entry
