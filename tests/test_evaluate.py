"""A folder of results scored as the DAVIS tool does, and bad folders told apart."""

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import goldens
import numpy as np
import pytest
import torch
from models import CONFIG
from PIL import Image
from rich.console import Console
from scenes import save_tiny
from youtube import NAMES, PLACES, SIDE, labels, save_split

from vosfm.cli import main as vosfm
from vosfm.data.masks import read_labels, write_labels
from vosfm.errors import InputError
from vosfm.evaluate import add_arguments, evaluate, main
from vosfm.metrics import VideoSegmentation
from vosfm.metrics.protocols import COLUMNS


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The golden sequences as a DAVIS root and a results folder without the frames at the ends."""
    golden = goldens.load("davis_sequences")
    annotations, results = tmp_path / "DAVIS/Annotations/480p", tmp_path / "results"
    for name in golden.hyper["sequences"]:
        truth, found = golden.inputs[f"gt.{name}"].numpy(), golden.inputs[f"pred.{name}"].numpy()
        (annotations / name).mkdir(parents=True)
        (results / name).mkdir(parents=True)
        for frame in range(len(truth)):
            write_labels(annotations / name / f"{frame:05d}.png", truth[frame])
            if 0 < frame < len(truth) - 1:
                write_labels(results / name / f"{frame:05d}.png", found[frame])
    return annotations, results


def test_equals_the_davis_tool(folders: tuple[Path, Path]) -> None:
    golden = goldens.load("davis_sequences")
    scores = evaluate(*folders)
    order = ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")
    overall = [scores.overall[column] for column in order]
    golden.check("global", torch.tensor(overall, dtype=torch.float64))
    assert [f"{name}_{object_id}" for name, object_id in scores.objects] == golden.info[
        "object_order"
    ]
    for measure in ("J", "F"):
        columns = (measure, f"{measure}_recall", f"{measure}_decay")
        table = [[row[column] for column in columns] for row in scores.objects.values()]
        golden.check(f"{measure}_MRD", torch.tensor(table, dtype=torch.float64))
    assert scores.frames == {"seqa": 10, "seqb": 5}
    for name, row in scores.sequences.items():
        of_sequence = [own["F"] for (other, _), own in scores.objects.items() if other == name]
        assert row["F"] == pytest.approx(np.mean(of_sequence))


def test_equals_the_davis_tool_on_osvos(shared: Path) -> None:
    golden = json.loads((shared / "data/golden_davis/golden_osvos_scores.json").read_text())
    scores = evaluate(
        shared / "data/davis",
        shared / "data/golden_davis/osvos",
        sequences=shared / "data/davis/ImageSets/2017/val.txt",
    )
    assert {f"{name}_{object_id}" for name, object_id in scores.objects} == set(golden["scores"])
    for (name, object_id), row in scores.objects.items():
        for column, value in golden["scores"][f"{name}_{object_id}"].items():
            assert row[column.removesuffix("_mean")] == pytest.approx(value, abs=5.1e-7)


def test_equals_the_class(folders: tuple[Path, Path]) -> None:
    annotations, results = folders
    metric = VideoSegmentation()
    for sequence, name in enumerate(("seqa", "seqb")):
        paths = sorted((annotations / name).glob("*.png"))
        ids = np.arange(1, read_labels(paths[0]).max() + 1)
        for frame, path in enumerate(paths):
            found = results / name / path.name
            truth = read_labels(path)
            pred = read_labels(found) if found.exists() else truth
            of_each = ids[:, None, None]
            metric.update(pred == of_each, truth == of_each, ids, sequence, frame)
    scores = evaluate(annotations, results)
    assert {name: value.item() for name, value in metric.compute().items()} == scores.overall
    assert list(metric.per_object().values()) == list(scores.objects.values())


def test_workers_do_not_change_the_scores(folders: tuple[Path, Path]) -> None:
    assert evaluate(*folders, workers=2) == evaluate(*folders)


def test_davis2016_unites_the_objects(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in folders:
        for path in folder.glob("*/*.png"):
            united = tmp_path / "united" / path.relative_to(tmp_path)
            united.parent.mkdir(parents=True, exist_ok=True)
            write_labels(united, np.where(read_labels(path) > 0, 255, 0))
    united = [tmp_path / "united" / folder.relative_to(tmp_path) for folder in folders]
    scores = evaluate(*folders, protocol="davis2016")
    assert scores.objects == evaluate(*united, protocol="davis2016").objects
    assert list(scores.objects) == [("seqa", 1), ("seqb", 1)]


def test_void_of_the_annotation_is_background(folders: tuple[Path, Path]) -> None:
    annotations, results = folders
    before = evaluate(annotations, results)
    for path in annotations.glob("*/*.png"):
        labels = read_labels(path)
        labels[-1, :] = np.where(labels[-1] == 0, 255, labels[-1])
        write_labels(path, labels)
    assert evaluate(annotations, results) == before


def test_an_object_without_pixels_is_an_empty_mask(folders: tuple[Path, Path]) -> None:
    annotations, results = folders
    for path in (results / "seqa").glob("*.png"):
        write_labels(path, np.where(read_labels(path) == 1, 1, 0))
    scores = evaluate(annotations, results)
    truth = [read_labels(path) for path in sorted((annotations / "seqa").glob("*.png"))[1:-1]]
    assert scores.objects["seqa", 2]["J"] == np.mean([not (labels == 2).any() for labels in truth])


def test_official_decay_is_passed_on(tmp_path: Path) -> None:
    labels = np.zeros((6, 6), dtype=np.uint8)
    labels[2:4, 2:4] = 1
    for folder in ("annotations", "results"):
        (tmp_path / folder / "long").mkdir(parents=True)
        for frame in range(302):
            write_labels(tmp_path / folder / "long" / f"{frame:05d}.png", labels)
    folders = tmp_path / "annotations", tmp_path / "results"
    assert evaluate(*folders).overall["J_decay"] == 0
    assert np.isnan(evaluate(*folders, official=True).overall["J_decay"])


def test_sequences_name_what_is_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    annotations, results = folders
    shutil.rmtree(results / "seqb")
    (results / "unknown").mkdir()
    (tmp_path / "val.txt").write_text("seqa\n\n")
    listed = evaluate(annotations, results, sequences=tmp_path / "val.txt")
    assert listed == evaluate(annotations, results, sequences=["seqa"])
    assert list(listed.sequences) == ["seqa"]


def test_takes_the_root_of_davis(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(tmp_path / "DAVIS", folders[1]) == evaluate(*folders)


def run(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    main(parser.parse_args([str(argument) for argument in arguments]))


def test_command_writes_a_table(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.csv"
    run("--annotations", folders[0], "--results", folders[1], "--out", out)
    scores = evaluate(*folders)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["level", "sequence", "object", "frames", *COLUMNS]
    assert [row["level"] for row in rows] == ["global"] + ["sequence"] * 2 + ["object"] * 5
    assert rows[0]["frames"] == "15"
    expected = [scores.overall, *scores.sequences.values(), *scores.objects.values()]
    for row, values in zip(rows, expected, strict=True):
        assert {column: float(row[column]) for column in COLUMNS} == values
    assert [(row["sequence"], row["object"]) for row in rows[3:]] == [
        (name, str(object_id)) for name, object_id in scores.objects
    ]
    printed = capsys.readouterr().out
    assert "seqa" in printed
    assert f"{100 * scores.overall['J&F']:.1f}" in printed


def test_table_has_a_row_a_sequence(folders: tuple[Path, Path]) -> None:
    file = StringIO()
    Console(width=120, file=file).print(evaluate(*folders).table())
    lines = file.getvalue().splitlines()
    assert sum(line.strip().startswith("seq") and "sequence" not in line for line in lines) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def colored(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").save(path)


def cropped(path: Path) -> None:
    write_labels(path, read_labels(path)[:, 1:])


def foreign(path: Path) -> None:
    labels = read_labels(path)
    labels[0, 0] = 9
    write_labels(path, labels)


def alone(folder: Path) -> None:
    for path in sorted(folder.glob("*.png"))[2:]:
        path.unlink()


def empty(path: Path) -> None:
    write_labels(path, np.zeros_like(read_labels(path)))


BAD: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no results": (lambda a, r: shutil.rmtree(r), "results: no such results folder"),
    "no annotations": (lambda a, r: shutil.rmtree(a), "480p: no such annotation folder"),
    "no sequences": (
        lambda a, r: [shutil.rmtree(f) for f in (*a.iterdir(), *r.iterdir())],
        "480p: no sequence folders",
    ),
    "missing sequence": (lambda a, r: shutil.rmtree(r / "seqb"), "results: sequence seqb missing"),
    "extra sequence": (lambda a, r: (r / "seqc").mkdir(), "results: sequence seqc without"),
    "missing frame": (lambda a, r: (r / "seqa/00003.png").unlink(), "seqa: frame 00003 missing"),
    "missing frames": (
        lambda a, r: [path.unlink() for path in (r / "seqa").iterdir()],
        "seqa: frames 00001, 00002, 00003, 00004, 00005 and 5 more missing",
    ),
    "extra frame": (
        lambda a, r: shutil.copy(r / "seqa/00003.png", r / "seqa/00099.png"),
        "seqa: frame 00099 without annotation",
    ),
    "other size": (
        lambda a, r: cropped(r / "seqa/00003.png"),
        r"seqa/00003.png: 95x72 pixels, but its annotation has 96x72",
    ),
    "foreign id": (
        lambda a, r: foreign(r / "seqa/00003.png"),
        r"seqa/00003.png: holds id 9, but the objects are ids 1, 2",
    ),
    "truncated result": (lambda a, r: cut(r / "seqb/00002.png"), "results/seqb/00002.png: trunc"),
    "truncated annotation": (lambda a, r: cut(a / "seqb/00002.png"), "480p/seqb/00002.png: trunc"),
    "truncated first annotation": (lambda a, r: cut(a / "seqb/00000.png"), "00000.png: trunc"),
    "colors": (
        lambda a, r: colored(r / "seqb/00002.png"),
        r"seqb/00002.png: 8-bit RGB, not an index mask",
    ),
    "no frame": (
        lambda a, r: [path.unlink() for path in (a / "seqa").iterdir()],
        "480p/seqa: no PNG",
    ),
    "no counted frame": (lambda a, r: alone(a / "seqa"), "seqa: 2 annotated frames, none of which"),
    "no object": (
        lambda a, r: empty(a / "seqa/00000.png"),
        "480p: seqa: no object in the first annot",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders(folders: tuple[Path, Path], tmp_path: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(*folders)
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "scores.csv"
    with pytest.raises(InputError, match=message) as caught:
        run("--annotations", folders[0], "--results", folders[1], "--out", out)
    text = str(caught.value)
    assert "\n" not in text
    assert ";" in text  # the remedy
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequences": ["seqa", "seqz"]}, "no annotation of sequence seqz"),
        ({"sequences": "none.txt"}, "none.txt: no readable list"),
        ({"workers": 0}, "workers is 0"),
        ({"protocol": "davis"}, "protocol davis: unknown"),
    ],
)
def test_bad_arguments(folders: tuple[Path, Path], arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(*folders, **arguments)


def test_an_empty_list_is_an_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt: names no sequence"):
        evaluate(*folders, sequences=tmp_path / "val.txt")


def test_out_is_checked_before_the_work(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "none" / "scores.csv"):
        with pytest.raises(InputError, match="cannot be written"):
            run("--annotations", folders[0], "--results", folders[1], "--out", out)


def test_errors_cross_processes(folders: tuple[Path, Path]) -> None:
    cut(folders[1] / "seqb/00002.png")
    with pytest.raises(InputError, match=r"results/seqb/00002\.png: truncated"):
        evaluate(*folders, workers=2)


def test_a_failed_write_leaves_nothing(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = evaluate(*folders)
    (tmp_path / "scores.csv").write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        scores.to_csv(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DAVIS", "results", "scores.csv"]


def shifted(video: str, place: int, **changes: int | None) -> np.ndarray:
    """The true mask, with objects moved down by so many pixels, or left out."""
    mask = labels(video, place)
    for name, down in changes.items():
        object_id = int(name.removeprefix("object"))
        moved = np.roll(mask == object_id, down or 0, axis=0)
        mask[mask == object_id] = 0
        if down is not None:
            mask[moved] = object_id
    return mask


@pytest.fixture
def youtube(tmp_path: Path) -> tuple[Path, Path]:
    """A training split of YouTube-VOS, and results whose scores are known; see `KNOWN`."""
    split, results = save_split(tmp_path, "train", all_frames=True), tmp_path / "results"
    masks = {
        # Of object 3, which is not given before frame 2, nothing counts until frame 3.
        "0a": [
            labels("0a", 0) + 3 * (labels("1b", 1) == 5).astype(np.uint8),
            labels("0a", 1) + 3 * (labels("1b", 1) == 5).astype(np.uint8),
            shifted("0a", 2, object1=1, object3=None),
            labels("0a", 3),
            shifted("0a", 4, object3=None) + (labels("0a", 1) == 1).astype(np.uint8),
        ],
        "1b": [
            shifted("1b", 1, object2=None, object5=None),
            shifted("1b", 1, object2=None, object5=None),
            shifted("1b", 2, object2=1, object5=None),
            shifted("1b", 3, object5=None),
            shifted("1b", 4, object2=-1, object5=None),
        ],
    }
    for video, sequence in masks.items():
        (results / video).mkdir(parents=True)
        for name, mask in zip(NAMES, sequence, strict=True):
            write_labels(results / video / f"{name}.png", mask)
    return split, results


MOVED = (SIDE - 1) / (SIDE + 1)
"""J of a square that is one pixel off; its F is 1, for the tolerance is one pixel."""

KNOWN = {
    ("0a", 1): ([1, MOVED, 1, 0], [1, 1, 1, 0]),  # gone since frame 3, found again in frame 4
    ("0a", 3): ([1, 0], [1, 0]),
    ("1b", 2): ([MOVED, 1, MOVED], [1, 1, 1]),
    ("1b", 5): ([0, 0, 0], [0, 0, 0]),
}
"""J and F of every object in the frames after its first."""


def test_youtube_vos_by_hand(youtube: tuple[Path, Path]) -> None:
    scores = evaluate(*youtube, protocol="youtube_vos")
    assert scores == evaluate(youtube[0] / "Annotations", youtube[1], protocol="youtube_vos")
    j, f = ({key: np.mean(known[at]) for key, known in KNOWN.items()} for at in (0, 1))
    assert {key: row["J"] for key, row in scores.objects.items()} == pytest.approx(j)
    assert {key: row["F"] for key, row in scores.objects.items()} == pytest.approx(f)
    expected = {
        "J_seen": ((2 + MOVED) / 4 + (1 + 2 * MOVED) / 3) / 2,
        "J_unseen": 0.25,
        "F_seen": 0.875,
        "F_unseen": 0.25,
    }
    assert {name: scores.overall[name] for name in expected} == pytest.approx(expected)
    assert scores.overall["G"] == pytest.approx((expected["J_seen"] + 1.375) / 4)
    assert scores.frames == {"0a": 4, "1b": 3}


def test_youtube_vos_with_other_unseen_categories(
    youtube: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "unseen.txt").write_text("cat\n\n")
    scores = evaluate(*youtube, protocol="youtube_vos", unseen=tmp_path / "unseen.txt")
    assert scores == evaluate(*youtube, protocol="youtube_vos", unseen=["cat"])
    assert scores.overall["F_unseen"] == 1
    assert scores.overall["F_seen"] == pytest.approx((0.75 + 0.5 + 0) / 3)


def test_youtube_vos_leaves_out_an_object_that_counts_in_no_frame(
    youtube: tuple[Path, Path],
) -> None:
    meta = json.loads((youtube[0] / "meta.json").read_text())
    meta["videos"]["0a"]["objects"]["3"]["frames"] = [NAMES[4]]
    (youtube[0] / "meta.json").write_text(json.dumps(meta))
    scores = evaluate(*youtube, protocol="youtube_vos")
    assert list(scores.objects) == [("0a", 1), ("1b", 2), ("1b", 5)]
    assert scores.overall["J_unseen"] == 0


def test_youtube_vos_of_the_class(youtube: tuple[Path, Path]) -> None:
    annotations, results = youtube
    one, other = VideoSegmentation("youtube_vos"), VideoSegmentation("youtube_vos")
    for sequence, (video, objects) in enumerate(PLACES.items()):
        ids = list(objects)
        of_each = np.array(ids)[:, None, None]
        for place, name in enumerate(NAMES):
            (one if place % 2 else other).update(
                read_labels(results / video / f"{name}.png") == of_each,
                read_labels(annotations / "Annotations" / video / f"{name}.png") == of_each,
                ids,
                sequence,
                place,
                given=[min(places) for places in objects.values()],
                unseen={3, 5},
            )
    one.merge_state(other)
    scores = evaluate(annotations, results, protocol="youtube_vos")
    assert {name: value.item() for name, value in one.compute().items()} == scores.overall
    assert list(one.per_object().values()) == list(scores.objects.values())
    assert list(one.per_sequence().values()) == list(scores.sequences.values())


def test_command_prints_seen_and_unseen(
    youtube: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, unseen = tmp_path / "scores.csv", tmp_path / "unseen.txt"
    folders = ("--annotations", youtube[0], "--results", youtube[1])
    run("--protocol", "youtube_vos", *folders, "--out", out)
    scores = evaluate(*youtube, protocol="youtube_vos")
    printed = capsys.readouterr().out.splitlines()
    (footer,) = [line.split() for line in printed if line.strip().startswith("global")]
    columns = ["G", "J_seen", "J_unseen", "F_seen", "F_unseen", "J&F", "J", "F"]
    assert footer[2:] == [f"{100 * scores.overall[column]:.1f}" for column in columns]
    assert "G J seen J unseen F seen F unseen J&F J F" in " ".join(" ".join(printed).split())
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[4:] == columns
    assert {column: float(rows[0][column]) for column in columns} == scores.overall
    assert {row["G"] for row in rows[1:]} == {""}
    assert [float(row["J"]) for row in rows[3:]] == [row["J"] for row in scores.objects.values()]
    unseen.write_text("dog\ncat\nanteater\n")
    run("--protocol", "youtube_vos", *folders, "--unseen", unseen)
    assert "nan" in capsys.readouterr().out


def edit_meta(split: Path, change: Callable[[dict], object]) -> None:
    meta = json.loads((split / "meta.json").read_text())
    change(meta["videos"])
    (split / "meta.json").write_text(json.dumps(meta))


BAD_YOUTUBE: dict[str, tuple[Callable[[Path, Path], object], dict, str]] = {
    "no meta.json": (
        lambda a, r: (a / "meta.json").unlink(),
        {},
        "YouTube-VOS, it has no meta.json in train",
    ),
    "cut meta.json": (lambda a, r: (a / "meta.json").write_text("{"), {}, "damaged JSON"),
    "unknown video": (
        lambda a, r: edit_meta(a, lambda videos: videos.pop("0a")),
        {},
        "meta.json: tells of no object of 0a",
    ),
    "no category": (
        lambda a, r: edit_meta(a, lambda videos: videos["0a"]["objects"]["3"].pop("category")),
        {},
        "meta.json: no category of object 3 of 0a",
    ),
    "a start without a mask": (
        lambda a, r: (a / "Annotations/0a/00010.png").unlink(),
        {},
        "0a: no annotation of frame 00010, where objects start by meta.json",
    ),
    "foreign id": (
        lambda a, r: foreign(r / "0a/00015.png"),
        {},
        "0a/00015.png: holds id 9, but the objects are ids 1, 3 by meta.json",
    ),
    "missing frame": (lambda a, r: (r / "0a/00020.png").unlink(), {}, "frame 00020 missing"),
    "all frames": (
        lambda a, r: shutil.copy(r / "0a/00000.png", r / "0a/00001.png"),
        {},
        "0a: frame 00001 without annotation",
    ),
    "first masks only": (
        lambda a, r: [f.unlink() for f in (a / "Annotations/1b").iterdir() if f.stem != "00005"],
        {},
        "1b: 1 annotated frames, none of which youtube_vos counts",
    ),
    "unknown category": (lambda a, r: None, {"unseen": ["emu"]}, "category emu; it has anteater"),
    "DAVIS has no unseen": (
        lambda a, r: None,
        {"unseen": ["cat"], "protocol": "davis2017"},
        "protocol davis2017: knows no unseen categories",
    ),
}


@pytest.mark.parametrize("case", BAD_YOUTUBE)
def test_bad_youtube_vos(youtube: tuple[Path, Path], case: str) -> None:
    spoil, arguments, message = BAD_YOUTUBE[case]
    spoil(*youtube)
    with pytest.raises(InputError, match=message) as caught:
        evaluate(*youtube, **({"protocol": "youtube_vos"} | arguments))
    assert ";" in str(caught.value)  # the remedy


@pytest.mark.parametrize("all_frames", [False, True])
def test_commands_agree_on_youtube_vos(
    youtube: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    all_frames: bool,
) -> None:
    """`test` tells the scores that `evaluate` finds in the masks that `predict` wrote."""
    monkeypatch.chdir(tmp_path)
    save_tiny(Path("weights.pth"))
    data = ("--config", str(CONFIG), "--config", "data/youtube_vos", "--data.init_args.train=null")
    common = (
        *data,
        f"--data.init_args.predict.init_args={{root: {tmp_path}, split: train}}",
        f"--data.init_args.predict.init_args.all_frames={all_frames}",
        "--data.init_args.test=${.predict}",
        "--model.protocol=youtube_vos",
        "--ckpt_path=weights.pth",
    )
    assert vosfm(["test", *common, "--trainer.logger=false"]) == 0
    told = capsys.readouterr().out
    assert vosfm(["predict", *common, "--out=masks"]) == 0
    written = sorted(str(path.relative_to("masks")) for path in Path("masks").rglob("*.png"))
    assert written == [f"{video}/{name}.png" for video in PLACES for name in NAMES]
    scores = evaluate(youtube[0], "masks", protocol="youtube_vos")
    assert 0 < scores.overall["G"] < 1
    for name, value in scores.overall.items():
        (line,) = [line for line in told.splitlines() if f" test/{name} " in line]
        assert float(line.split("\u2502")[2]) == pytest.approx(value, abs=1e-6)
