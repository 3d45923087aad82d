"""Each benchmark's protocol on squares whose scores are worked out by hand."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import goldens
import numpy as np
import pytest
import torch
from layouts import (
    HALF_F,
    HALF_J,
    LVOS_NAMES,
    STEP_J,
    A,
    save_davis,
    save_long_videos,
    save_lvos,
    save_mose,
    save_pumavos,
    save_sav,
    write_frame,
    write_object,
)
from youtube import save_split

from vosfm.cli import main as vosfm
from vosfm.data import LVOS, MOSE, SAV, LongVideos, PUMaVOS, Videos, write_labels
from vosfm.data.annotations import keep_masks
from vosfm.data.formats.format import FORMATS
from vosfm.data.index_truth import FolderTruth
from vosfm.errors import InputError
from vosfm.evaluate import evaluate
from vosfm.metrics import VideoSegmentation
from vosfm.metrics.scores import Scores
from vosfm.task import score
from vosfm.tracker import Result

nan = float("nan")


def assert_rows(scores: Scores, expected: dict[tuple[str, int], tuple[float, float]]) -> None:
    """J and F of every object."""
    for at, measure in enumerate(("J", "F")):
        ours = {key: row[measure] for key, row in scores.objects.items()}
        assert ours == pytest.approx({key: pair[at] for key, pair in expected.items()}), measure


S_HALF = (HALF_J + HALF_F) / 2

LVOS_SEEN = {
    # Object 1 counts in frames 6 to 26: exact, 8 pixels off, rightly absent, exact, missed.
    1: ((1 + HALF_J + 1 + 1 + 0) / 5, (1 + HALF_F + 1 + 1 + 0) / 5),
    # Object 2 counts in frames 16 and 21: exact, and found although it is absent there.
    2: (0.5, 0.5),
}
LVOS_V = {1: float(np.std([1, S_HALF, 1, 1, 0])), 2: 0.5}


def test_lvos_by_hand(tmp_path: Path) -> None:
    """Object 3, of an unseen video, is one pixel off wherever it counts: J 15/17, F 1, V 0."""
    scores = evaluate(tmp_path, save_lvos(tmp_path), "lvos")
    assert_rows(
        scores, {("seen1", i): pair for i, pair in LVOS_SEEN.items()} | {("new1", 3): (STEP_J, 1)}
    )
    assert scores.frames == {"seen1": 5, "new1": 4}
    expected = {
        "J_seen": (2 / 3 + 1 / 2) / 2,
        "F_seen": (107 / 160 + 1 / 2) / 2,
        "V_seen": (LVOS_V[1] + 0.5) / 2,
        "J_unseen": 15 / 17,
        "F_unseen": 1,
        "V_unseen": 0,
    }
    expected["J&F_seen"] = (expected["J_seen"] + expected["F_seen"]) / 2
    expected["J&F_unseen"] = (expected["J_unseen"] + 1) / 2
    for measure in ("J", "F", "V", "J&F"):
        both = (expected[f"{measure}_seen"] + expected[f"{measure}_unseen"]) / 2
        expected[measure] = both
    assert scores.overall == pytest.approx(expected)
    assert list(scores.overall)[:4] == ["J&F", "J", "F", "V"]


def test_lvos_without_a_list_of_unseen_videos(tmp_path: Path) -> None:
    """As in the first version: one mean over the three objects, and no sides."""
    results = save_lvos(tmp_path)
    (tmp_path / "unseen_videos.txt").rename(tmp_path / "elsewhere.txt")
    plain = evaluate(tmp_path, results, "lvos")
    assert plain.overall["J"] == pytest.approx((2 / 3 + 1 / 2 + STEP_J) / 3)
    assert plain.overall["V"] == pytest.approx((LVOS_V[1] + 0.5) / 3)
    assert np.isnan([plain.overall[f"{m}_{k}"] for m in "JFV" for k in ("seen", "unseen")]).all()
    one_sided = evaluate(tmp_path, results, "lvos", unseen=["of another version"])
    assert one_sided.overall["J"] == plain.overall["J"] == one_sided.overall["J_seen"]
    assert np.isnan(one_sided.overall["J_unseen"])
    told = evaluate(tmp_path, results, "lvos", unseen=tmp_path / "elsewhere.txt")
    assert told.overall["V_unseen"] == 0


def test_lvos_equals_the_official_tool(tmp_path: Path) -> None:
    golden = goldens.load("lvos_evaluation")
    folder = tmp_path / "valid"
    for name, masks in golden.inputs.items():
        kind, video = name.split(".")
        target = folder / "Annotations" if kind == "gt" else tmp_path / "results"
        for at, labels in enumerate(masks.numpy()):
            (target / video).mkdir(parents=True, exist_ok=True)
            write_labels(target / video / f"{1 + 5 * at:08d}.png", labels)
    (folder / "valid_meta.json").write_text(json.dumps(golden.hyper["meta"]))
    scores = evaluate(
        folder, tmp_path / "results", "lvos", official=True, unseen=golden.info["unseen"]
    )
    for (video, object_id), row in scores.objects.items():
        ours = torch.tensor([row[c] for c in ("J", "F", "V")], dtype=torch.float64)
        golden.check(f"M.{video}.{object_id}", ours)
    columns = [f"{m}{kind}" for m in "JFV" for kind in ("", "_seen", "_unseen")]
    report = [scores.overall[column] for column in ("J&F", *columns)]
    golden.check("official_report", torch.tensor(report, dtype=torch.float64))
    plain = evaluate(folder, tmp_path / "results", "lvos", official=True).overall
    sides = ("J_seen", "F_seen", "J_unseen", "F_unseen")
    whole = [plain[m] for m in "JFV"] + [scores.overall[side] for side in sides]
    golden.check("global", torch.tensor(whole, dtype=torch.float64))
    exact = evaluate(folder, tmp_path / "results", "lvos").objects
    assert exact["vidA", 1]["V"] != scores.objects["vidA", 1]["V"]
    assert exact["vidA", 1]["V"] == pytest.approx(scores.objects["vidA", 1]["V"], abs=1e-3)


def test_lvos_by_attribute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """OCC holds for the seen video alone, LR for both; SV and OV follow from the masks."""
    results = save_lvos(tmp_path)
    scores = evaluate(tmp_path, results, "lvos")
    by_attribute = scores.by_attribute()
    assert list(by_attribute) == ["LR", "OCC"]
    assert by_attribute["LR"] == scores.overall
    assert by_attribute["OCC"]["J"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert np.isnan(by_attribute["OCC"]["J_unseen"])
    out = tmp_path / "scores.csv"
    arguments = ("--annotations", str(tmp_path), "--results", str(results), "--out", str(out))
    assert vosfm(["evaluate", "--protocol", "lvos", "--by", "attribute", *arguments]) == 0
    printed = capsys.readouterr().out.splitlines()
    (line,) = [line.split() for line in printed if line.strip().startswith("OCC")]
    expected = [f"{100 * value:.1f}" for value in by_attribute["OCC"].values()]
    assert line == ["OCC", "1", *expected]
    with out.open(newline="") as file:
        told = {row["sequence"]: row for row in csv.DictReader(file) if row["level"] == "attribute"}
    assert float(told["LR"]["V"]) == scores.overall["V"]
    assert told["LR"]["frames"] == "9"


def test_attributes_of_masks_are_added(tmp_path: Path) -> None:
    """The square of object 1 doubles its area: SV; LR is told by the dataset of the other alone."""
    results = save_lvos(tmp_path)
    path = tmp_path / "valid/valid_meta_attribute.json"
    told = json.loads(path.read_text())
    told["videos"] = {"new1": {"attributes": ["LR"]}}
    path.write_text(json.dumps(told))
    mask = np.zeros((64, 96), np.uint8)
    mask[4:44, 4:44] = 1
    write_labels(tmp_path / "valid/Annotations/seen1" / f"{LVOS_NAMES[1]}.png", mask)
    scores = evaluate(tmp_path, results, "lvos", mask_attributes=True)
    assert scores.attributes["new1"] == {"LR"}
    assert "SV" in scores.attributes["seen1"]
    assert "LR" not in scores.attributes["seen1"]
    assert "SV" not in evaluate(tmp_path, results, "lvos").by_attribute()


MOSE_ROWS = {
    # Object 1 counts in frames 1 to 4: exact, 8 pixels off, rightly absent, exact.
    1: ((1 + HALF_J + 1 + 1) / 4, (1 + HALF_F + 1 + 1) / 4),
    # Object 4 is given in frame 2 and counts in 3 and 4: 8 pixels off, missed.
    4: (HALF_J / 2, HALF_F / 2),
}


def test_mose_by_hand(tmp_path: Path) -> None:
    results = save_mose(tmp_path)
    scores = evaluate(tmp_path, results, "mose", split="train")
    assert_rows(scores, {("0a1b", i): pair for i, pair in MOSE_ROWS.items()})
    assert scores.overall["J"] == pytest.approx((10 / 12 + 1 / 6) / 2)
    assert scores == evaluate(tmp_path / "train", results, "mose")
    assert scores == evaluate(tmp_path / "train/Annotations", results, "mose")
    assert scores.frames == {"0a1b": 4}
    write_frame(results / "0a1b/00002.png", {7: A})
    with pytest.raises(InputError, match=r"holds id 7, but .* ids 1, 4 by the annotation"):
        evaluate(tmp_path, results, "mose", split="train")


def test_masks_of_the_first_frame_alone_cannot_be_scored(tmp_path: Path) -> None:
    results = save_mose(tmp_path, "valid")
    with pytest.raises(InputError, match="0a1b: 1 annotated frames, none of which mose counts"):
        evaluate(tmp_path, results, "mose")
    video = MOSE(tmp_path)[0]
    assert len(video.reported()) == 6
    assert list(video.prompts()) == [0]
    with pytest.raises(InputError, match="none of which mose counts; predict it"):
        score(VideoSegmentation("mose"), video, [])


def test_pumavos_by_hand(tmp_path: Path) -> None:
    scores = evaluate(tmp_path, save_pumavos(tmp_path), "pumavos")
    assert_rows(
        scores, {(video, i): pair for video in ("chair", "skz") for i, pair in MOSE_ROWS.items()}
    )


def test_long_videos_by_hand(tmp_path: Path) -> None:
    """Of five annotated frames three count: for object 1 exact, 8 pixels off, exact; object 2 has
    no pixel in the truth and is found once; object 3 is exact, rightly absent, and missed.
    """
    results = save_long_videos(tmp_path)
    scores = evaluate(tmp_path, results, "long_videos")
    assert_rows(
        scores,
        {
            ("rat", 1): ((2 + HALF_J) / 3, (2 + HALF_F) / 3),
            ("rat", 2): (2 / 3, 2 / 3),
            ("rat", 3): (2 / 3, 2 / 3),
        },
    )
    assert scores == evaluate(tmp_path, results, "long_videos", split="val")
    assert scores.overall["J_recall"] == pytest.approx(2 / 3)


def test_sav_by_hand(tmp_path: Path) -> None:
    """Of five annotated frames three count. Object 1: exact, 8 pixels off, exact. Object 2, which
    overlaps it, is absent at first, in truth and result, so it counts from the next frame on:
    exact, missed. The object of the second video is in no frame that counts.
    """
    results = save_sav(tmp_path)
    scores = evaluate(tmp_path, results, "sav")
    assert_rows(
        scores,
        {
            ("sav_000001", 1): ((2 + HALF_J) / 3, (2 + HALF_F) / 3),
            ("sav_000001", 2): (0.5, 0.5),
        },
    )
    assert scores.overall["J"] == pytest.approx((7 / 9 + 1 / 2) / 2)
    assert scores == evaluate(tmp_path / "sav_val", results, "sav", split="val")
    assert scores == evaluate(tmp_path / "sav_val/Annotations_6fps", results, "sav", workers=2)
    # What is found of object 2 in the frame where the truth is empty, makes it count there.
    write_object(results / "sav_000001/001/00004.png", A)
    assert evaluate(tmp_path, results, "sav").objects["sav_000001", 2]["J"] == pytest.approx(1 / 3)


def test_results_of_objects_lie_in_folders_by_id_too(tmp_path: Path) -> None:
    results = save_sav(tmp_path)
    before = evaluate(tmp_path, results, "sav")
    for folder in list(results.glob("*/*")):
        folder.rename(folder.with_name(f"id{int(folder.name) + 1}"))
    for folder in list(results.glob("*/id*")):
        folder.rename(folder.with_name(folder.name.removeprefix("id")))
    for number in range(17):  # all 24 frames of a second, of which 6 count
        name = f"sav_000001/1/{number:05d}.png"
        if not (results / name).exists():
            write_object(results / name, A)
    assert evaluate(tmp_path, results, "sav") == before


BENCHMARKS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Videos], str | None]] = {
    "lvos": (save_lvos, LVOS, None),
    "mose": (save_mose, lambda root: MOSE(root, "train"), "train"),
    "sav": (save_sav, SAV, None),
    "long_videos": (save_long_videos, LongVideos, None),
    "pumavos": (save_pumavos, PUMaVOS, None),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_test_counts_as_evaluate_does(tmp_path: Path, name: str) -> None:
    """What a model's tracks are scored by is what their PNGs are scored by."""
    save, videos_of, split = BENCHMARKS[name]
    results = save(tmp_path)
    one, other = VideoSegmentation(name), VideoSegmentation(name)
    videos = videos_of(tmp_path)
    assert len(videos) == len(videos.names)
    for video in videos:
        folder = results / video.name
        if isinstance(video.truth, FolderTruth):  # a tracker knows objects by their ids
            for object_id, own in sorted(video.truth.folders.items(), reverse=True):
                (folder / own).rename(folder / str(object_id))
        found = keep_masks(folder, folder, video.frame_names, video.size)
        tracked = []
        for frame in found.annotated():
            note = found.annotation(frame)
            assert note is not None
            tracked.append(
                Result(frame, note.object_ids, note.masks, np.ones(len(note.masks), np.float32))
            )
        score(one, video, tracked[::2])
        score(other, video, tracked[1::2])
    one.merge_state(other)
    scores = evaluate(tmp_path, results, name, split=split)
    ours = {column: value.item() for column, value in one.compute().items()}
    assert ours == pytest.approx(scores.overall, nan_ok=True, abs=1e-12)
    for mine, row in zip(one.per_object().values(), scores.objects.values(), strict=True):
        assert mine == pytest.approx(row)


