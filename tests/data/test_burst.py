"""The layout of BURST, in miniature: which objects there are, when given, how they score."""

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

from vosfm.data import BURST
from vosfm.data.formats.format import format_named
from vosfm.data.rle import encode
from vosfm.errors import InputError
from vosfm.evaluate import evaluate

FILE = "annotations/val/all_classes.json"
FRAMES = tuple(f"frame{number:04d}" for number in range(1, 8))
ANNOTATED = FRAMES[::2]
"""Frames 0, 2, 4 and 6 of seven."""

PLACES: dict[str, dict[int, dict[int, Corner]]] = {
    "LaSOT/cat": {1: {0: (2, 2), 1: (2, 4), 2: (2, 6), 3: (2, 8)}, 3: {1: (30, 40), 2: (30, 42)}},
    "HACS/cat": {2: {0: (20, 20), 1: (20, 22)}},
}
"""Dataset and sequence -> track -> its square in each annotated frame that shows it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences of one name in two datasets."""
    root = tmp_path / "BURST"
    height, width = SIZE
    sequences: list[dict[str, Any]] = []
    for number, (name, tracks) in enumerate(PLACES.items()):
        dataset, sequence = name.split("/")
        files = [f"{frame}.jpg" for frame in FRAMES]
        for index, file in enumerate(files):
            save_frame(root / "frames" / "val" / name / file, index)
        masks = [
            {
                str(track): {"rle": encode(square(squares[at]))["counts"], "is_gt": True}
                for track, squares in tracks.items()
                if at in squares
            }
            for at in range(4)
        ]
        sequences.append(
            {
                "id": number,
                "dataset": dataset,
                "seq_name": sequence,
                "height": height,
                "width": width,
                "fps": 2,
                "all_image_paths": files,
                "annotated_image_paths": files[::2],
                "segmentations": masks,
                "track_category_ids": {str(track): 805 + track for track in tracks},
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
            }
        )
    categories = [{"id": 806, "name": "cat"}, {"id": 808, "name": "dog"}]
    (root / FILE).parent.mkdir(parents=True)
    content = {"sequences": sequences, "categories": categories, "split": "val"}
    (root / FILE).write_text(json.dumps(content))
    return root


