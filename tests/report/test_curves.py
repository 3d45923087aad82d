"""Curves of a run, and the notebook that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import square, video

from vosfm import InputError, zoo
from vosfm.data import VideoWriter
from vosfm.data.drawing import overlay
from vosfm.report import plot_training, read_metrics

CSV = "epoch,step,train/loss,val/J&F\n0,9,1.5,\n0,19,1.0,\n0,19,,0.25\n1,29,0.5,\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a demonstration."""
    folder = tmp_path / "runs" / "demo"
    (folder / "fit").mkdir(parents=True)
    (folder / "fit" / "metrics.csv").write_text(CSV)
    (folder / "track").mkdir()
    with VideoWriter(folder / "track" / "overlay.mp4") as writer:
        for frame in video(4):
            writer.write(overlay(frame, square(0, 0)[None], (1,)))
    return folder


def test_read(run: Path) -> None:
    curves = read_metrics(run / "fit")
    assert curves == {
        "train/loss": ([9, 19, 29], [1.5, 1.0, 0.5]),
        "val/J&F": ([19], [0.25]),
    }
    assert curves == read_metrics(run / "fit" / "metrics.csv")


def test_plot(run: Path) -> None:
    loss, score = plot_training(run / "fit").axes
    assert loss.lines[0].get_xydata().tolist() == [[9, 1.5], [19, 1.0], [29, 0.5]]
    assert score.lines[0].get_xydata().tolist() == [[19, 0.25]]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv: no such file"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column named step"):
        read_metrics(tmp_path)


def test_the_notebook_runs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((zoo.CONFIGS.parent / "notebooks" / "first_light.ipynb").read_text())
    place = run.parents[1] / "notebooks"
    place.mkdir()
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["frames"]) == 4
