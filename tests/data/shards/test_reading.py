"""Samples read from shards: in order, one by one, from anywhere, and from evil ones."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import webdataset
from packed import Change, renamed, rewrite, save

from vosfm.data.shards.index import MOST_SAMPLE, ShardIndex
from vosfm.data.shards.reading import Packed, SampleError, Stream, read_one, stream
from vosfm.data.shards.sample import PackedVideo
from vosfm.errors import InputError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "shards"
    index = save(folder)
    assert [len(shard.samples) for shard in index.shards] == [2, 2]
    return folder


@pytest.fixture
def shards(original: Path, tmp_path: Path) -> Path:
    """Two samples in each of two shards."""
    return Path(shutil.copytree(original, tmp_path / "shards"))


def read_on(samples: Stream) -> list[Packed | SampleError]:
    """All samples; of a broken one what is wrong."""
    found: list[Packed | SampleError] = []
    while True:
        try:
            found.append(next(samples))
        except SampleError as error:
            found.append(error)
        except StopIteration:
            return found


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *arguments: Any) -> None:
        self.asked.append(self.path)


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    Quiet.asked = []
    handler = partial(Quiet, directory=str(shards))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("kind", ["folder", "file", "pipe", "http"])
def test_whatever_the_root_the_samples_are_the_same(
    kind: str, shards: Path, request: pytest.FixtureRequest
) -> None:
    root = {
        "folder": lambda: str(shards),
        "file": lambda: f"file://{shards}",
        "pipe": lambda: f"pipe:cat {shards}/{{}}",
        "http": lambda: request.getfixturevalue("server"),
    }[kind]()
    plain, index = ShardIndex.read(shards), ShardIndex.read(root)
    assert index.shards == plain.shards
    assert index.sources == {"clip0", "clip1", "clip2", "clip3"}
    for shard in (0, 1):
        found = list(stream(index, shard))
        assert [sample.key for sample in found] == [f"clip{2 * shard}", f"clip{2 * shard + 1}"]
        assert [(sample.shard, sample.place) for sample in found] == [(shard, 0), (shard, 1)]
        for place, sample in enumerate(found):
            expected = read_one(plain, shard, place).members
            assert sample.members == expected
            assert read_one(index, shard, place).members == expected
        assert [sample.key for sample in stream(index, shard, 1)] == [found[1].key]
        assert list(stream(index, shard, 2)) == []


def test_webdataset_reads_the_same_samples(shards: Path) -> None:
    urls = [str(shards / f"shard-00000{number}.tar") for number in (0, 1)]
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False))
    ours = [sample for shard in (0, 1) for sample in stream(ShardIndex.read(shards), shard)]
    assert [sample["__key__"] for sample in theirs] == [sample.key for sample in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert {k: v for k, v in their.items() if k[0] != "_"} == dict(our.members)


def test_of_a_file_only_one_sample_is_read(shards: Path) -> None:
    index = ShardIndex.read(shards)
    path = shards / "shard-000000.tar"
    data = path.read_bytes()
    first = index.shards[0].samples[0]
    path.write_bytes(bytes(first.size) + data[first.size :])
    assert read_one(index, 0, 1).key == "clip1"


@pytest.mark.parametrize("root", ["{}", "pipe:cat {}/{{}}"])
def test_a_damaged_header_costs_one_sample(root: str, shards: Path) -> None:
    index = ShardIndex.read(root.format(shards))
    path = shards / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    broken, whole = read_on(stream(index, 0))
    assert isinstance(broken, SampleError)
    assert (broken.shard, broken.place) == (0, 0)
    assert "shard-000000.tar: clip0: a damaged header" in str(broken)
    assert isinstance(whole, Packed)
    PackedVideo(whole)


@pytest.mark.parametrize("root", ["{}", "pipe:cat {}/{{}}"])
def test_a_shard_that_is_cut_off_costs_what_is_lost(root: str, shards: Path) -> None:
    index = ShardIndex.read(root.format(shards))
    path = shards / "shard-000000.tar"
    path.write_bytes(path.read_bytes()[: index.shards[0].samples[1].offset + 700])
    whole, broken = read_on(stream(index, 0))
    assert isinstance(whole, Packed)
    assert isinstance(broken, SampleError)
    assert "clip1: cut off, 700 of" in str(broken)
    path.write_bytes(b"")
    assert [type(one) for one in read_on(stream(index, 0))] == [SampleError, SampleError]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("{}", "shard-000001.tar: no such shard"),
        ("pipe:cat {}/{{}} 2>/dev/null", "cannot be read .*exit 1"),
    ],
)
def test_a_shard_that_cannot_be_had_is_an_error_of_its_own(
    root: str, message: str, shards: Path
) -> None:
    index = ShardIndex.read(root.format(shards))
    (shards / "shard-000001.tar").unlink()
    samples = stream(index, 1)
    with pytest.raises(InputError, match=message) as caught:
        next(samples)
    assert not isinstance(caught.value, SampleError)
    assert list(samples) == []


def test_a_page_that_is_not_there(server: str) -> None:
    with pytest.raises(InputError, match=r"nothing/index.json: cannot be read .*exit 22"):
        ShardIndex.read(f"{server}/nothing")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("nowhere", "nowhere: no such folder of shards"),
        (".", "index.json: no such index of shards"),
        ("pipe:cat index.json", "a command needs {} for the name"),
        ("gopher://host/corpus", "cannot be opened .*no gopen handler"),
    ],
)
def test_roots_that_cannot_be_read(
    root: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        ShardIndex.read(root)


def test_object_stores_are_asked_through_their_programs(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "aws"
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1 $2 $3 $5" = "s3 cp --only-show-errors -" ] && cat "{shards}/${{4##*/}}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_one(ShardIndex.read("s3://bucket/corpus"), 1, 0).key == "clip2"
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"index.json: no program aws"):
        ShardIndex.read("s3://bucket/corpus")


def evil(**fields: object) -> Change:
    """Put an evil member before the first picture of the first sample, or make that one evil."""

    def change(member: tarfile.TarInfo, data: bytes) -> Sequence[tuple[tarfile.TarInfo, bytes]]:
        if member.name != "clip0.00000.jpg":
            return [(member, data)]
        if "type" in fields:
            return [(renamed(member, **fields), data)]
        return [(renamed(member, size=4, **fields), b"evil"), (member, data)]

    return change


EVIL = {
    "/tmp/evil.jpg": {"name": "/tmp/evil.jpg"},
    "../evil.jpg": {"name": "../evil.jpg"},
    "../clip0.json": {"name": "../clip0.json"},
    "clip0/../../x": {"name": "clip0/../../x"},
    "clip0.pkl": {"name": "clip0.pkl"},
    "clip0.00000.pyd": {"name": "clip0.00000.pyd"},
    "clip0.00000.pth": {"name": "clip0.00000.pth"},
    "clip0.00000.cbor": {"name": "clip0.00000.cbor"},
    "clip0.00000.jpg.gz": {"name": "clip0.00000.jpg.gz"},
    "clip1.00000.jpg": {"name": "clip1.00000.jpg"},
    "clip0.00001.jpg": {"name": "clip0.00001.jpg"},
    "symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"},
    "device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 8},
    "block device": {"type": tarfile.BLKTYPE},
    "fifo": {"type": tarfile.FIFOTYPE},
    "folder": {"type": tarfile.DIRTYPE},
    "sparse": {"type": tarfile.GNUTYPE_SPARSE},
    "contiguous": {"type": tarfile.CONTTYPE},
    "long name": {"type": tarfile.GNUTYPE_LONGNAME},
    "pax": {"type": tarfile.XHDTYPE},
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("root", ["{}", "pipe:cat {}/{{}}"])
def test_evil_members_cost_their_sample_alone(root: str, kind: str, shards: Path) -> None:
    rewrite(shards, evil(**EVIL[kind]))
    there = sorted(shards.parent.rglob("*"))
    broken, whole = read_on(stream(ShardIndex.read(root.format(shards)), 0))
    assert isinstance(broken, SampleError)
    assert broken.place == 0
    assert ("there twice" if kind == "clip0.00001.jpg" else "refused") in str(broken)
    assert isinstance(whole, Packed)
    assert sorted(shards.parent.rglob("*")) == there


@pytest.mark.parametrize("size", [10**6, 2**33, 2**62])
def test_members_that_declare_more_than_there_is(size: int, shards: Path) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(renamed(member, size=size) if member.name == "clip0.json" else member, data)]

    index = rewrite(shards, change)
    broken, whole = read_on(stream(index, 0))
    assert isinstance(broken, SampleError)
    assert f"clip0.json: declares {size} bytes where" in str(broken)
    assert isinstance(whole, Packed)


def told(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        change(index)
        (folder / "index.json").write_text(json.dumps(index))

    return apply


def name(value: Any) -> Callable[[Path], None]:
    return told(lambda index: index["shards"][0].update(name=value))


def row(**fields: Any) -> Callable[[Path], None]:
    places = {"key": 0, "offset": 1, "size": 2, "frames": 3}

    def change(index: dict[str, Any]) -> None:
        for field, value in fields.items():
            index["shards"][0]["samples"][1][places[field]] = value

    return told(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (name("../x.tar"), "named '../x.tar'"),
        (name("/etc/passwd"), "named '/etc/passwd'"),
        (name("pipe:touch x"), "named 'pipe:touch x'"),
        (name("a;touch x.tar"), "named 'a;touch x.tar'"),
        (name("$(touch x).tar"), "named"),
        (name("x.tar\n"), "named"),
        (name("-rf.tar"), "named"),
        (name("http://host/x.tar"), "named"),
        (name(""), "named ''"),
        (name(None), '"name" is missing'),
        (name("shard-000001.tar"), "two shards shard-000001.tar"),
        (row(key="clip0"), "two samples clip0"),
        (row(key="../evil"), "is not a key and five whole numbers"),
        (row(key="a.b"), "is not a key"),
        (row(offset=0), "does not lie behind"),
        (row(offset=-512), "is not a key"),
        (row(size=2**40), f"at most {MOST_SAMPLE}"),
        (row(size=2**29), "its samples have"),
        (row(size=700), "whole blocks of 512"),
        (row(size=0), "whole blocks of 512"),
        (row(frames=True), "is not a key"),
        (row(frames=1.5), "is not a key"),
        (told(lambda index: index["shards"][0].update(sha256="../../x")), "is no SHA-256"),
        (told(lambda index: index["shards"][0].update(samples=[1])), "is not a key"),
        (told(lambda index: index["shards"][0].update(bytes="many")), '"bytes" is'),
        (told(lambda index: index.update(shards={})), '"shards" is'),
        (told(lambda index: index.update(version=2)), "of version 1"),
        (told(lambda index: index.update(videos=[1])), '"videos" are not names'),
        (lambda folder: (folder / "index.json").write_bytes(b"\x80\x04."), "damaged JSON"),
        (lambda folder: (folder / "index.json").write_text("[" * 10**5), "damaged JSON"),
    ],
)
@pytest.mark.parametrize("root", ["{}", "pipe:cat {}/{{}}"])
def test_evil_indexes(
    root: str,
    change: Callable[[Path], None],
    message: str,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    change(shards)
    with pytest.raises(InputError, match=message) as caught:
        ShardIndex.read(root.format(shards))
    assert "index.json" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]
