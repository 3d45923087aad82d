"""The layout of UVO, in miniature: which objects there are, when they are given, how they score."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_config
from squares import OFF, SIZE, Corner, save_folders, save_frame, save_index, square

from vosfm.data import UVO, VideoClips
from vosfm.data.formats.format import format_named
from vosfm.data.rle import encode, runs_of
from vosfm.errors import InputError
from vosfm.evaluate import evaluate

FILE = "VideoDenseSet/UVO_video_val_dense.json"
FRAMES = {"-a_B1": ("8", "9", "10", "11"), "zz": ("0", "1", "2", "3")}
"""The names are not of one length, so that only the file tells the order of time."""

PLACES: dict[int, tuple[str, dict[int, Corner]]] = {
    12: ("-a_B1", {0: (2, 2), 1: (2, 4), 2: (2, 6), 3: (2, 8)}),
    7: ("-a_B1", {1: (30, 40), 2: (30, 42)}),
    9: ("zz", {0: (20, 20), 1: (20, 22), 2: (20, 24)}),
}
"""Id of an annotation -> its video, and its square in each frame that shows it."""

VIDEO_IDS = {"-a_B1": 30, "zz": 4}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos; the second one also has a crowd, and an object without a pixel."""
    root = tmp_path / "UVO"
    videos: list[dict[str, Any]] = []
    for name, frames in FRAMES.items():
        files = [f"{name}/{frame}.png" for frame in frames]
        for index, file in enumerate(files):
            save_frame(root / "uvo_videos_dense_frames" / file, index)
        height, width = SIZE
        told = {"id": VIDEO_IDS[name], "ytid": name, "height": height, "width": width}
        videos.append({**told, "length": len(files), "file_names": files, "start_idx": 8})
    annotations = [
        {
            "id": number,
            "video_id": VIDEO_IDS[name],
            "category_id": 1 + number % 2,
            "iscrowd": 0,
            "segmentations": [
                encode(square(squares[at])) if at in squares else None for at in range(4)
            ],
        }
        for number, (name, squares) in PLACES.items()
    ]
    counts = runs_of(square((2, 40))).tolist()
    crowd = {"id": 3, "video_id": 4, "category_id": 1, "iscrowd": 1}
    crowd["segmentations"] = [{"size": list(SIZE), "counts": counts}] * 4
    empty = {"id": 99, "video_id": 4, "category_id": 1, "iscrowd": 0}
    empty["segmentations"] = [encode(square(None)), None, None, None]
    categories = [{"id": 1, "name": "other"}, {"id": 2, "name": "dog"}]
    (root / "VideoDenseSet").mkdir()
    content = {"videos": videos, "annotations": [*annotations, crowd, empty]}
    (root / FILE).write_text(json.dumps({**content, "categories": categories}))
    return root


