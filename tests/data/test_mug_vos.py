"""The layout of the test set of MUG-VOS, in miniature: tracks that overlap, start late and end."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import run_config
from squares import OFF, SIZE, Corner, save_folders, save_frame, save_index, square

from vosfm.data import MUGVOS, write_labels
from vosfm.data.formats.format import format_named
from vosfm.errors import InputError
from vosfm.evaluate import evaluate

VIDEOS: dict[str, dict[int, dict[int, Corner | None]]] = {
    "bear": {
        0: {0: (2, 2), 1: (2, 4), 2: (2, 6), 3: (2, 8), 4: (2, 10)},
        1: {0: (6, 6), 1: (6, 8), 2: (6, 10), 3: (6, 12), 4: (6, 14)},
        4: {0: None, 1: (30, 40), 2: None, 3: (30, 42), 4: (30, 44)},
        5: {2: (30, 2), 3: (30, 2)},
        7: {0: None, 1: None, 2: None, 3: None, 4: None},
    },
    "cows": {0: {0: (20, 20), 1: (20, 22), 2: (20, 24), 3: (20, 26), 4: (20, 28)}},
}
"""Video -> number of a track -> its square in each frame that it has a mask of.

In the first video track 1 overlaps track 0, track 4 joins and leaves, track 5 has few masks and
track 7 is empty.
"""

NAMES = tuple(f"{number:05d}" for number in range(5))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "MUG-VOS"
    for video, tracks in VIDEOS.items():
        for index, name in enumerate(NAMES):
            save_frame(root / "JPEGImages" / "480p" / video / f"{name}.jpg", index)
        for track, masks in tracks.items():
            folder = root / "mug_vos_test_v1" / video / f"track_{track:03d}"
            folder.mkdir(parents=True)
            for number, corner in masks.items():
                path = folder / f"{number:03d}.png"
                write_labels(path, square(corner) * np.uint8(255))
    return root


def test_tracks_are_given_where_they_first_show(root: Path) -> None:
    videos = MUGVOS(root)
    assert videos.names == ("bear", "cows")
    bear = videos[0]
    assert (bear.frame_names, bear.size) == (NAMES, SIZE)
    given = bear.prompts()
    assert {frame: list(masks) for frame, masks in given.items()} == {0: [1, 2], 1: [5], 2: [6]}
    assert np.array_equal(given[0][1], square((2, 2)))
    assert np.array_equal(given[0][2], square((6, 6)))
    note = bear.annotation(2)
    assert note is not None
    assert note.object_ids == (1, 2, 6)
    assert note.masks.sum(0).max() == 2
    assert note.void is None


@pytest.mark.parametrize("below", ["", "mug_vos_test_v1"])
def test_the_truth_needs_no_pictures(root: Path, below: str) -> None:
    shutil.rmtree(root / "JPEGImages")
    truth, _ = format_named("mug_vos").truths(root / below, None, None)
    truth = pickle.loads(pickle.dumps(truth))
    assert (truth.name, truth.frame_names, truth.object_ids) == ("bear", NAMES, (1, 2, 5, 6))
    assert truth.overlapping
    assert truth.starts == {1: 0, 2: 0, 5: 1, 6: 2}
    assert truth.ranges == {1: (0, 1, 2, 3, 4), 2: (0, 1, 2, 3, 4), 5: (1, 2, 3, 4), 6: (2, 3)}
    assert (truth.ids(0), truth.ids(2), truth.ids(4)) == ((1, 2), (1, 2, 5, 6), (1, 2, 5))
    assert (truth.length, truth.numbers) == (5, (0, 1, 2, 3, 4))
    expected = [square((2, 10)), square((6, 14)), square((30, 44)), square(None)]
    assert np.array_equal(truth.masks(4), np.stack(expected))
    with pytest.raises(InputError, match=r"480p: no such folder of frames; MUG-VOS comes without"):
        MUGVOS(root)[0]


def test_frames_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "JPEGImages").rename(tmp_path / "frames")
    video = MUGVOS(root, frames=tmp_path / "frames" / "480p", sequences=["cows"])[0]
    assert [frame.shape for frame in video.frames()] == [(*SIZE, 3)] * 5
    (tmp_path / "frames" / "480p" / "cows" / "00003.jpg").unlink()
    with pytest.raises(InputError, match=r"cows: no frame 00003, which has masks"):
        MUGVOS(root, frames=tmp_path / "frames" / "480p", sequences=["cows"])[0]


def test_scores_by_hand(root: Path, tmp_path: Path) -> None:
    """The first and the last mask of each track are left out, and tracks count alone.

    Track 0 (object 1) counts in frames 1 to 3: right, one pixel off, not found, so that
    J = (1 + 15/17 + 0) / 3 and F = 2/3. Track 1 (object 2), which overlaps it, is right in all
    three: 1. Track 4 (object 5) has masks of frames 1 to 4 and counts in 2 and 3: not found where
    it is out of sight, and somewhere else: J = F = 1/2. Track 5 (object 6) has two masks and counts
    in none; track 7 is empty. Track 0 of the other video is somewhere else in all: 0. The mean
    over the four tracks that count, not over the two videos.
    """
    save_folders(
        tmp_path / "results" / "bear",
        {
            1: {"00001": (2, 4), "00002": (2, 7), "00003": None, "00004": None},
            2: {"00001": (6, 8), "00002": (6, 10), "00003": (6, 12)},
            5: {"00002": None, "00003": (2, 42)},
        },
    )
    other: dict[str, Corner | None] = dict.fromkeys(NAMES[1:4], (2, 2))
    save_folders(tmp_path / "results" / "cows", {1: other})
    scores = evaluate(root, tmp_path / "results", "mug_vos")
    assert set(scores.objects) == {("bear", 1), ("bear", 2), ("bear", 5), ("cows", 1)}
    assert scores.objects["bear", 1]["J"] == pytest.approx((1 + OFF) / 3)
    assert scores.objects["bear", 1]["F"] == pytest.approx(2 / 3)
    assert scores.objects["bear", 2] == {"J": 1, "F": 1, "J&F": 1}
    assert scores.objects["bear", 5] == {"J": 0.5, "F": 0.5, "J&F": 0.5}
    assert scores.overall["J"] == pytest.approx(((1 + OFF) / 3 + 1 + 0.5 + 0) / 4)
    assert scores.overall["F"] == pytest.approx((2 / 3 + 1 + 0.5 + 0) / 4)
    assert scores.sequences["bear"]["J"] == pytest.approx(((1 + OFF) / 3 + 1 + 0.5) / 3)
    assert scores.sequences["cows"]["J&F"] == 0


def test_index_pngs_cannot_hold_tracks(root: Path, tmp_path: Path) -> None:
    for video in VIDEOS:
        save_index(tmp_path / "results" / video, {name: {1: (2, 2)} for name in NAMES})
    with pytest.raises(InputError, match=r"track with --overlap"):
        evaluate(root, tmp_path / "results", "mug_vos")


def test_damage_is_told(root: Path) -> None:
    tracks = root / "mug_vos_test_v1" / "cows"
    write_labels(tracks / "track_000" / "first.png", square(None))
    with pytest.raises(InputError, match=r"first.png: its name is no number of a frame"):
        MUGVOS(root)[1]
    (tracks / "track_000" / "first.png").unlink()
    (tracks / "track_003").mkdir()
    with pytest.raises(InputError, match=r"track_003: no mask in it"):
        MUGVOS(root)[1]
    write_labels(tracks / "track_003" / "000.png", np.ones((4, 6), np.uint8))
    (truth,) = format_named("mug_vos").truths(root, None, ["cows"])
    with pytest.raises(InputError, match=r"track_003/000.png: the mask measures 4 x 6 .* 48 x 64"):
        truth.masks(0)
    (tracks / "track_003").rename(tracks / "track_254")
    with pytest.raises(InputError, match=r"track 254; results hold the ids 1 to 254"):
        MUGVOS(root)[1]
    (tracks / "track_254").rename(tracks / "track_002")
    (tracks / "track_002" / "000.png").write_bytes(b"no PNG")
    with pytest.raises(InputError, match=r"track_002/000.png: not a PNG"):
        MUGVOS(root)[1]


def test_wrong_layouts_are_recognised(root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"as MUG-VOS, it has no mug_vos_test_v1/<video>/track_0"):
        MUGVOS(empty).names  # noqa: B018
    with pytest.raises(InputError, match=r"MUG-VOS \(its test set; read it as mug_vos\)"):
        format_named("uvo").truths(root, None, None)
    with pytest.raises(InputError, match=r"no split train; only its test set was published"):
        format_named("mug_vos").truths(root, "train", None)
    with pytest.raises(InputError, match=r"no video dogs; there are 2, the first is bear"):
        MUGVOS(root, sequences=["dogs"]).names  # noqa: B018


def test_the_config_runs(root: Path) -> None:
    run_config("mug_vos", root, "--model.exclusive=false")
