"""The demonstration as a user runs it, and what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vosfm import demo
from vosfm.data import VideoFile, read_labels


def test_table_sets_the_model_beside_the_others() -> None:
    scores = {
        name: {"J&F": value, "J": value, "F": value}
        for name, value in {"model": 0.6, "repeat": 0.25, "flow": 0.75}.items()
    }
    table = demo.tabulate(scores)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["model", "repeat", "flow"]
    assert cells[1] == ["60.0", "25.0", "75.0"]
    assert cells[-1] == ["", "+35.0", "-15.0"]


@pytest.mark.slow
def test_the_model_beats_what_it_must(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "demo"
    run = subprocess.run(
        [sys.executable, "-m", "vosfm.demo", "--out", str(out)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    print(run.stdout)
    model, cleared, repeated, carried = json.loads((out / "scores.json").read_text()).values()
    assert model["J&F"] >= repeated["J&F"] + 0.20
    assert model["J&F"] >= carried["J&F"] + 0.05
    assert model["J&F"] >= cleared["J&F"] + 0.05
    # `vosfm test` tells the same score as the table.
    assert f"{model['J&F']:.4f}"[:5] in run.stdout
    clip = VideoFile(out / "clip.mp4")
    assert len(VideoFile(out / "track" / "overlay.mp4")) == len(clip)
    first = read_labels(out / "track" / "00000.png")
    assert (first == read_labels(out / "first.png")).all()