def edit(root: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((root / FILE).read_text())
    change(content)
    (root / FILE).write_text(json.dumps(content))


def test_objects_are_given_where_they_first_show(root: Path) -> None:
    """Ids 7 and 12 become 1 and 2."""
    videos = UVO(root)
    assert videos.names == ("-a_B1", "zz")
    first, second = videos
    assert first.frame_names == FRAMES["-a_B1"]
    assert first.size == SIZE
    given = first.prompts()
    assert {frame: list(masks) for frame, masks in given.items()} == {0: [2], 1: [1]}
    assert np.array_equal(given[0][2], square((2, 2)))
    assert np.array_equal(given[1][1], square((30, 40)))
    assert {frame: list(masks) for frame, masks in second.prompts().items()} == {0: [1]}
    assert first.annotated() == first.reported() == (0, 1, 2, 3)
    last = first.annotation(3)
    assert last is not None
    assert last.object_ids == (2,)
    assert np.array_equal(last.masks, square((2, 8))[None])
    brightness = [int(frame.mean() - 10) // 20 for frame in first.frames(2)]
    assert brightness == [2, 3]


def test_the_truth_needs_no_pictures(root: Path) -> None:
    shutil.rmtree(root / "uvo_videos_dense_frames")
    truth, other = format_named("uvo").truths(root, None, None)
    truth = pickle.loads(pickle.dumps(truth))
    assert (truth.name, truth.frame_names, truth.object_ids) == ("-a_B1", FRAMES["-a_B1"], (1, 2))
    assert truth.overlapping
    assert truth.starts == {1: 1, 2: 0}
    assert truth.captions == {1: "dog", 2: "other"}
    assert (truth.length, truth.numbers, truth.ids(0)) == (4, (0, 1, 2, 3), (2,))
    assert np.array_equal(truth.masks(2), np.stack([square((30, 42)), square((2, 6))]))
    assert other.object_ids == (1,)
    with pytest.raises(InputError, match=r"no such folder of frames; cut the videos"):
        UVO(root)[0]


@pytest.mark.parametrize("layout", ["folders", "index"])
def test_scores_by_hand(root: Path, tmp_path: Path, layout: str) -> None:
    """Object 2 of the first video counts in three frames: right, one pixel off, not found.

    J = (1 + 15/17 + 0) / 3, F = 2/3. Object 1 counts in two, right where it is in sight and not
    found where it is not: J = F = 1. The object of the second video counts in three, somewhere
    else in two, and found where it is out of sight: J = F = 0. Overall the mean of the three.
    """
    results = {
        "-a_B1": {
            2: {"9": (2, 4), "10": (2, 7), "11": None},
            1: {"9": None, "10": (30, 42), "11": None},
        },
        "zz": {1: {"1": (2, 40), "2": (2, 40), "3": (2, 40)}},
    }
    for name, objects in results.items():
        if layout == "folders":
            save_folders(tmp_path / "results" / name, objects)
        else:
            frames = {at: {i: o[at] for i, o in objects.items()} for at in FRAMES[name][1:]}
            save_index(tmp_path / "results" / name, frames)
    scores = evaluate(root, tmp_path / "results", "uvo")
    assert scores.objects["-a_B1", 2] == pytest.approx(
        {"J": (1 + OFF) / 3, "F": 2 / 3, "J&F": ((1 + OFF) / 3 + 2 / 3) / 2}
    )
    assert scores.objects["-a_B1", 1] == {"J": 1, "F": 1, "J&F": 1}
    assert scores.objects["zz", 1] == {"J": 0, "F": 0, "J&F": 0}
    assert scores.overall["J"] == pytest.approx(((1 + OFF) / 3 + 1 + 0) / 3)
    assert scores.overall["F"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.sequences["-a_B1"]["F"] == pytest.approx((2 / 3 + 1) / 2)


def test_clips_are_drawn_from_it(root: Path) -> None:
    clips = VideoClips(UVO(root), length=2, size=(32, 32), objects=2, clips=3)
    for clip in (clips[i] for i in range(3)):
        assert clip.frames.shape == (1, 2, 3, 32, 32)
        assert clip.masks.any()


def test_another_file_and_some_sequences(root: Path) -> None:
    (root / FILE).rename(root / "VideoDenseSet/UVO_video_val_dense_with_label.json")
    file = "VideoDenseSet/UVO_video_{split}_dense_with_label.json"
    assert UVO(root, file=file, sequences=["zz"]).names == ("zz",)
    with pytest.raises(InputError, match=r"no video zy; there are 2, the first is -a_B1"):
        UVO(root, file=file, sequences=["zy"]).names  # noqa: B018


@pytest.mark.parametrize(
    "name", ["../../secret/1.png", "/etc/1.png", "C:/a/1.png", "a\\..\\b/1.png"]
)
def test_names_do_not_lead_out_of_the_frames(root: Path, name: str) -> None:
    edit(root, lambda told: told["videos"][0]["file_names"].__setitem__(2, name))
    with pytest.raises(InputError, match=r'video 0: a name in "file_names" .*leads out'):
        UVO(root).names  # noqa: B018


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("videos"), '"videos" is missing, not a list'),
        (lambda c: c.pop("annotations"), '"annotations" is missing, not a list'),
        (lambda c: c["videos"][1].pop("id"), 'video 1: "id" is missing'),
        (lambda c: c["videos"][1].update(id=True), 'video 1: "id" is True, not a whole number'),
        (lambda c: c["videos"][1].update(file_names=[]), 'video 1: no name in "file_names"'),
        (lambda c: c["videos"][1].update(file_names=[3]), 'in "file_names" is 3, not a text'),
        (lambda c: c["videos"][1]["file_names"].append("a/1.png"), "are not all in one folder"),
        (lambda c: c["videos"][1]["file_names"].__setitem__(1, "zz/0.jpg"), "two frames 0"),
        (lambda c: c["videos"][1].update(file_names=["-a_B1/8.png"]), "two videos -a_B1"),
        (lambda c: c["videos"][1].pop("height"), 'zz: "height" is missing'),
        (lambda c: c["annotations"][2].update(video_id=5), "annotation 2: of video 5"),
        (lambda c: c["annotations"][2].pop("segmentations"), 'annotation 9: "segmentations" is'),
        (lambda c: c["annotations"][2]["segmentations"].pop(), "3 segmentations but 4 frames"),
        (
            lambda c: c["annotations"][2]["segmentations"][0].update(counts="111"),
            "zz, frame 0, object 1: its runs have 3 pixels",
        ),
        (
            lambda c: c["annotations"][2]["segmentations"].__setitem__(0, {"size": [1, 1]}),
            'zz, frame 0, object 1: "counts" is',
        ),
    ],
)
def test_damage_is_told_with_file_and_field(
    root: Path, change: Callable[[Any], object], words: str
) -> None:
    edit(root, change)
    with pytest.raises(InputError) as error:
        format_named("uvo").truths(root, None, None)
    assert str(error.value).startswith(str(root / FILE))
    assert words in str(error.value)


