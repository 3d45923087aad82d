"""LVOS, MOSE, SA-V, Long Videos and PUMaVOS as videos: who is given when, what is reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from layouts import (
    LONG_NAMES,
    LVOS_NAMES,
    MOSE_TRUTH,
    OVER,
    SAV_NAMES,
    A,
    B,
    save_davis,
    save_long_videos,
    save_lvos,
    save_mose,
    save_pumavos,
    save_sav,
    square,
)

from vosfm.data import LVOS, MOSE, SAV, Davis, LongVideos, PUMaVOS, Video, Videos, YouTubeVOS
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.formats.lvos import lvos_truths
from vosfm.errors import InputError


def starts(video: Video) -> dict[int, list[int]]:
    return {frame: list(given) for frame, given in video.prompts().items()}


def test_lvos(tmp_path: Path) -> None:
    save_lvos(tmp_path)
    seen, new = videos = LVOS(tmp_path)
    assert videos.names == ("seen1", "new1")
    assert len(seen) == 7
    assert seen.size == (64, 96)
    assert sum(1 for _ in seen.frames(2)) == 5
    assert starts(seen) == {0: [1], 2: [2]}
    assert np.array_equal(seen.prompts()[2][2], square(B))
    assert seen.annotated() == seen.reported() == tuple(range(7))
    note = seen.annotation(3)
    assert note is not None
    assert note.object_ids == (2,)
    assert (seen.unseen, new.unseen) == (frozenset(), {3})
    truth = seen.truth
    assert truth is not None
    assert truth.ranges == {1: (0, 1, 2, 3, 4, 5, 6), 2: (2, 3, 4, 5)}
    assert (truth.numbers, truth.length) == ((0, 5, 10, 15, 20, 25, 30), 31)
    assert truth.attributes == {"OCC", "LR"}
    assert truth.captions == {1: "a gray square"}
    assert [video.name for video in LVOS(tmp_path, sequences=["new1"])] == ["new1"]


def test_lvos_by_its_other_names(tmp_path: Path) -> None:
    """The split is called val or valid, and its files by either name."""
    save_lvos(tmp_path, "val")
    folder = tmp_path / "val"
    for file in list(folder.glob("val_*.json")):
        file.rename(file.with_name(file.name.replace("val_", "valid_")))
    (tmp_path / "unseen.txt").write_text("seen1\n")
    for split in ("val", "valid"):
        videos = LVOS(tmp_path, split, unseen=tmp_path / "unseen.txt")
        assert [video.unseen for video in videos] == [{1, 2}, frozenset()]
    assert [truth.attributes for truth in lvos_truths(tmp_path)] == [{"OCC", "LR"}, {"LR"}]


def test_the_first_version_of_lvos_has_no_attributes_and_no_unseen_videos(tmp_path: Path) -> None:
    save_lvos(tmp_path)
    (tmp_path / "unseen_videos.txt").unlink()
    for ending in ("_meta_attribute", "_expression_meta"):
        (tmp_path / f"valid/valid{ending}.json").unlink()
    for truth in lvos_truths(tmp_path):
        assert (truth.unseen, truth.attributes, truth.captions) == (None, frozenset(), {})


def test_the_test_split_of_lvos_is_predicted(tmp_path: Path) -> None:
    save_lvos(tmp_path, "test")
    for video, kept in (("seen1", {LVOS_NAMES[0], LVOS_NAMES[2]}), ("new1", {LVOS_NAMES[0]})):
        for file in (tmp_path / "test/Annotations" / video).iterdir():
            if file.stem not in kept:
                file.unlink()
    seen = LVOS(tmp_path, "test")[0]
    assert starts(seen) == {0: [1], 2: [2]}
    assert seen.reported() == tuple(range(7))
    with pytest.raises(InputError, match=r"5 frames inside the ranges .* predict the videos"):
        lvos_truths(tmp_path, "test")


def test_mose(tmp_path: Path) -> None:
    save_mose(tmp_path)
    (video,) = MOSE(tmp_path, "train")
    assert starts(video) == {0: [1], 2: [4]}
    assert [video.annotation(i).object_ids for i in range(6)] == [  # type: ignore[union-attr]
        tuple(objects) for objects in MOSE_TRUTH
    ]
    shutil.rmtree(tmp_path / "results")
    save_mose(tmp_path, "valid")
    (video,) = MOSE(tmp_path)
    assert (video.annotated(), video.reported()) == ((0,), tuple(range(6)))
    assert starts(video) == {0: [1]}


def test_sav(tmp_path: Path) -> None:
    """Objects 1 and 2, in folders 000 and 001, overlap; of 24 frames a second, 6 have masks."""
    save_sav(tmp_path)
    first, second = SAV(tmp_path)
    assert len(first) == 17
    assert first.reported() == first.annotated() == (0, 4, 8, 12, 16)
    assert tuple(first.frame_names[i] for i in first.reported()) == tuple(SAV_NAMES)
    assert starts(first) == {0: [1, 2]}
    note = first.annotation(8)
    assert note is not None
    assert np.array_equal(note.masks, [square(A), square(OVER)])
    assert first.annotation(1) is None
    assert starts(second) == {0: [1]}
    assert SAV(tmp_path / "sav_val").names == SAV(tmp_path).names
    (tmp_path / "sav_val/sav_val.txt").write_text("sav_000002\n")
    assert SAV(tmp_path).names == ("sav_000002",)
    with pytest.raises(InputError, match="SA-V, it has no folder sav_test/Annotations_6fps"):
        len(SAV(tmp_path, "test"))


def test_long_videos(tmp_path: Path) -> None:
    save_long_videos(tmp_path)
    (video,) = LongVideos(tmp_path)
    assert len(video) == 9
    assert [video.frame_names[i] for i in video.reported()] == LONG_NAMES
    assert video.truth.object_ids == (1, 2, 3)
    assert starts(video) == {0: [1, 3]}
    assert LongVideos(tmp_path, "val").names == ("rat",)
    (tmp_path / "val.txt").write_text("rat\nblueboy\n")
    with pytest.raises(InputError, match="no annotation of sequence blueboy"):
        len(LongVideos(tmp_path, "val"))


def test_pumavos(tmp_path: Path) -> None:
    save_pumavos(tmp_path)
    videos = PUMaVOS(tmp_path)
    assert videos.names == ("chair", "skz")
    assert starts(videos[0]) == {0: [1], 2: [4]}
    with pytest.raises(InputError, match="PUMaVOS has no split val"):
        FORMATS["pumavos"].truths(tmp_path, "val", None)


SAVED: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    "davis": (save_davis, None),
    "lvos": (save_lvos, "valid"),
    "mose": (save_mose, "train"),
    "sav": (save_sav, "val"),
    "long_videos": (save_long_videos, None),
    "pumavos": (save_pumavos, None),
}


@pytest.mark.parametrize("name", SAVED)
def test_formats_are_known_by_name(tmp_path: Path, name: str) -> None:
    """Videos and truths of a format are of the same sequences, and truths need no pictures."""
    save, split = SAVED[name]
    save(tmp_path)
    entry = format_named(name)
    videos = entry.videos(tmp_path, split)
    names, frames = videos.names, [video.truth.frame_names for video in videos if video.truth]
    for folder in ("JPEGImages", "JPEGImages_24fps"):
        for found in list(tmp_path.rglob(folder)):
            shutil.rmtree(found)
    truths = entry.truths(tmp_path, split, None)
    assert [truth.name for truth in truths] == list(names)
    assert [truth.frame_names for truth in truths] == frames
    assert [truth.name for truth in entry.truths(tmp_path, split, names[-1:])] == list(names[-1:])
    with pytest.raises(InputError, match=r"no annotation of sequence cat; there are"):
        entry.truths(tmp_path, split, ["cat"])
    assert len(videos)
    with pytest.raises(InputError, match=r"missing|no such folder|no folder JPEGImages"):
        list(entry.videos(tmp_path, split))


READERS: dict[str, Callable[[Path], Videos]] = {
    "davis": Davis,
    "youtube_vos": YouTubeVOS,
    "lvos": LVOS,
    "mose": MOSE,
    "sav": SAV,
    "long_videos": LongVideos,
    "pumavos": PUMaVOS,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("saved", SAVED)
def test_readers_recognise_other_benchmarks(tmp_path: Path, reader: str, saved: str) -> None:
    SAVED[saved][0](tmp_path)
    if saved == reader:
        assert FORMATS[saved].looks(tmp_path)
        return
    with pytest.raises(InputError, match=rf"not laid out as .*it looks like .*as {saved}\)"):
        len(READERS[reader](tmp_path))


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    for reader in READERS.values():
        videos = reader(tmp_path / "nowhere")
        with pytest.raises(InputError, match="no such folder; check the root of"):
            len(videos)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    save_lvos(tmp_path)
    (tmp_path / "valid/JPEGImages/seen1/00000006.jpg").unlink()
    with pytest.raises(
        InputError, match=r"no picture of 1 annotated frames, the first is 00000006"
    ):
        LVOS(tmp_path)[0]
    shutil.rmtree(tmp_path / "valid/JPEGImages/seen1")
    with pytest.raises(InputError, match=r"JPEGImages: 1 of 2 sequences are missing, .* is seen1"):
        len(LVOS(tmp_path))


def test_objects_of_lvos_are_checked(tmp_path: Path) -> None:
    save_lvos(tmp_path)
    path = tmp_path / "valid/valid_meta.json"
    whole = json.loads(path.read_text())
    limits = {"start": "11", "end": "1"}
    for objects, message in (
        ({}, "new1: tells of no object"),
        ({"0": {"frame_range": limits}}, "new1, object 0: its id is none from 1 to 254"),
        ({"3": {"frame_range": limits}}, "object 3: ends in frame 1, before it starts in 11"),
        ({"3": {}}, 'object 3: "frame_range" is missing'),
    ):
        whole["videos"]["new1"]["objects"] = objects
        path.write_text(json.dumps(whole))
        with pytest.raises(InputError, match=message):
            LVOS(tmp_path)[1]
