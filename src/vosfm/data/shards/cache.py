"""Shards that came over a network, kept in a folder of this machine.

webdataset's FileCache calls files by the end of their URL, so that two datasets collide, checks
what it downloaded after it has its name, and drops what was downloaded first, not what was used
least; so this is ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.sources import Source
from vosfm.errors import InputError

_CHUNK = 2**20


class Cache:
    """Whole shards, by their checksums.

    Several processes may share a folder: a shard is downloaded by one of them, while the others
    wait for it. It gets its name when its checksum is that of the index. Above the limit, those go
    that were opened longest ago; who reads one of them reads on.

    Args:
        folder: to keep them in; made if it is not there.
        limit: bytes of all of them; the newest is kept in any case.

    Raises:
        ValueError: if the limit is below 1.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = 2**36) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, not {limit}")
        self._folder = Path(folder).absolute()
        self._limit = limit

    def open(self, index: ShardIndex, shard: int) -> Source:
        """Open a shard, and download it before if it is not here.

        Args:
            index: of the shards.
            shard: which.

        Raises:
            InputError: if it cannot be downloaded, or is not what the index says.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{index.shards[shard].sha256}.tar"
        # While it is locked nobody removes it; what is open then may be removed.
        with _locked(path.with_suffix(".lock")):
            if path.exists():
                os.utime(path)
            else:
                _download(index, shard, path)
            source = Source(str(path), "shard")
        self._shrink(path)
        return source

    def _shrink(self, newest: Path) -> None:
        """Remove what was opened longest ago, until the rest is within the limit."""
        with _locked(self._folder / "cache.lock"):
            found = []
            for path in self._folder.glob("*.tar"):
                with suppress(FileNotFoundError):
                    told = path.stat()
                    found.append((told.st_mtime_ns, told.st_size, path))
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                if total <= self._limit:
                    return
                if path != newest:
                    with _locked(path.with_suffix(".lock")):
                        path.unlink(missing_ok=True)
                    total -= size


def _download(index: ShardIndex, shard: int, path: Path) -> None:
    told = index.shards[shard]
    partial = path.with_suffix(".partial")
    digest, count = hashlib.sha256(), 0
    try:
        with Source(index.url(shard), "shard") as source, partial.open("wb") as file:
            while count <= told.bytes and (chunk := source.read(_CHUNK)):
                file.write(chunk)
                digest.update(chunk)
                count += len(chunk)
        if count != told.bytes or digest.hexdigest() != told.sha256:
            raise InputError(
                f"{index.url(shard)}: not the shard of the index, which has {told.bytes} bytes and "
                f"SHA-256 {told.sha256}; upload it again"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Have a file for oneself, among the processes of this machine; a killed one lets go of it."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
