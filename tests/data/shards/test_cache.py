"""Shards that came over a network, kept on disk."""

from __future__ import annotations

import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from packed import save

from vosfm.data.shards.cache import Cache
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.reading import read_one, stream
from vosfm.errors import InputError


@pytest.fixture
def remote(tmp_path: Path) -> ShardIndex:
    """Three shards behind a command that notes what it is asked for."""
    save(tmp_path / "shards", 6)
    log, folder = tmp_path / "asked", tmp_path / "shards"
    log.touch()
    return ShardIndex.read(f"pipe:echo {{}} >> {log}; sleep 0.1; cat {folder}/{{}}")


def asked(tmp_path: Path) -> list[str]:
    return [line for line in (tmp_path / "asked").read_text().split() if line != "index.json"]


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*.tar"))


def test_a_shard_is_fetched_once(remote: ShardIndex, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        found = [sample.members for sample in stream(remote, 1, cache=cache)]
        assert found == [
            sample.members for sample in stream(ShardIndex.read(tmp_path / "shards"), 1)
        ]
        assert read_one(remote, 1, 1, cache).members == found[1]
    assert asked(tmp_path) == ["shard-000001.tar"]
    assert kept(tmp_path / "cache") == [f"{remote.shards[1].sha256}.tar"]


def test_files_are_not_kept_twice(tmp_path: Path) -> None:
    index = save(tmp_path / "shards")
    read_one(index, 0, 0, Cache(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_what_was_used_longest_ago_goes(remote: ShardIndex, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", sum(shard.bytes for shard in remote.shards[:2]) + 10_000)
    for shard in (0, 1, 0, 2, 0, 1):
        read_one(remote, shard, 0, cache)
        time.sleep(0.02)
        assert sum(p.stat().st_size for p in (tmp_path / "cache").glob("*.tar")) < 90_000
    assert asked(tmp_path) == [f"shard-00000{shard}.tar" for shard in (0, 1, 2, 1)]
    tiny = Cache(tmp_path / "cache", 1)
    read_one(remote, 2, 0, tiny)
    assert kept(tmp_path / "cache") == [f"{remote.shards[2].sha256}.tar"]


def test_who_reads_a_shard_that_goes_reads_on(remote: ShardIndex, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 1)
    samples = stream(remote, 0, cache=cache)
    first = next(samples)
    read_one(remote, 1, 0, cache)
    assert kept(tmp_path / "cache") == [f"{remote.shards[1].sha256}.tar"]
    assert (first.key, next(samples).key) == ("clip0", "clip1")


@pytest.mark.parametrize("damage", ["another", "longer", "cut off"])
def test_what_is_not_the_shard_of_the_index_is_not_kept(
    damage: str, remote: ShardIndex, tmp_path: Path
) -> None:
    path = tmp_path / "shards/shard-000000.tar"
    data = path.read_bytes()
    changed = {"another": data[:-1] + b"x", "longer": data + b"\0" * 5000, "cut off": data[:-512]}
    path.write_bytes(changed[damage])
    cache = Cache(tmp_path / "cache")
    with pytest.raises(InputError, match=r"shard-000000.tar: not the shard of the index"):
        read_one(remote, 0, 0, cache)
    assert not kept(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.partial"))
    path.write_bytes(data)
    assert read_one(remote, 0, 0, cache).key == "clip0"


def test_what_a_killed_process_left_is_fetched_again(remote: ShardIndex, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{remote.shards[0].sha256}.partial").write_bytes(b"half")
    assert read_one(remote, 0, 0, Cache(tmp_path / "cache")).key == "clip0"


def fetch(index: ShardIndex, folder: Path) -> None:
    for shard in (0, 1, 2, 0, 1):
        assert len(list(stream(index, shard, cache=Cache(folder)))) == 2


def test_processes_share_a_cache(remote: ShardIndex, tmp_path: Path) -> None:
    context = get_context("fork")
    processes = [context.Process(target=fetch, args=(remote, tmp_path / "cache")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(asked(tmp_path)) == [f"shard-00000{shard}.tar" for shard in (0, 1, 2)]


def test_a_limit_of_nothing() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1 byte, not 0"):
        Cache("nowhere", 0)
