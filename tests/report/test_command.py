"""The command, and sweeps that W&B has."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from swept import INTERVAL, intervals

from vosfm import InputError, report
from vosfm.report import read_wandb, studies


def run(*arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    report.main(parser.parse_args(list(map(str, arguments))))


def test_tables_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = intervals(tmp_path / "a")
    run(folder, "--out", tmp_path / "out" / "report")
    told = capsys.readouterr().out
    assert "55.0 ± 5.0" in told
    assert "not informative" in told
    files = sorted(path.name for path in (tmp_path / "out" / "report").iterdir())
    assert files == [f"mmpm_update_interval.{suffix}" for suffix in ("csv", "md", "png", "tex")]


def test_names_lead_nowhere(tmp_path: Path) -> None:
    folder = intervals(tmp_path / "a")
    sweep = folder / "sweep.yaml"
    sweep.write_text(sweep.read_text().replace("mmpm/update_interval", "../../elsewhere"))
    run(folder, "--out", tmp_path / "b" / "out")
    assert {path.stem for path in (tmp_path / "b" / "out").iterdir()} == {"elsewhere"}
    assert not list(tmp_path.glob("elsewhere*"))


def test_beside_another_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = intervals(tmp_path / "a")
    run(folder, "--study", "mmpm/memory_size")
    assert "86.1" not in capsys.readouterr().out
    with pytest.raises(InputError, match=r"--study mmpm/9: no such study.*mmpm/update_interval"):
        run(folder, "--study", "mmpm/9")


def test_nothing_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report"):
        run()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="no such folder can be made"):
        run(intervals(tmp_path / "a"), "--out", file / "out")


class FakeApi:
    """What `wandb.Api` gives of one sweep."""

    def sweep(self, place: str) -> Any:
        if place != "team/vos/abc":
            raise wandb.errors.CommError("no such sweep")
        config = {
            "name": "mmpm/update_interval",
            "method": "grid",
            "metric": {"name": "val/J&F", "goal": "maximize"},
            "parameters": {
                INTERVAL: {"values": [1, 5]},
                "model": {"parameters": {"depth": {"value": 2}}},
                "seed_everything": {"values": [0, 1]},
            },
        }

        def trial(name: str, interval: int, seed: int, state: str, **summary: Any) -> Any:
            given = {
                INTERVAL: interval,
                "model": {"depth": 2},
                "seed_everything": seed,
                "_wandb": {},
            }
            return SimpleNamespace(name=name, config=given, summary=summary, state=state)

        logged = {"val/fps": 9.0, "val/memory_mib": 100.0, "_runtime": 3, "note": "x"}
        runs = [
            trial("a", 1, 0, "finished", **{"val/J&F": 0.5, "val/evictions": 3.0, **logged}),
            trial("b", 1, 1, "finished", **{"val/J&F": 0.7, "val/evictions": 4.0, **logged}),
            trial("c", 5, 0, "crashed"),
            trial("d", 5, 1, "running", **{"val/J&F": 0.1}),
        ]
        return SimpleNamespace(config=config, runs=runs)


def test_wandb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(wandb, "Api", FakeApi)
    results = read_wandb("team/vos/abc")
    (study,) = studies([results])
    first, fifth = study.arms
    assert first.values("val/J&F") == pytest.approx([50, 70])
    assert first.evictions == [3, 4]
    assert (first.fps, first.memory_mib) == (9, 100)
    assert first.parameters == {INTERVAL: 1, "model.depth": 2}
    assert not fifth.trials  # one has crashed, one has not ended
    assert [trial.error for trial in fifth.failed] == ["crashed"]
    run("--wandb", "team/vos/abc")
    assert "60.0 ± 14.1" in capsys.readouterr().out


def test_wandb_has_no_such_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "Api", FakeApi)
    with pytest.raises(InputError, match=r"team/vos/other: W&B does not give this sweep"):
        read_wandb("team/vos/other")
    with pytest.raises(InputError, match="as entity/project/sweep"):
        read_wandb("abc")
