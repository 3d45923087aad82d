"""`vosfm pack`: what it leaves on disk, however it is run, and that all of a dataset is in it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import layouts
import numpy as np
import pytest
import youtube
from packed import NotedVideo, save, videos

from vosfm.cli import main
from vosfm.data.formats.format import FORMATS
from vosfm.data.memory import ArrayVideo
from vosfm.data.procedural import ProceduralVideos
from vosfm.data.shards.cutting import Cut
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.reading import stream
from vosfm.data.shards.sample import PackedVideo
from vosfm.data.truth import Truth
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.pack import check, pack

TOLD = (
    *("frame_names", "numbers", "length", "object_ids", "starts", "ranges", "overlapping"),
    *("attributes", "captions", "unseen"),
)
"""What a truth tells beside its masks."""


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def clips(index: ShardIndex) -> list[PackedVideo]:
    return [
        PackedVideo(sample) for shard in range(len(index.shards)) for sample in stream(index, shard)
    ]


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


SAVERS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "davis": (layouts.save_davis, "2017/val"),
    "mose": (layouts.save_mose, "train"),
    "lvos": (layouts.save_lvos, None),
    "sav": (layouts.save_sav, None),
    "long_videos": (layouts.save_long_videos, None),
    "pumavos": (layouts.save_pumavos, None),
    "youtube_vos": (lambda root: youtube.save_split(root, "train"), "train"),
}


@pytest.mark.parametrize("layout", SAVERS)
def test_nothing_true_of_a_dataset_is_lost(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packed whole, a dataset has the same truths, prompts and statistics."""
    save_dataset, split = SAVERS[layout]
    root, out = tmp_path / "root", tmp_path / "out"
    save_dataset(root)
    chosen = [] if split is None else ["--split", split]
    line = ["--format", layout, *chosen, "--out", str(out), "--pictures", "all"]
    assert main(["pack", str(root), *line]) == 0
    assert not [w for w in capsys.readouterr().err.splitlines() if "lose" in w]
    before = FORMATS[layout].truths(root, split, None)
    after = {truth.name: truth for truth in FORMATS["shards"].truths(out, None, None)}
    assert len(after) == len(before)
    for truth in before:
        same_truth(truth, after[truth.name])
    found = {video.name: video for video in FORMATS["shards"].videos(out, None)}
    for video in FORMATS[layout].videos(root, split):
        same_prompts(video, found[video.name])
        assert found[video.name].frame_names == video.frame_names
        files = video.files
        assert files is not None
        for index, picture in enumerate(files):
            if picture.suffix == ".jpg":
                name = f"{index:05d}.jpg"
                assert dict(found[video.name]._packed.members)[name] == picture.read_bytes()
    for source, where, more in ((root, "before", chosen), (out, "after", [])):
        name = layout if where == "before" else "shards"
        told = ["--format", name, *more, "--out", str(tmp_path / where)]
        assert main(["stats", str(source), *told]) == 0
    assert tree(tmp_path / "after") == tree(tmp_path / "before")


def same_truth(truth: Truth, again: Truth) -> None:
    for name in TOLD:
        assert getattr(again, name) == getattr(truth, name), (truth.name, name)
    for place in range(len(truth.frame_names)):
        assert again.ids(place) == truth.ids(place)
        np.testing.assert_array_equal(again.masks(place), truth.masks(place))
        void, kept = truth.void(place), again.void(place)
        assert (void is None) == (kept is None)
        if void is not None:
            np.testing.assert_array_equal(kept, void)


def same_prompts(video: Video, again: Video) -> None:
    before, after = video.prompts(), again.prompts()
    assert {i: given.keys() for i, given in after.items()} == {
        i: given.keys() for i, given in before.items()
    }
    for index, given in before.items():
        for object_id, mask in given.items():
            np.testing.assert_array_equal(after[index][object_id], mask)


