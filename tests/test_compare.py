"""A model beside its baselines: what is counted, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models import CONFIG, tiny
from rich.table import Table

from vosfm.baselines import repeat
from vosfm.compare import by_video, compare, main, tabulate
from vosfm.data import ProceduralVideos
from vosfm.metrics import VideoSegmentation
from vosfm.task import score


def _cells(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in column.cells] for column in table.columns]


def test_tables_set_the_model_beside_the_others() -> None:
    scores = {
        name: {"J&F": value, "J": value, "F": value, "run": value / 2, "walk": value}
        for name, value in {"model": 0.6, "repeat": 0.25, "flow": 0.75}.items()
    }
    cells = _cells(tabulate(scores, "Scenes"))
    assert cells[0] == ["model", "repeat", "flow"]
    assert cells[1] == ["60.0", "25.0", "75.0"]
    assert cells[-1] == ["", "+35.0", "-15.0"]
    rows = _cells(by_video(scores, ["run", "walk"]))
    assert rows == [["run", "walk"], ["30.0", "60.0"], ["12.5", "25.0"], ["37.5", "75.0"]]


def test_scores_are_those_of_all_videos_together(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "tiny.pth")
    videos = list(ProceduralVideos([1, 2, 3], length=6, size=(64, 64), objects=2))
    scores = compare(str(CONFIG), tmp_path / "tiny.pth", videos)
    assert len(scores) == 4
    metric = VideoSegmentation("davis2017")
    for video in videos:
        score(metric, video, repeat(video.frames(), video.prompts()))
    expected = {key: float(value) for key, value in metric.compute().items()}
    for key, value in expected.items():
        assert scores["first mask repeated"][key] == pytest.approx(value, abs=1e-6)
    assert all({video.name for video in videos} <= set(values) for values in scores.values())


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(tmp_path), "--model", "aot_nano", "--checkpoint", str(tmp_path / "no.pth")]
    assert main(command) == 1
    assert "not laid out as DAVIS" in capsys.readouterr().err
