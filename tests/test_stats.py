"""`vosfm stats` over a small dataset."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from truths import MemoryTruth, boxes

from vosfm.cli import main
from vosfm.data.datasets import Videos
from vosfm.data.formats.format import FORMATS, Format
from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.errors import InputError
from vosfm.stats import statistics


class Damaged(MemoryTruth):
    """Its second frame cannot be read."""

    def masks(self, place: int) -> Mask:
        if place == 1:
            raise InputError("clip/00001.png: truncated or damaged PNG; write it again")
        return super().masks(place)


def clips(root: Path, split: str | None, wanted: Sequence[str] | None) -> list[Truth]:
    generator = np.random.default_rng(0)
    every: list[Truth] = [
        MemoryTruth(
            generator.random((4, 2, 30, 40)) > 0.7,
            [1, 2],
            name=f"clip{index}",
            overlapping=True,
            attributes=frozenset({"BC"} if index else ()),
        )
        for index in range(3)
    ]
    every.append(MemoryTruth(boxes([None, None]), [1], name="empty", ranges={1: ()}))
    if split == "damaged":
        every.insert(1, Damaged(boxes([(0, 0, 3, 3)] * 3), [1]))
    return [truth for truth in every if wanted is None or truth.name in wanted]


def no_videos(root: Path, split: str | None) -> Videos:
    raise AssertionError("statistics need no pictures")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Format("clips", "Clips", "clips", "val", no_videos, clips, lambda root: None)
    monkeypatch.setitem(FORMATS, "clips", entry)


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_tables_and_files_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "statistics"
    assert main(["stats", "root", "--format", "clips", "--out", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == [
        "dataset.json",
        "objects.csv",
        "sequences.csv",
    ]
    dataset = json.loads((out / "dataset.json").read_text())
    with (out / "sequences.csv").open(newline="") as file:
        sequences = list(csv.DictReader(file))
    with (out / "objects.csv").open(newline="") as file:
        objects = list(csv.DictReader(file))
    assert dataset["videos"] == len(sequences) == 4
    assert dataset["tracks"] == len(objects) == 7
    for column in ("masks", "frames"):
        whole = dataset["masks" if column == "masks" else "annotated_frames"]
        assert sum(int(row[column]) for row in sequences) == whole
    assert sum(int(row["masks"]) for row in objects) == dataset["masks"] == 24
    assert dataset["density"] == pytest.approx(0.51, abs=0.02)  # 1 - 0.7 * 0.7
    assert dataset["named"] == {"BC": 2}
    assert sum(dataset["mask_area"]["counts"]) == 24
    assert sequences[0]["density"] == repr(float(sequences[0]["density"]))
    shown = capsys.readouterr().out
    assert "Clips" in shown
    assert f"{dataset['density']:.3f}" in shown


def test_one_file_alone(tmp_path: Path) -> None:
    main(["stats", "root", "--format", "clips", "--out", str(tmp_path / "all.csv")])
    main(["stats", "root", "--format", "clips", "--out", str(tmp_path / "all.json")])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.csv", "all.json"]
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 5


def test_a_dataset_without_a_mask_is_valid_json(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("empty\n")
    out = tmp_path / "all.json"
    line = ["stats", "root", "--format", "clips", "--sequences", str(names), "--out", str(out)]
    assert main(line) == 0
    assert json.loads(out.read_text())["density"] is None


def test_processes_change_nothing(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        line = ["stats", "root", "--format", "clips", "--workers", workers]
        assert main([*line, "--out", str(tmp_path / workers)]) == 0
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()


def test_a_damaged_file_is_named_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["stats", "root", "--format", "clips", "--split", "damaged"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 2
    assert error(capsys).endswith("clip/00001.png: truncated or damaged PNG; write it again")
    assert not list(tmp_path.iterdir())


def test_sequences_are_described_one_by_one() -> None:
    found = statistics(clips(Path(), "damaged", None))
    assert next(found).name == "clip0"
    with pytest.raises(InputError, match="damaged PNG"):
        next(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "nothing"], "format nothing: unknown; choose one of"),
        (["--format", "clips", "--workers", "0"], "workers is 0: give at least 1"),
        (["--format", "clips", "--out", "nowhere/all.csv"], "nowhere/all.csv: cannot be written"),
        (["--format", "clips", "--out", "nowhere/all"], "nowhere/all: no such folder can be made"),
        (["--format", "clips", "--sequences", "nowhere.txt"], "nowhere.txt: no readable list"),
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
    assert main(["stats", "root", *options]) == 2
    assert message in error(capsys)