def test_videos_of_no_benchmark(tmp_path: Path) -> None:
    parts = ProceduralVideos(range(2), length=5, size=(32, 48), objects=2, parts=1)
    packing = pack(parts, tmp_path / "out", Cut(length=2))
    found = clips(packing.index)
    assert [clip.name for clip in found][:2] == ["procedural-0-00000", "procedural-0-00002"]
    assert [len(clip) for clip in found] == [2, 2, 1] * 2
    assert all(clip.truth.overlapping for clip in found[:2]), "parts lie on their wholes"
    for video in parts:
        rest = [clip for clip in found if clip.source == video.name]
        masks = [clip.annotation(i) for clip in rest for i in range(len(clip))]
        for index, kept in enumerate(masks):
            note = video.annotation(index)
            assert note is not None
            assert kept is not None
            seen = [mask.any() for mask in note.masks]
            assert kept.object_ids == tuple(np.asarray(note.object_ids)[seen])
            np.testing.assert_array_equal(kept.masks, note.masks[seen])
    row = packing.summary()
    assert (row["samples"], row["videos"], row["frames"]) == (6, 2, 10)
    assert row["masks"] == sum(len(clip.areas(i)) for clip in found for i in range(len(clip)))
    assert row["tracks"] == sum(
        len({o for i in range(len(clip)) for o in clip.areas(i)}) for clip in found
    )
    assert row["bytes"] == sum(file.stat().st_size for file in (tmp_path / "out").glob("*.tar"))
    assert row["mask_bytes"] == row["bytes_per_mask"] * row["masks"] > 0


