"""The demonstration as a user runs it, and what it promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vosfm.data import VideoFile, read_labels
from vosfm.demo import layers_of
from vosfm.errors import InputError


def test_recipes() -> None:
    assert layers_of("aot_nano") == ("trainer/demo",)
    assert layers_of("stcn_tiny") == ("trainer/demo", "trainer/demo_per_object")
    with pytest.raises(InputError, match="no model 'aot_huge'"):
        layers_of("aot_huge")


SHORTER = "--data.init_args.train.init_args.clips"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_name", "shorter"),
    [
        ("aot_nano", []),
        # Of 700 steps, those that suffice for the margins.
        ("stcn_tiny", [SHORTER, "1600"]),
    ],
)
def test_the_model_beats_what_it_must(model_name: str, shorter: list[str], tmp_path: Path) -> None:
    out = tmp_path / "runs" / "demo"
    run = subprocess.run(
        [sys.executable, "-m", "vosfm.demo", "--model", model_name, "--out", str(out), *shorter],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    print(run.stdout)
    model, cleared, repeated, carried = json.loads((out / "scores.json").read_text()).values()
    assert model["J&F"] >= repeated["J&F"] + 0.20
    assert model["J&F"] >= carried["J&F"] + 0.05
    assert model["J&F"] >= cleared["J&F"] + 0.05
    # `vosfm test` tells the same score as the table.
    told = re.search(r"test/J&F\D+([0-9.]+)", run.stdout)
    assert told is not None
    assert float(told[1]) == pytest.approx(model["J&F"], abs=1e-6)
    clip = VideoFile(out / "clip.mp4")
    assert len(VideoFile(out / "track" / "overlay.mp4")) == len(clip)
    first = read_labels(out / "track" / "00000.png")
    assert (first == read_labels(out / "first.png")).all()
