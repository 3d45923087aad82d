"""Every config and every sweep runs, and the commands agree on what they measure."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from models import CONFIG

from vosfm import zoo
from vosfm.cli import main
from vosfm.data import ProceduralVideos, write_labels
from vosfm.evaluate import evaluate

ROOT = zoo.CONFIGS.parent / "experiments"
SWEEPS = sorted(ROOT.glob("*/*.yaml"))

FAST = (
    "--data.init_args.train.init_args.clips=2",
    "--data.init_args.train.init_args.size=[64,64]",
    "--data.init_args.batch_size=2",
    "--data.init_args.num_workers=0",
    "--data.init_args.validate.init_args.length=4",
    "--data.init_args.validate.init_args.seeds=[7]",
    "--trainer.fast_dev_run=1",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def layers(*names: str) -> list[str]:
    return [word for name in names for word in ("--config", name)]


@pytest.mark.parametrize("name", zoo.names())
def test_a_model_runs(name: str) -> None:
    assert main(["fit", *layers(f"model/{name}", "data/procedural"), *FAST]) == 0


@pytest.mark.parametrize("path", sorted(zoo.CONFIGS.glob("trainer/*.yaml")), ids=lambda p: p.stem)
def test_a_trainer_runs(path: Path) -> None:
    # The others go on top of the default; the demonstration's stands alone.
    below = [] if path.stem in ("default", "demo") else ["trainer/default"]
    names = ("model/aot_nano", "data/procedural", *below, f"trainer/{path.stem}")
    assert main(["fit", *layers(*names), *FAST]) == 0


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two rendered videos in the layout of DAVIS."""
    root = tmp_path / "DAVIS"
    videos = ProceduralVideos([3, 4], length=6, size=(64, 80), objects=2)
    for video in videos:
        frames, masks = (
            root / part / "480p" / video.name for part in ("JPEGImages", "Annotations")
        )
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index, frame in enumerate(video.frames()):
            truth = video.annotation(index)
            assert truth is not None
            labels = np.zeros(video.size, np.uint8)
            for object_id, mask in zip(truth.object_ids, truth.masks, strict=True):
                labels[mask] = object_id
            cv2.imwrite(str(frames / f"{index:05d}.jpg"), frame[..., ::-1])
            write_labels(masks / f"{index:05d}.png", labels)
    sets = root / "ImageSets" / "2017"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("".join(f"{video.name}\n" for video in videos))
    return root


def test_commands_agree(davis: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`test` tells the scores that `evaluate` finds in the masks that `predict` wrote."""
    common = [*layers(str(CONFIG), "data/davis"), f"--data.init_args.test.init_args.root={davis}"]
    assert main(["test", *common, "--trainer.logger=false"]) == 0
    told = capsys.readouterr().out
    assert main(["predict", *common, "--out=masks"]) == 0
    scores = evaluate(davis / "Annotations" / "480p", Path("masks"), "davis2017")
    assert len(scores.objects) == 4
    for name in ("J&F", "J", "F"):
        (line,) = [line for line in told.splitlines() if f" test/{name} " in line]
        number = float(line.split("\u2502")[2])
        assert number == pytest.approx(scores.overall[name], abs=1e-6)


def runs(sweep: dict[str, Any]) -> list[list[str]]:
    """The command line of every run of a grid sweep, without the program."""
    names = list(sweep["parameters"])
    grid = product(*(sweep["parameters"][name]["values"] for name in names))
    lines = []
    for values in grid:
        chosen = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
        words = sweep["command"][1:]
        lines.append([w for word in words for w in (chosen if word == "${args}" else [word])])
    return lines


def test_there_are_sweeps() -> None:
    assert SWEEPS


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_sweep_runs(path: Path) -> None:
    sweep = yaml.safe_load(path.read_text())
    assert sweep["program"] == "vosfm"
    assert sweep["command"][0] == "${program}"
    assert main([*runs(sweep)[0], *FAST]) == 0
