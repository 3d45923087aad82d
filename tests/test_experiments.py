"""Every sweep under experiments/ names real options, and its first run runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from vosfm import zoo
from vosfm.cli import main

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
def test_a_sweep_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = yaml.safe_load(path.read_text())
    assert sweep["program"] == "vosfm"
    assert sweep["command"][0] == "${program}"
    assert main([*runs(sweep)[0], *FAST]) == 0
