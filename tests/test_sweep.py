"""Sweeps that are killed, interrupted, fail and go on; trials are a program of a few lines."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from models import CONFIG

from vosfm.cli import main
from vosfm.sweeping import outcome

PROGRAM = """
import os, sys, time
from pathlib import Path

given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
folder = Path(os.environ["VOSFM_RUNS"])
with open("begun.txt", "a") as file:
    file.write(folder.name + "\\n")
if given.get("stubborn"):
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(float(given.get("sleep", 0)))
with open("done.txt", "a") as file:
    file.write(folder.name + "\\n")
if given["x"] == given.get("bad"):
    print("about to fail")
    sys.exit("x is bad\\n")
(folder / "runs").mkdir()
name = given.get("metric", "val/J&F")
rows = f"step,{name},val/evictions,val/fps\\n0,0.1,,\\n1,{float(given['x']) / 100},7,2.5\\n"
if not given.get("mute"):
    (folder / "runs" / "metrics.csv").write_text(rows)
print(os.environ["WANDB_RUN_GROUP"], os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "trial.py").write_text(PROGRAM)
    return tmp_path


def save(folder: Path, trials: int, *words: str, **changed: Any) -> Path:
    """A sweep file with so many trials."""
    told = {
        "program": "trial.py",
        "command": ["${interpreter}", "${program}", *words, "${args}"],
        "method": "grid",
        "metric": {"name": "val/J&F", "goal": "maximize"},
        "parameters": {"x": {"values": list(range(trials))}},
        **changed,
    }
    (folder / "s.yaml").write_text(yaml.safe_dump(told))
    return folder / "s.yaml"


def start(*options: str) -> subprocess.Popen[str]:
    """The command as a user starts it from a shell."""
    command = [sys.executable, "-m", "vosfm", "sweep", "s.yaml", "--out=out", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )


def results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]


def lines(name: str) -> list[str]:
    return Path(name).read_text().splitlines() if Path(name).exists() else []