@pytest.mark.parametrize("name", ["sav", "lvos"])
def test_workers_find_the_same(tmp_path: Path, name: str) -> None:
    results = BENCHMARKS[name][0](tmp_path)
    assert evaluate(tmp_path, results, name, workers=2) == evaluate(tmp_path, results, name)
    files = sorted(results.rglob("*.png"))
    for file in (files[2], files[-2]):
        file.write_bytes(file.read_bytes()[:-30])
    told = []
    for workers in (1, 2):
        with pytest.raises(InputError, match="truncated") as caught:
            evaluate(tmp_path, results, name, workers=workers)
        told.append(str(caught.value))
    assert told[0] == told[1]


BAD: dict[str, tuple[str, Callable[[Path, Path], object], str]] = {
    "a missing frame": (
        "lvos",
        lambda root, results: (results / "seen1/00000006.png").unlink(),
        r"seen1: frame 00000006 missing; write every frame",
    ),
    "a foreign id": (
        "lvos",
        lambda root, results: write_frame(results / "seen1/00000006.png", {5: A}),
        r"holds id 5, but the objects are ids 1, 2 by <split>_meta.json",
    ),
    "a range without masks": (
        "lvos",
        lambda root, results: (root / "valid/Annotations/new1/00000021.png").unlink(),
        r"new1: 1 frames inside the ranges .*, the first is 00000021; of the test split",
    ),
    "a start without a mask": (
        "lvos",
        lambda root, results: (root / "valid/Annotations/seen1/00000011.png").unlink(),
        r"no annotation of frame 00000011, where object 2 starts by valid_meta.json",
    ),
    "no meta": (
        "lvos",
        lambda root, results: (root / "valid/valid_meta.json").unlink(),
        r"not laid out as LVOS, it has no file valid/valid_meta.json; expected",
    ),
    "cut meta": (
        "lvos",
        lambda root, results: (root / "valid/valid_meta.json").write_text('{"videos'),
        r"valid_meta.json: damaged JSON",
    ),
    "a range of words": (
        "lvos",
        lambda root, results: (root / "valid/valid_meta.json").write_text(
            json.dumps({"videos": {"new1": {"objects": {"3": {"frame_range": {"start": "x"}}}}}})
        ),
        r"new1, object 3: its \"start\" is 'x', no frame",
    ),
    "a video of the list without masks": (
        "lvos",
        lambda root, results: shutil.rmtree(root / "valid/Annotations/new1"),
        r"Annotations: 1 of the 2 videos of valid_meta.json are missing, the first is new1",
    ),
    "an object without a result": (
        "sav",
        lambda root, results: shutil.rmtree(results / "sav_000001/001"),
        r"sav_000001: frames 001/00004, 001/00008, 001/00012 missing",
    ),
    "a result of another object": (
        "sav",
        lambda root, results: write_object(results / "sav_000001/007/00004.png", A),
        r"sav_000001: holds objects 0, 7, but the objects are objects 1, 2 by the folders",
    ),
    "one PNG for objects that overlap": (
        "sav",
        lambda root, results: [
            shutil.rmtree(results / "sav_000002"),
            write_frame(results / "sav_000002/00004.png", {}),
        ],
        r"sav_000002: one PNG for all objects, .* \(track with --overlap\)",
    ),
    "folders for objects that do not overlap": (
        "long_videos",
        lambda root, results: [
            shutil.rmtree(results / "rat"),
            write_object(results / "rat/1/00000.png", A),
        ],
        r"rat: a folder for each object, .* \(track without --overlap\)",
    ),
    "another size": (
        "sav",
        lambda root, results: write_labels(
            results / "sav_000001/000/00008.png", np.zeros((64, 95), np.uint8)
        ),
        r"000/00008.png: 95x64 pixels, but its annotation has 96x64",
    ),
    "a video of the list of SA-V": (
        "sav",
        lambda root, results: (root / "sav_val/sav_val.txt").write_text("sav_000001\nsav_000009\n"),
        r"no annotation of sequence sav_000009",
    ),
    "an unknown frame of a dense benchmark": (
        "pumavos",
        lambda root, results: write_frame(results / "skz/frame_000099.png", {}),
        r"skz: frame frame_000099 without annotation",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    name, spoil, message = BAD[case]
    results = BENCHMARKS[name][0](tmp_path)
    spoil(tmp_path, results)
    with pytest.raises(InputError, match=message):
        evaluate(tmp_path, results, name)


SAVED: dict[str, Callable[[Path], object]] = {
    "davis": save_davis,
    "youtube_vos": lambda root: [save_split(root, "valid"), save_split(root, "train")],
    "lvos": save_lvos,
    "mose": lambda root: (
        [save_mose(root, "valid"), shutil.rmtree(root / "results")] and save_mose(root)
    ),
    "sav": save_sav,
    "long_videos": save_long_videos,
    "pumavos": save_pumavos,
}

PROTOCOL = {name: name for name in SAVED} | {"davis": "davis2017"}


@pytest.mark.parametrize("taken_for", SAVED)
@pytest.mark.parametrize("saved", SAVED)
def test_another_benchmark_is_recognised(tmp_path: Path, taken_for: str, saved: str) -> None:
    SAVED[saved](tmp_path)
    if saved == taken_for:
        assert FORMATS[saved].looks(tmp_path)
        return
    with pytest.raises(InputError, match=rf"not laid out as .*it looks like .*as {saved}\)"):
        evaluate(tmp_path, tmp_path / "results", PROTOCOL[taken_for])
