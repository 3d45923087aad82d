"""`vosfm convert` over small datasets: what it leaves on disk, however it is run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import layouts
import numpy as np
import pytest
import youtube
from truths import Box, MemoryTruth, boxes

from vosfm import convert as module
from vosfm.cli import main
from vosfm.convert import convert
from vosfm.data import Davis
from vosfm.data.datasets import Videos
from vosfm.data.formats.format import FORMATS, Format
from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.errors import InputError

A: Box = (0, 0, 10, 10)
B: Box = (20, 20, 5, 9)


def clips(root: Path, split: str | None, wanted: Sequence[str] | None) -> list[Truth]:
    """Three sequences; in the split "overlap" the objects of the last one overlap."""
    last = B if split != "overlap" else (5, 5, 9, 9)
    every: list[Truth] = [
        MemoryTruth(boxes([A, A, None], [B, B, B]), [1, 2], name="a"),
        MemoryTruth(boxes([A, None, A]), [7], name="b", frame_names=("8", "9", "10")),
        MemoryTruth(boxes([A, A], [B, last]), [1, 2], name="c"),
    ]
    return [truth for truth in every if wanted is None or truth.name in wanted]


def no_videos(root: Path, split: str | None) -> Videos:
    raise AssertionError("no pictures are asked for")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Format("clips", "Clips", "clips", None, no_videos, clips, lambda root: None)
    monkeypatch.setitem(FORMATS, "clips", entry)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """A root of YouTube-VOS with masks and pictures of all frames."""
    youtube.save_split(tmp_path / "youtube", "train")
    return tmp_path / "youtube"


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_masks_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["convert", "root", "--from", "clips", "--to", "davis", "--out", str(out)]) == 0
    assert sorted(tree(out)) == [
        *(f"Annotations/480p/a/0000{i}.png" for i in range(3)),
        *(f"Annotations/480p/b/0000{i}.png" for i in range(3)),
        *(f"Annotations/480p/c/0000{i}.png" for i in range(2)),
        "ImageSets/2017/val.txt",
        "conversion.json",
        "mapping.json",
    ]
    told = json.loads((out / "mapping.json").read_text())
    frames = {"8": "00000", "9": "00001", "10": "00002"}
    assert told == {"sequences": {"b": {"objects": {"7": 1}, "frames": frames}}}
    shown = capsys.readouterr().out
    assert "3 sequences, see" in shown
    assert "1 have other ids or frame names now" in shown


def test_nothing_is_renamed_without_need(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = convert("root", "clips", out, "davis", target_split="2016/train", sequences=["a", "c"])
    assert (done.sequences, done.resumed, done.renamed) == (("a", "c"), 0, 0)
    assert not (out / "mapping.json").exists()
    assert (out / "ImageSets/2016/train.txt").read_text() == "a\nc\n"


@pytest.mark.parametrize("layout", ["davis", "youtube_vos", "sav", "mug_vos"])
def test_an_interrupted_run_goes_on(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, resumed = tmp_path / "at once", tmp_path / "resumed"
    convert("root", "clips", at_once, layout)
    read = MemoryTruth.masks

    def interrupted(truth: MemoryTruth, place: int) -> Mask:
        if truth.name == "b" and place == 1:
            raise KeyboardInterrupt
        return read(truth, place)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryTruth, "masks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert("root", "clips", resumed, layout)
    there = {Path(name).name for name in tree(resumed)}
    assert "conversion.json" in there
    assert not {name for name in tree(resumed) if "partial" in name or "b" in Path(name).parts}
    done = convert("root", "clips", resumed, layout)
    assert done.resumed == 1
    assert tree(resumed) == tree(at_once)
    assert convert("root", "clips", resumed, layout).resumed == 3
    assert tree(resumed) == tree(at_once)


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    convert("root", "clips", tmp_path / "at once", "davis")
    killed = tmp_path / "killed" / "Annotations" / "480p" / ".a.partial"
    killed.mkdir(parents=True)
    (killed / "00007.png").write_bytes(b"half")
    record = (tmp_path / "at once" / "conversion.json").read_bytes()
    (tmp_path / "killed" / "conversion.json").write_bytes(record)
    convert("root", "clips", tmp_path / "killed", "davis")
    assert tree(tmp_path / "killed") == tree(tmp_path / "at once")


def test_processes_change_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        convert("root", "clips", tmp_path / str(workers), "sav", workers=workers)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_pictures_are_linked_or_copied(train: Path, tmp_path: Path) -> None:
    names = ["--from", "youtube_vos", "--split", "train", "--to", "sav"]
    for frames in ("link", "copy", "none"):
        out = ["--out", str(tmp_path / frames), "--frames", frames]
        assert main(["convert", str(train), *names, *out]) == 0
    picture = "JPEGImages_24fps/0a/00010.jpg"
    source = train / "train/JPEGImages/0a/00010.jpg"
    link, copy = (tmp_path / frames / "sav_val" / picture for frames in ("link", "copy"))
    assert os.path.samefile(link, source)
    assert not os.path.samefile(copy, source)
    assert copy.read_bytes() == source.read_bytes()
    assert not list((tmp_path / "none").rglob("*.jpg"))
    with_pictures, copied = tree(tmp_path / "link"), tree(tmp_path / "copy")
    assert with_pictures.keys() == copied.keys()
    assert {name.rpartition(".")[2] for name in with_pictures} == {"jpg", "png", "txt", "json"}


def test_there_and_back(train: Path, tmp_path: Path) -> None:
    """YouTube-VOS as SA-V and back again is what it was, but for its categories."""
    there, back = tmp_path / "sav", tmp_path / "back"
    lost = convert(train, "youtube_vos", there, "sav", split="train", frames="link")
    assert [line for line in lost.warnings if "training has not shown" in line]
    convert(there, "sav", back, "youtube_vos", target_split="train", frames="link")
    before, after = (FORMATS["youtube_vos"].truths(root, "train", None) for root in (train, back))
    for truth, again in zip(before, after, strict=True):
        assert again.object_ids == truth.object_ids
        for object_id, start in truth.starts.items():
            assert again.frame_names[again.starts[object_id]] == truth.frame_names[start]
        spoken = {name: place for place, name in enumerate(again.frame_names)}
        for place, name in enumerate(truth.frame_names):
            if truth.ids(place):
                np.testing.assert_array_equal(again.masks(spoken[name]), truth.masks(place))
            else:
                assert name not in spoken
    videos = FORMATS["youtube_vos"].videos(back, "train")
    assert [len(video) for video in videos] == [5, 5]


def test_real_davis_as_tracks_and_back(shared: Path, tmp_path: Path) -> None:
    root, names = shared / "data/davis", ["bmx-trees"]
    convert(root, "davis", tmp_path / "mug", "mug_vos", "2017/val", sequences=names, frames="copy")
    done = convert(tmp_path / "mug", "mug_vos", tmp_path / "davis", "davis", frames="link")
    assert done.renamed == 0
    ours = tmp_path / "davis"
    (before,), (after,) = (FORMATS["davis"].truths(r, "2017/val", names) for r in (root, ours))
    assert after.frame_names == before.frame_names
    for place in range(0, len(before.frame_names), 8):
        np.testing.assert_array_equal(after.masks(place), before.masks(place))
    (video,) = Davis(ours)
    assert len(video) == 80


def test_ranges_of_lvos(tmp_path: Path) -> None:
    """A folder for each object tells the frames that are spoken of; meta.json does not."""
    layouts.save_lvos(tmp_path / "lvos")
    before = {one.name: one for one in FORMATS["lvos"].truths(tmp_path / "lvos", None, None)}
    kept = convert(tmp_path / "lvos", "lvos", tmp_path / "sav", "sav", frames="link")
    assert not [line for line in kept.warnings if "annotation speaks of" in line]
    assert [line for line in kept.warnings if "in words (the first is seen1)" in line]
    for truth in FORMATS["sav"].truths(tmp_path / "sav", "val", None):
        assert truth.ranges == before[truth.name].ranges
        for place in range(len(truth.frame_names)):
            np.testing.assert_array_equal(truth.masks(place), before[truth.name].masks(place))
    lost = convert(tmp_path / "lvos", "lvos", tmp_path / "youtube", "youtube_vos", frames="copy")
    (line,) = [line for line in lost.warnings if "annotation speaks of" in line]
    assert line.startswith("1 of 2 sequences lose")
    short = ["--from", "lvos", "--to", "mug_vos", "--out", str(tmp_path / "mug")]
    assert main(["convert", str(tmp_path / "lvos"), *short, "--frames", "link"]) == 0
    told = json.loads((tmp_path / "mug/mapping.json").read_text())["sequences"]["seen1"]
    assert told["frames"]["00000006"] == "00006"
    assert (tmp_path / "mug/JPEGImages/480p/seen1/00006.jpg").is_file()


@pytest.mark.parametrize(
    ("save", "source", "target", "refusal"),
    [
        (layouts.save_mose, "mose", "youtube_vos", ""),
        (layouts.save_mose, "mose", "davis", "object 4 starts in frame 00002"),
        (layouts.save_sav, "sav", "mug_vos", ""),
        (layouts.save_sav, "sav", "davis", "sav_000001, frame 00000: objects 1 and 2 overlap"),
        (layouts.save_long_videos, "long_videos", "davis", ""),
        (layouts.save_long_videos, "long_videos", "youtube_vos", "object 2 is given here but"),
        (layouts.save_pumavos, "pumavos", "sav", ""),
        (layouts.save_davis, "davis", "mug_vos", ""),
    ],
)
def test_benchmarks_of_all_kinds(
    save: Callable[[Path], Path], source: str, target: str, refusal: str, tmp_path: Path
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    save(root)
    split = "train" if source == "mose" else None
    if refusal:
        with pytest.raises(InputError, match=refusal):
            convert(root, source, out, target, split=split, frames="link")
        return
    convert(root, source, out, target, split=split, frames="link")
    before = FORMATS[source].truths(root, split, None)
    after = {truth.name: truth for truth in FORMATS[target].truths(out, None, None)}
    for truth in before:
        for place in range(len(truth.frame_names)):
            np.testing.assert_array_equal(after[truth.name].masks(place), truth.masks(place))
    videos = FORMATS[target].videos(out, None)
    assert {video.name for video in videos} == set(after)
    for video in videos:
        for given in video.prompts().values():
            assert all(mask.any() for mask in given.values())


def test_a_refused_sequence_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="c, frame 00001: objects 1 and 2 overlap"):
        convert("root", "clips", tmp_path / "out", "davis", split="overlap")
    assert not [name for name in tree(tmp_path / "out") if "/c/" in name or "partial" in name]
    assert not (tmp_path / "out" / "ImageSets").exists()


def test_a_refusal_that_needs_no_mask_comes_before_all_work(tmp_path: Path, train: Path) -> None:
    with pytest.raises(InputError, match=r"object 3 starts in frame 00010, .* youtube_vos"):
        convert(train, "youtube_vos", tmp_path / "out", "davis", split="train")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train: (train, train / "new"), "lies in the dataset that is read"),
        (lambda train: (train, train), "lies in the dataset that is read"),
        (lambda train: (train, train.parent), "holds what no conversion wrote"),
        (lambda train: (train, train / "train/meta.json"), "lies in the dataset that is read"),
    ],
)
def test_the_source_is_safe(
    change: Callable[[Path], tuple[Path, Path]], message: str, train: Path
) -> None:
    before = tree(train)
    source, out = change(train)
    with pytest.raises(InputError, match=message):
        convert(source, "youtube_vos", out, "sav", split="train")
    assert tree(train) == before


def test_a_folder_of_another_conversion(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert("root", "clips", out, "sav", sequences=["a"])
    with pytest.raises(InputError, match=r"another conversion .its sequences is not that of"):
        convert("root", "clips", out, "sav")
    with pytest.raises(InputError, match=r"another conversion .its to is not that of this one"):
        convert("root", "clips", out, "mug_vos", sequences=["a"])
    (out / "conversion.json").write_text("[]")
    with pytest.raises(InputError, match="another conversion"):
        convert("root", "clips", out, "sav", sequences=["a"])


def test_links_that_cannot_be_made(
    train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(module.os, "link", refuse)
    with pytest.raises(InputError, match=r"0000.\.jpg: no link .*cross-device.*--frames copy"):
        convert(train, "youtube_vos", tmp_path / "out", "sav", split="train", frames="link")
    assert not [name for name in tree(tmp_path / "out") if "JPEG" in name or "Annot" in name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "clips", "--to", "lvos"], "format lvos: cannot be written; choose one of"),
        (["--from", "nothing", "--to", "sav"], "format nothing: unknown; choose one of"),
        (["--from", "clips", "--to", "sav", "--workers", "0"], "workers is 0"),
        (["--from", "clips", "--to", "davis", "--as", "val"], "split val: DAVIS calls them"),
        (["--from", "clips", "--to", "sav", "--sequences", "nowhere"], "nowhere: no readable"),
    ],
)
def test_errors(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "root", *options, "--out", str(tmp_path / "out")]) == 2
    assert message in error(capsys)
    assert not (tmp_path / "out").exists()