def wait(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def nobody_is_left() -> bool:
    """Whether the lock that the sweep and all its trials hold is free."""
    with open("out/.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_sweep_killed_in_the_middle_goes_on(here: Path) -> None:
    save(here, 12, "--sleep=0.3")
    first = start("--jobs=2")
    wait(lambda: len(lines("done.txt")) >= 5)
    wait(lambda: len(lines("begun.txt")) >= 7)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait(nobody_is_left)  # trials die with it, in the middle of what they do
    time.sleep(0.4)
    done, begun = len(lines("done.txt")), len(lines("begun.txt"))
    assert 5 <= done < begun < 12
    finished = [p for p in here.glob("out/trials/*/trial.json") if '"finished"' in p.read_text()]
    second = start("--jobs=2")
    assert second.wait(60) == 0
    assert [row["parameters"]["x"] for row in results()] == list(range(12))
    # Each once, but those that the kill caught before their result was written.
    again = {name for name, count in Counter(lines("begun.txt")).items() if count > 1}
    assert len(again) <= 2
    assert not again & {path.parent.name for path in finished}
    assert len(set(lines("done.txt"))) == 12


def test_results_and_nothing_runs_twice(here: Path) -> None:
    save(here, 3, name="group", parameters={"x": {"values": [1, 2, 3]}})
    assert main(["sweep", "s.yaml", "--out=out", "--jobs=2", "--seeds=2"]) == 0
    told = results()
    assert [tuple(row["parameters"].values()) for row in told] == [
        (x, seed) for x in (1, 2, 3) for seed in (0, 1)
    ]
    row = told[2]
    assert row["metrics"] == {"val/J&F": 0.02, "val/evictions": 7, "val/fps": 2.5}
    assert row["evictions"] == 7
    assert row["cost"]["fps"] == 2.5
    assert row["cost"]["memory_mib"] is None
    assert 0 < row["cost"]["seconds"] < 60
    assert row["command"] == ["python", "trial.py", "--x=2", "--seed_everything=0"]
    assert row["versions"]["vosfm"]
    record = json.loads(Path("out/trials", row["trial"], "trial.json").read_text())
    assert record["id"] == row["trial"]
    assert record["parameters"] == row["parameters"]
    assert (record["status"], record["error"]) == ("finished", None)
    share = max(1, (os.cpu_count() or 1) // 2)
    assert Path("out/trials", row["trial"], "log.txt").read_text() == f"group {share}\n"
    before = Path("out/results.jsonl").read_bytes()
    assert main(["sweep", "s.yaml", "--out=out", "--seeds=2"]) == 0
    assert Path("out/results.jsonl").read_bytes() == before
    assert main(["sweep", "s.yaml", "--out=out", "--seeds=3"]) == 0  # more of the same
    assert len(results()) == 9
    assert len(lines("begun.txt")) == 9


def test_ctrl_c_stops_all_and_the_command_goes_on(here: Path) -> None:
    save(here, 5, "--sleep=0.5")
    first = start("--jobs=2")
    wait(lambda: len(lines("done.txt")) >= 1 and len(lines("begun.txt")) >= 3)
    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "vosfm: interrupted" in out
    assert "Traceback" not in out
    assert nobody_is_left()
    begun = len(lines("begun.txt"))
    time.sleep(0.7)
    assert len(lines("done.txt")) < begun
    assert start("--jobs=2").wait(60) == 0
    assert len(results()) == 5


def test_a_trial_that_does_not_stop_is_killed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vosfm.sweeping import local

    monkeypatch.setattr(local, "_GRACE", 0.3)
    (here / "out").mkdir()
    lock = os.open(here / "out" / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    launcher = local.Local(1, lock)
    command = [sys.executable, "trial.py", "--x=1", "--stubborn=1", "--sleep=60"]
    environment = {"VOSFM_RUNS": str(here), "WANDB_RUN_GROUP": ""}
    job = launcher.start(command, here, environment)
    wait(lambda: lines("begun.txt"))
    time.sleep(0.3)
    launcher.stop([job])
    assert job.poll() == -signal.SIGKILL
    os.close(lock)
    assert nobody_is_left()


def test_a_failing_trial_stays_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here, 4, "--bad=1")
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "s.yaml", "--out=out"])
    assert caught.value.code == 1
    assert [row["parameters"]["x"] for row in results()] == [0, 2, 3]
    out = capsys.readouterr().out
    assert "3 of 4 trials are finished" in out
    assert "exit code 1: x is bad" in out.splitlines()[-1]
    (record,) = [
        told
        for path in here.glob("out/trials/*/trial.json")
        if (told := json.loads(path.read_text()))["status"] == "failed"
    ]
    assert record["parameters"] == {"x": 1}
    assert record["error"] == "exit code 1: x is bad"
    # Mended, it alone is tried again.
    (here / "trial.py").write_text(PROGRAM.replace('given.get("bad")', "None"))
    assert main(["sweep", "s.yaml", "--out=out"]) == 0
    assert [row["parameters"]["x"] for row in results()] == [0, 1, 2, 3]
    assert len(lines("begun.txt")) == 5


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--mute=1", "wrote no metrics.csv"),
        ("--metric=val/J", "logged no finite 'val/J&F', the metric of the sweep; it logged val/J"),
    ],
)
def test_a_trial_without_the_metric_failed(
    here: Path, word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(here, 1, word)
    with pytest.raises(SystemExit):
        main(["sweep", "s.yaml", "--out=out"])
    assert message in capsys.readouterr().out
    assert results() == []


def test_a_trial_was_made_by_the_commit_that_it_began_at(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "commit", lambda: str(len(lines("begun.txt"))))
    save(here, 3)
    assert main(["sweep", "s.yaml", "--out=out"]) == 0
    assert [one["commit"] for one in results()] == ["0", "1", "2"]


def test_arguments_behind_the_dashes_reach_every_trial(here: Path) -> None:
    save(here, 2)
    assert main(["sweep", "s.yaml", "--out=out", "--", "--a=1", "--b=2"]) == 0
    assert [row["command"][-2:] for row in results()] == [["--a=1", "--b=2"]] * 2
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "s.yaml", "--nonsense=1"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs=0"], "--jobs 0"),
        (["--trials=3"], "--trials is of random sweeps"),
        (["--slurm=partition=gpu"], "--where slurm alone"),
        (["--out=s.yaml"], "is a file"),
        (["--out=."], "holds no sweep, but other files"),
    ],
)
def test_what_is_refused_has_run_nothing(
    here: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(here, 2)
    assert main(["sweep", "s.yaml", *options]) == 2
    assert message in capsys.readouterr().err
    assert not lines("begun.txt")
    assert {path.name for path in here.iterdir()} == {"s.yaml", "trial.py"}


def test_a_folder_goes_on_as_it_was_begun(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here, 2)
    assert main(["sweep", "s.yaml", "--out=out"]) == 0
    assert main(["sweep", "s.yaml", "--out=out", "--", "--a=1"]) == 2
    assert "was begun with arguments [], not ['--a=1']" in capsys.readouterr().err
    save(here, 3)
    assert main(["sweep", "s.yaml", "--out=out"]) == 2
    assert "was begun with another sweep file" in capsys.readouterr().err
    assert len(lines("begun.txt")) == 2


def test_two_sweeps_on_one_folder_do_not_run_a_trial_twice(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vosfm.sweeping import folder

    monkeypatch.setattr(folder, "_PATIENCE", 0.2)
    save(here, 2, "--sleep=1")
    first = start()
    wait(lambda: lines("begun.txt"))
    assert main(["sweep", "s.yaml", "--out=out"]) == 2
    assert f"another sweep is at work here, process {first.pid}" in capsys.readouterr().err
    assert first.wait(60) == 0
    assert len(lines("begun.txt")) == 2


def test_a_damaged_record_is_none(here: Path) -> None:
    save(here, 2)
    assert main(["sweep", "s.yaml", "--out=out"]) == 0
    (path, _) = sorted(here.glob("out/trials/*/trial.json"))
    path.write_text(path.read_text()[:-20])
    assert main(["sweep", "s.yaml", "--out=out"]) == 0
    assert len(results()) == 2
    assert len(lines("begun.txt")) == 3


@pytest.mark.slow
def test_trainings_are_swept(here: Path) -> None:
    told = {
        "program": "vosfm",
        "command": [
            *("${program}", "fit", "--config", "trainer/default", "--config", str(CONFIG)),
            *("--config", "trainer/fast", "--config", "short.yaml", "${args}"),
        ],
        "parameters": {
            "model.segmenter.init_args.memory.init_args.reader.init_args.radius": {"values": [1, 2]}
        },
    }
    # Relative, to show that trials find what is named from here.
    (here / "short.yaml").write_text("trainer: {max_steps: 2, val_check_interval: 2}\n")
    save(here, 0, **told)
    words = ["--trainer.check_val_every_n_epoch=1", "--trainer.log_every_n_steps=1"]
    assert main(["sweep", "s.yaml", "--out=out", "--seeds=1", "--", *words]) == 0
    rows = results()
    assert [list(row["parameters"].values()) for row in rows] == [[1, 0], [2, 0]]
    for row in rows:
        assert 0 <= row["metrics"]["val/J&F"] <= 1
        assert row["metrics"]["train/loss"] > 0
        assert row["evictions"] == 0
        assert row["cost"]["fps"] > 0
        assert row["cost"]["memory_mib"] > 50
        runs = here / "out" / "trials" / row["trial"] / "runs" / "vosfm" / "version_0"
        assert {"metrics.csv", "config.yaml", "checkpoints"} <= {p.name for p in runs.iterdir()}
    assert {path.name for path in here.iterdir()} == {"s.yaml", "trial.py", "short.yaml", "out"}