def test_a_mask_of_another_size_is_an_error(root: Path) -> None:
    small = encode(np.ones((3, 5), np.bool_))
    edit(root, lambda told: told["annotations"][2]["segmentations"].__setitem__(1, small))
    (truth,) = format_named("uvo").truths(root, None, ["zz"])
    with pytest.raises(
        InputError, match=r"object 1: the mask measures 3 x 5 .* the frames 48 x 64"
    ):
        truth.masks(1)


def test_frames_of_another_size_than_their_masks_are_an_error(root: Path) -> None:
    def enlarge(told: Any) -> None:
        told["videos"][1].update(height=3, width=5)
        for at in range(3):
            told["annotations"][2]["segmentations"][at] = encode(np.ones((3, 5), np.bool_))

    edit(root, enlarge)
    with pytest.raises(InputError, match=r"0.png: the frame measures 48 x 64 .* its masks 3 x 5"):
        UVO(root)[1].prompts()


def test_more_objects_than_results_hold(root: Path) -> None:
    def crowd(told: Any) -> None:
        one = told["annotations"][2]
        told["annotations"] = [{**one, "id": number} for number in range(255)]

    edit(root, crowd)
    with pytest.raises(InputError, match=r"object 255: results hold the ids 1 to 254"):
        format_named("uvo").truths(root, None, ["zz"])


def test_wrong_layouts_are_recognised(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"UVO, it has no file VideoDenseSet/UVO_video_train_dense"
    ):
        UVO(root, "train").names  # noqa: B018
    with pytest.raises(InputError, match=r"it looks like UVO \(its split val; read it as uvo\)"):
        format_named("burst").truths(root, None, None)
    with pytest.raises(InputError, match=r"nothing: no such folder; check the root of UVO"):
        UVO(tmp_path / "nothing").names  # noqa: B018
    (root / FILE).write_text("{")
    with pytest.raises(InputError, match=r"dense.json: damaged JSON"):
        UVO(root).names  # noqa: B018


def test_the_config_runs(root: Path) -> None:
    run_config("uvo", root)
