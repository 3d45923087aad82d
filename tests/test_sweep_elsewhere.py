"""Sweeps on a cluster, as submitit runs jobs here, and under W&B's control, which is pretended."""

from __future__ import annotations

import builtins
import json
import os
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from vosfm.cli import main
from vosfm.errors import InputError
from vosfm.report import read_results
from vosfm.sweeping import online, slurm, sweep_file
from vosfm.sweeping.board import Board
from vosfm.sweeping.folder import Record, SweepFolder
from vosfm.sweeping.runner import Runner
from vosfm.sweeping.trials import expand

PROGRAM = """
import os, sys
from pathlib import Path

x = dict(word.split("=", 1) for word in sys.argv[1:])["--x"]
with open("begun.txt", "a") as file:  # relative to where the sweep was started
    file.write(x + "\\n")
folder = Path(os.environ["VOSFM_RUNS"])
(folder / "metrics.csv").write_text(f"step,val/J&F\\n0,0.{x}\\n")
assert not [name for name in os.environ if name.startswith("SUBMITIT_")]
sys.exit("bad" if x == "3" else 0)
"""

SWEEP: dict[str, Any] = {
    "program": "trial.py",
    "command": ["${interpreter}", "${program}", "${args}"],
    "method": "grid",
    "metric": {"name": "val/J&F", "goal": "maximize"},
    "parameters": {"x": {"values": [1, 2, 3]}},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial.py").write_text(PROGRAM)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SWEEP))
    return tmp_path


class Silent(Board):
    def __init__(self) -> None:
        super().__init__([], None, Console(file=StringIO()))


def test_a_terminal_shows_a_live_table(here: Path) -> None:
    trials = expand(sweep_file.read("s.yaml"))
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with Board(trials, "val/J&F", console) as board:
        board.known(trials[0], Record("finished", result={"metrics": {"val/J&F": 0.5}}))
        board.started(trials[1])
        board.started(trials[2])
        board.ended(trials[1], Record("failed", "exit code 1: [bad]"))
    shown = " ".join(screen.getvalue().split())
    assert "1 of 3 finished, 1 failed, 0 waiting" in shown
    assert f"{trials[0].id} finished 0.5" in shown
    assert f"{trials[1].id} failed exit code 1: [bad]" in shown
    assert f"{trials[2].id} running 0" in shown


def submitted(cluster: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Run the sweep; the failed parameters and the results."""
    sweep = sweep_file.read("s.yaml")
    with SweepFolder(Path("out"), sweep, {}) as folder:
        launcher = slurm.Slurm(3, folder.path, {"timeout_min": 5}, cluster)
        failed = Runner(sweep, folder, launcher, (), Silent()).run(expand(sweep))
    rows = Path("out/results.jsonl").read_text().splitlines()
    return [str(trial.parameters["x"]) for trial in failed], [json.loads(row) for row in rows]


@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_trials_are_submitted(cluster: str, here: Path) -> None:
    pytest.importorskip("submitit")
    failed, rows = submitted(cluster)
    assert failed == ["3"]
    assert [row["metrics"]["val/J&F"] for row in rows] == [0.1, 0.2]
    assert all(row["cost"]["seconds"] > 0 for row in rows)
    assert sorted(Path("begun.txt").read_text().split()) == ["1", "2", "3"]


def test_jobs_that_outlive_the_sweep_are_found_again(here: Path) -> None:
    pytest.importorskip("submitit")
    sweep = sweep_file.read("s.yaml")
    (first, second, _) = expand(sweep)
    with SweepFolder(Path("out"), sweep, {}) as folder:
        launcher = slurm.Slurm(1, folder.path, {}, "local")
        runner = Runner(sweep, folder, launcher, (), Silent())
        job = runner._start(first).job
        end = time.monotonic() + 60
        while job.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        # A job of which nothing is left: it is submitted anew.
        folder.begin(second, Record("running"))
        folder.write(second, Record("running", job="999999999"))
    failed, rows = submitted("local")
    assert failed == ["3"]
    assert [row["parameters"]["x"] for row in rows] == [1, 2]
    assert sorted(Path("begun.txt").read_text().split()) == ["1", "2", "3"]


def test_slurm_without_submitit(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "submitit":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["sweep", "s.yaml", "--out=out", "--where=slurm"]) == 2
    assert "pip install 'vosfm[slurm]'" in capsys.readouterr().err


def test_options_of_jobs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("submitit")
    assert main(["sweep", "s.yaml", "--out=out", "--where=slurm", "--slurm=gpu"]) == 2
    assert "--slurm gpu: give KEY=VALUE" in capsys.readouterr().err
    with pytest.raises(InputError, match="--where slurm"):
        slurm.Slurm(1, here, {"timeout_min": "soon", "nonsense": 3}, "slurm")


FAKE = """
import json, os, sys

class Error(Exception):
    pass

def note(*told):
    with open("asked.jsonl", "a") as file:
        file.write(json.dumps(told) + "\\n")

def sweep(config, project):
    if project == "gone":
        raise Error("no network")
    note("sweep", config, project)
    with open("registered.json", "w") as file:
        json.dump(config, file)
    return "abc123"

class Run:
    def __init__(self, name, state, config, summary):
        self.name, self.state, self.config, self.summary = name, state, config, summary

class Sweep:
    def __init__(self, config, runs):
        self.config, self.runs = config, runs

class Api:
    def sweep(self, place):
        note("asked", place)
        if os.environ.get("API_FAILS"):
            raise Error("no network")
        with open("registered.json") as file:
            config = json.load(file)
        logged = {"score": 0.25, "test/fps": 7.0, "test/evictions": 3, "_runtime": 2}
        states = ["finished", os.environ.get("SECOND_ENDS", "finished")]
        return Sweep(config, [
            Run(f"run-{i}", state, {"x": i, "seed_everything": 0}, logged)
            for i, state in enumerate(states)
        ])
"""
AGENT = """
import os, sys
import wandb
wandb.note("agent", sys.argv[1:], os.environ["WANDB_RUN_GROUP"])
sys.exit(int(os.environ.get("AGENT_FAILS", "0")))
"""


@pytest.fixture
def pretended(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package wandb of two functions, in front of the real one."""
    (here / "fake" / "wandb").mkdir(parents=True)
    (here / "fake" / "wandb" / "__init__.py").write_text(FAKE)
    (here / "fake" / "wandb" / "__main__.py").write_text(AGENT)
    path = os.pathsep.join([str(here / "fake"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(here / "fake"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    return here


def asked() -> list[list[Any]]:
    told = [json.loads(line) for line in Path("asked.jsonl").read_text().splitlines()]
    return [one for one in told if one[0] != "asked"]


def test_wandb_gets_the_sweep_and_gives_trials(pretended: Path) -> None:
    told = {**SWEEP, "method": "bayes", "project": "p", "entity": "e", "name": "g"}
    Path("s.yaml").write_text(yaml.safe_dump(told))
    options = ["--out=out", "--where=wandb", "--jobs=2", "--seeds=2"]
    assert main(["sweep", "s.yaml", *options, "--", "--fast"]) == 0
    (first, *agents) = asked()
    assert first[0] == "sweep"
    assert first[1]["parameters"]["seed_everything"] == {"values": [0, 1]}
    assert first[1]["command"][-1] == "--fast"
    assert {k: v for k, v in first[1].items() if k not in ("parameters", "command")} == {
        k: v for k, v in told.items() if k not in ("parameters", "command")
    }
    assert agents == [["agent", ["agent", "--forward-signals", "e/p/abc123"], "g"]] * 2
    assert main(["sweep", "s.yaml", *options, "--", "--fast"]) == 0
    assert [one[0] for one in asked()] == ["sweep", *["agent"] * 4]  # registered once


def test_wandb_tells_the_results(
    pretended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(yaml.safe_dump({**SWEEP, "entity": "e", "project": "p"}))
    command = ["sweep", "s.yaml", "--out=out", "--where=wandb"]
    monkeypatch.setenv("SECOND_ENDS", "crashed")
    with pytest.raises(SystemExit):
        main(command)
    assert "1 trials are finished: out/results.jsonl; 1 failed" in capsys.readouterr().out
    monkeypatch.setenv("SECOND_ENDS", "finished")
    assert main(command) == 0
    results = read_results("out")
    assert [dict(trial.parameters) for trial in results.trials] == [{"x": 0}, {"x": 1}]
    assert [trial.metrics["score"] for trial in results.trials] == [0.25, 0.25]
    assert {(trial.fps, trial.evictions) for trial in results.trials} == {(7.0, 3)}
    monkeypatch.setenv("API_FAILS", "1")
    assert main(command) == 2
    assert "e/p/abc123: W&B does not give this sweep (no network)" in capsys.readouterr().err
    assert read_results("out") == results


def test_wandb_out_of_reach(pretended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(yaml.safe_dump({**SWEEP, "project": "gone"}))
    assert main(["sweep", "s.yaml", "--out=out", "--where=wandb"]) == 2
    assert "does not take the sweep: no network" in capsys.readouterr().err


def test_agents_that_fail(pretended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_FAILS", "1")
    assert online.agents("p/abc", 2, {"WANDB_RUN_GROUP": "g"}) == 2