def edit(root: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((root / FILE).read_text())
    change(content)
    (root / FILE).write_text(json.dumps(content))


@pytest.mark.parametrize("all_frames", [False, True])
def test_objects_are_given_where_they_first_show(root: Path, all_frames: bool) -> None:
    videos = BURST(root, all_frames=all_frames)
    assert videos.names == ("LaSOT_cat", "HACS_cat")
    step = 2 if all_frames else 1
    first = videos[0]
    assert first.frame_names == (FRAMES if all_frames else ANNOTATED)
    assert first.annotated() == first.reported() == tuple(step * place for place in range(4))
    given = first.prompts()
    assert {frame: list(masks) for frame, masks in given.items()} == {0: [1], step: [3]}
    assert np.array_equal(given[step][3], square((30, 40)))
    last = first.annotation(3 * step)
    assert last is not None
    assert last.object_ids == (1,)
    assert (first.annotation(1) is None) == all_frames
    brightness = [int(frame.mean() - 10) // 20 for frame in first.frames(1)]
    assert brightness == ([1, 2, 3, 4, 5, 6] if all_frames else [2, 4, 6])


def test_the_truth_needs_no_pictures(root: Path) -> None:
    shutil.rmtree(root / "frames")
    truth, other = format_named("burst").truths(root, "val", None)
    truth = pickle.loads(pickle.dumps(truth))
    assert (truth.name, truth.frame_names, truth.object_ids) == ("LaSOT_cat", ANNOTATED, (1, 3))
    assert (truth.length, truth.numbers) == (7, (0, 2, 4, 6))
    assert truth.starts == {1: 0, 3: 1}
    assert truth.captions == {1: "cat", 3: "dog"}
    assert np.array_equal(truth.masks(3), np.stack([square((2, 8)), square(None)]))
    assert (other.name, other.object_ids, other.captions) == ("HACS_cat", (2,), {})
    with pytest.raises(InputError, match=r"no such folder of frames; unpack those of TAO there"):
        BURST(root)[0]


@pytest.mark.parametrize("layout", ["folders", "index"])
@pytest.mark.parametrize("frames", [ANNOTATED, FRAMES])
def test_scores_by_hand(root: Path, tmp_path: Path, layout: str, frames: tuple[str, ...]) -> None:
    """Track 1 counts in three annotated frames: right, one pixel off, not found.

    J = (1 + 15/17 + 0) / 3, F = 2/3. Track 3 counts in the two after its start, right in one; in
    the other it is found although it is out of sight: J = F = 1/2. Track 2 of the other sequence
    is right once, and not found in the two frames where it is out of sight: J = F = 1. What is
    found in frames between does not count.
    """
    results: dict[str, dict[int, dict[int, Corner]]] = {
        "LaSOT_cat": {1: {0: (2, 40), 2: (2, 4), 4: (2, 7)}, 3: {4: (30, 42), 6: (30, 42)}},
        "HACS_cat": {2: {2: (20, 22), 3: (0, 0)}},
    }
    for name, tracks in results.items():
        corners = {
            track: {at: told.get(FRAMES.index(at)) for at in frames}
            for track, told in tracks.items()
        }
        if layout == "folders":
            save_folders(tmp_path / "results" / name, corners)
        else:
            index = {at: {i: told[at] for i, told in corners.items()} for at in frames}
            save_index(tmp_path / "results" / name, index)
    scores = evaluate(root, tmp_path / "results", "burst")
    assert scores.objects["LaSOT_cat", 1]["J"] == pytest.approx((1 + OFF) / 3)
    assert scores.objects["LaSOT_cat", 1]["F"] == pytest.approx(2 / 3)
    assert scores.objects["LaSOT_cat", 3] == {"J": 0.5, "F": 0.5, "J&F": 0.5}
    assert scores.objects["HACS_cat", 2] == {"J": 1, "F": 1, "J&F": 1}
    assert scores.overall["J"] == pytest.approx(((1 + OFF) / 3 + 0.5 + 1) / 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("sequences"), '"sequences" is missing, not a list'),
        (lambda c: c.pop("categories"), '"categories" is missing, not a list'),
        (lambda s: s["sequences"][1].pop("dataset"), 'sequence 1: "dataset" is missing'),
        (lambda s: s["sequences"][1].update(dataset=".."), "\"dataset\" is '..', which leads out"),
        (lambda s: s["sequences"][1].update(seq_name="/x"), "\"seq_name\" is '/x', which leads"),
        (lambda s: s["sequences"][1].update(seq_name="a/b"), "not the name of one folder"),
        (lambda s: s["sequences"][1].update(dataset="LaSOT"), "a second sequence LaSOT_cat"),
        (lambda s: s["sequences"][1].update(width="64"), "\"width\" is '64', not a whole number"),
        (lambda s: s["sequences"][1].pop("all_image_paths"), '"all_image_paths" is missing'),
        (lambda s: s["sequences"][1].update(annotated_image_paths=[]), "no frame in"),
        (lambda s: s["sequences"][1]["annotated_image_paths"].append("x.jpg"), "names x.jpg"),
        (lambda s: s["sequences"][1]["segmentations"].pop(), "4 annotated frames but masks of 3"),
        (lambda s: s["sequences"][1].update(segmentations=[3] * 4), '"segmentations" 0 is 3'),
        (lambda s: s["sequences"][1]["segmentations"][0].update(x={"rle": ""}), "a track 'x'"),
        (lambda s: s["sequences"][1]["segmentations"][0].update({"4": {}}), '4: "rle" is missing'),
        (
            lambda s: s["sequences"][1]["segmentations"][0].update({"0": {"rle": "0"}}),
            "object 0: results hold the ids 1 to 254",
        ),
        (
            lambda s: s["sequences"][1]["segmentations"][0].update({"255": {"rle": "0"}}),
            "object 255: results hold the ids 1 to 254",
        ),
        (
            lambda s: s["sequences"][1]["segmentations"][0]["2"].update(rle="111"),
            "HACS_cat, frame frame0001, object 2: its runs have 3 pixels",
        ),
    ],
)
def test_damage_is_told_with_file_and_field(
    root: Path, change: Callable[[Any], object], words: str
) -> None:
    edit(root, change)
    with pytest.raises(InputError) as error:
        format_named("burst").truths(root, None, None)
    assert str(error.value).startswith(str(root / FILE))
    assert words in str(error.value)


def test_names_do_not_lead_out_of_the_frames(root: Path) -> None:
    def lead_out(told: Any) -> None:
        for key in ("all_image_paths", "annotated_image_paths"):
            told["sequences"][0][key][0] = "../../HACS/cat/frame0001.jpg"

    edit(root, lead_out)
    with pytest.raises(InputError, match=r'"annotated_image_paths" is .* leads out of its folder'):
        BURST(root)[0]


def test_wrong_layouts_are_recognised(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no file annotations/test/all_classes.json"):
        BURST(root, "test").names  # noqa: B018
    with pytest.raises(InputError, match=r"looks like BURST \(its split val; read it as burst\)"):
        format_named("vosw").truths(root, None, None)
    with pytest.raises(InputError, match=r"no video cat; there are 2, the first is LaSOT_cat"):
        BURST(root, sequences=["cat"]).names  # noqa: B018
    (root / FILE).write_bytes((root / FILE).read_bytes()[:-9])
    with pytest.raises(InputError, match=r"all_classes.json: damaged JSON"):
        BURST(root).names  # noqa: B018


def test_the_config_runs(root: Path) -> None:
    run_config("burst", root)
