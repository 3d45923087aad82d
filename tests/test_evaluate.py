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
from PIL import Image
from rich.console import Console

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
    "no object": (lambda a, r: empty(a / "seqa/00000.png"), "00000.png: no object in the first"),
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