@pytest.mark.slow
def test_a_model_is_tested_on_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its scores are those on the folders that were packed."""
    folder, shards = tmp_path / "davis", tmp_path / "shards"
    layouts.save_davis(folder)
    line = ["--format", "davis", "--split", "2017/val", "--out", str(shards)]
    assert main(["pack", str(folder), *line]) == 0
    capsys.readouterr()
    tables = []
    for name, root in (("Davis", folder), ("ShardVideos", shards)):
        given = [
            "test",
            *("--config", "model/aot_nano"),
            "--data=vosfm.data.VideoDataModule",
            f"--data.init_args.test=vosfm.data.{name}",
            f"--data.init_args.test.init_args.root={root}",
            "--model.protocol=davis2017",
            "--trainer.logger=false",
            "--trainer.enable_progress_bar=false",
            "--trainer.accelerator=cpu",
        ]
        assert main(given) == 0
        shown = capsys.readouterr().out.splitlines()
        tables.append([row for row in shown if re.search(r"test/.*[JF]\b", row)])
    assert tables[0]
    assert tables[0] == tables[1]


def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        pack(videos(5), tmp_path / str(workers), Cut(length=3), 40_000, workers)
    one = tree(tmp_path / "1")
    assert tree(tmp_path / "2") == one
    assert len(one) > 4


def test_a_shard_holds_what_fits(tmp_path: Path) -> None:
    whole = save(tmp_path / "one", 5, 10**9)
    (shard,) = whole.shards
    assert shard.bytes == sum(entry.size for entry in shard.samples) + 1024
    limit = shard.samples[0].size + shard.samples[1].size + 1024
    two = save(tmp_path / "two", 5, limit)
    assert [len(one.samples) for one in two.shards] == [2, 2, 1]
    assert all(one.bytes <= limit for one in two.shards[:1])
    assert [len(one.samples) for one in save(tmp_path / "less", 5, limit - 1).shards] == [1] * 5
    assert [len(one.samples) for one in save(tmp_path / "tiny", 5, 1).shards] == [1] * 5


class Interrupted(NotedVideo):
    """Breaks off when its third frame is packed."""

    def annotation(self, index: int):  # type: ignore[no-untyped-def]
        if index == 2:
            raise KeyboardInterrupt
        return super().annotation(index)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("length", [None, 1])
def test_an_interrupted_run_goes_on(place: int, length: int | None, tmp_path: Path) -> None:
    how, size = Cut(length=length), 40_000 if length is None else 25_000
    pack(videos(), tmp_path / "at once", how, size)
    broken = videos()
    broken[place] = Interrupted(f"clip{place}", 4, place)
    out = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        pack(broken, out, how, size)
    assert not (out / "index.json").exists()
    assert not list(out.glob(".*"))
    there = len(list(out.glob("*.tar")))
    done = pack(videos(), out, how, size)
    assert done.resumed == there
    assert tree(out) == tree(tmp_path / "at once")
    again = pack(videos(), out, how, size)
    assert again.resumed == len(done.index.shards)
    assert again.index == done.index


def test_a_video_goes_on_in_the_next_shard(tmp_path: Path) -> None:
    """A run that ended between the shards of one video takes up its later clips alone."""
    long = [NotedVideo("long", 12), NotedVideo("next", 2)]
    index = pack(long, tmp_path / "at once", Cut(length=1), 12_000).index
    assert len(index.shards) > 4
    for number in range(len(index.shards)):
        out = tmp_path / str(number)
        out.mkdir()
        for name, data in tree(tmp_path / "at once").items():
            if name == "packing.json" or "index.json" < name < f"shard-{number:06d}.tar":
                (out / name).write_bytes(data)
        assert pack(long, out, Cut(length=1), 12_000).resumed == number
        assert tree(out) == tree(tmp_path / "at once")


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    save(tmp_path / "at once")
    out = tmp_path / "killed"
    out.mkdir()
    (out / ".shard-000000.tar.123.partial").write_bytes(b"half")
    (out / "packing.json").write_bytes((tmp_path / "at once/packing.json").read_bytes())
    save(out)
    assert tree(out) == tree(tmp_path / "at once")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save(out)
    before = tree(out)
    with pytest.raises(InputError, match=r"another packing .its length is not that of this one"):
        save(out, length=2)
    with pytest.raises(InputError, match=r"another packing .its videos is not"):
        save(out, 3)
    with pytest.raises(InputError, match=r"another packing .its shard_size is not"):
        save(out, 4, 50_000)
    assert tree(out) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine")
    with pytest.raises(InputError, match="holds what no packing wrote"):
        save(tmp_path / "other")
    (out / "shard-000001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000001.tar: missing or cut off; remove"):
        save(out)
    (out / "index.json").unlink()
    save(out)
    assert tree(out) == before


def test_a_shard_of_an_earlier_run_that_is_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save(out)
    (out / "index.json").unlink()
    path = out / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"shard-000001.tar"):
        save(out)


def test_checksums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    index = save(out)
    assert main(["pack", "--check", str(out)]) == 0
    assert "2 shards, 4 samples, 4 videos, 16 frames" in capsys.readouterr().out
    assert check(f"pipe:cat {out}/{{}}").shards == index.shards
    path = out / "shard-000001.tar"
    data = path.read_bytes()
    for changed, message in (
        (data[:-1], f"has {len(data) - 1} bytes, not {len(data)}"),
        (data[:-1] + b"x", "its content has changed"),
        (None, "no such shard"),
    ):
        path.unlink() if changed is None else path.write_bytes(changed)
        assert main(["pack", "--check", str(out)]) == 2
        told = error(capsys)
        assert "1 of 2 shards are broken, the first: " in told
        assert f"shard-000001.tar: {message}" in told


def test_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.save_sav(tmp_path / "sav")
    line = ["pack", str(tmp_path / "sav"), "--format", "sav", "--out", str(tmp_path / "out")]
    assert main(line) == 0
    shown = capsys.readouterr()
    assert "2 of 2 videos lose 24 pictures without masks (the first is sav_000001)" in shown.err
    assert "1 shards, 2 samples, 2 videos, 10 frames, 3 tracks" in shown.out


def test_some_videos_of_a_dataset(tmp_path: Path) -> None:
    layouts.save_sav(tmp_path / "sav")
    (tmp_path / "names").write_text("sav_000002\n")
    line = ["pack", str(tmp_path / "sav"), "--format", "sav", "--out", str(tmp_path / "out")]
    assert main([*line, "--sequences", str(tmp_path / "names")]) == 0
    index = ShardIndex.read(tmp_path / "out")
    assert index.sources == {"sav_000002"}
    assert index.source == "sav"


def test_the_index_tells_nothing_of_where_it_was_made(tmp_path: Path) -> None:
    save(tmp_path / "out")
    assert str(tmp_path) not in (tmp_path / "out/index.json").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "ROOT is missing"),
        (["root"], "--format is missing"),
        (["root", "--format", "sav"], "--out is missing"),
        (["root", "--format", "nothing", "--out", "o"], "format nothing: unknown; choose one of"),
        (["root", "--format", "sav", "--out", "root/o"], "root/o: lies in the dataset"),
        (["root", "--format", "sav", "--out", "o", "--workers", "0"], "workers is 0"),
        (["root", "--format", "sav", "--out", "o", "--length", "0"], "length is 0"),
        (["root", "--format", "sav", "--out", "o", "--shard-size", "0"], "shard size is 0"),
        (["nowhere", "--format", "sav", "--out", "o"], "nowhere: no such folder"),
        (["--check", "nowhere"], "nowhere: no such folder of shards"),
    ],
)
def test_errors(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    layouts.save_sav(tmp_path / "root")
    assert main(["pack", *options]) == 2
    assert message in error(capsys)
    assert not (tmp_path / "o").exists()


def test_videos_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two videos same"):
        pack([NotedVideo("same"), NotedVideo("same")], tmp_path / "out")
    # The second part of one video would be called as the other.
    with pytest.raises(InputError, match="a-00001: a second sample would be called so"):
        pack([NotedVideo("a", 2), NotedVideo("a-00001", 1)], tmp_path / "parts", Cut(length=1))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_is_the_same_for_any_workers(workers: int, tmp_path: Path) -> None:
    empty = ArrayVideo(np.zeros((1, 8, 8, 3), np.uint8), name="empty")
    broken = ArrayVideo(np.zeros((1, 8, 8, 3), np.uint8), name="broken")
    with pytest.raises(InputError, match="empty: no frame of this video has a mask"):
        pack([NotedVideo(), empty, broken], tmp_path / "out", workers=workers)


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        ("", [], "has no file index.json; expected index.json and shard-000000.tar"),
        ("", ["--split", "train"], "shards: no split train"),
        ("shards", ["--sequences", "names"], "no sample of sequence nothing"),
    ],
)
def test_folders_that_are_read_wrongly(
    root: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "shards")
    (tmp_path / "names").write_text("nothing\n")
    assert main(["stats", str(tmp_path / root), "--format", "shards", *options]) == 2
    assert message in error(capsys)


def test_shards_read_as_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "shards")
    assert main(["stats", str(tmp_path / "shards"), "--format", "sav"]) == 2
    assert "it looks like Shards (a folder of shards; read it as shards)" in error(capsys)


def packing(out: Path, workers: int) -> None:
    pack(videos(12, 6), out, Cut(length=2), 60_000, workers)


@pytest.mark.parametrize(
    ("workers", "kills"),
    [
        (1, 4),
        pytest.param(2, 4, marks=pytest.mark.slow),
    ],
)
def test_kills_at_random_moments(workers: int, kills: int, tmp_path: Path) -> None:
    """Whatever is there after a kill, the next run makes of it what an unbroken one leaves."""
    begin = time.monotonic()
    packing(tmp_path / "at once", 1)
    lasts = time.monotonic() - begin
    whole = tree(tmp_path / "at once")
    shards = len(whole) - 2
    assert shards > 3
    # A process that is forked begins at once, but cannot have workers of its own.
    context = get_context("fork" if workers == 1 else "spawn")
    rng, left = random.Random(kills), kills
    found = set()
    for attempt in count():
        out = tmp_path / str(attempt)
        while True:
            process = context.Process(target=packing, args=(out, workers))
            process.start()
            there = rng.randrange(shards) if left else shards + 1
            while process.is_alive() and len(list(out.glob("*.tar"))) < there:
                time.sleep(lasts / 1000)
            process.join(rng.uniform(0, 2 * lasts / shards) if left else None)
            if not process.is_alive():
                break
            process.kill()
            process.join()
            left -= 1
            found.add(len(list(out.glob("*.tar"))))
        assert process.exitcode == 0
        assert tree(out) == whole
        if not left:
            break
    assert len(found) > 1, "every kill came at the same moment"
