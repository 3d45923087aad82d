"""Sweeps read from their folders, and brought together as studies."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from swept import CAPACITY, INTERVAL, SWEEP, intervals, line, swept

from vosfm import InputError
from vosfm.report import Spread, find_sweeps, of_paper, read_results, studies, tabulate
from vosfm.report.study import label, parameter_names
from vosfm.sweeping import outcome, sweep_file
from vosfm.sweeping.folder import Record, SweepFolder
from vosfm.sweeping.trials import expand


def test_seeds_are_one_arm(tmp_path: Path) -> None:
    (study,) = studies([read_results(intervals(tmp_path / "a"))])
    assert (study.name, study.metric) == ("mmpm/update_interval", "val/J&F")
    assert study.varied == (INTERVAL,)
    first, fifth, seventh = study.arms
    spread = first.spread("val/J&F")
    assert spread is not None
    assert spread.mean == pytest.approx(55)
    assert spread.deviation == pytest.approx(5)  # 50, 60, 55: the sample's, not the population's
    assert spread.count == 3
    assert first.evictions == [30, 40, 35]
    assert first.fps == pytest.approx(12)
    assert first.memory_mib == 520
    assert fifth.spread("val/J&F") == Spread(pytest.approx(70), None, 1)
    assert [trial.error for trial in fifth.failed] == ["exit code 1: no"]
    assert not seventh.trials
    assert seventh.parameters[INTERVAL] == 7


def test_an_arm_whose_memory_never_filled(tmp_path: Path) -> None:
    (study,) = studies([read_results(intervals(tmp_path / "a"))])
    assert [study.informative(arm) for arm in study.arms] == [True, False, True]


@pytest.mark.parametrize(("parameter", "matters"), [(CAPACITY, True), ("model.lr", False)])
def test_evictions_matter_where_capacity_varies(
    tmp_path: Path, parameter: str, matters: bool
) -> None:
    lines = [line({parameter: n}, 0.5, evictions=0) for n in (5, 10)]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    assert study.paper is None
    assert [study.informative(arm) for arm in study.arms] == [not matters] * 2


def test_one_seed_that_evicts_is_enough(tmp_path: Path) -> None:
    lines = [line({CAPACITY: n}, 0.5, n, evictions=n) for n in (5, 0)]
    lines += [line({CAPACITY: 5}, 0.5, 9, evictions=0)]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    assert [(arm.evictions, study.informative(arm)) for arm in study.arms] == [
        ([5, 0], True),
        ([0], False),
    ]
    assert tabulate(study).column("evictions") == ("0–5", 0)


def test_unknown_evictions_prove_nothing(tmp_path: Path) -> None:
    lines = [
        line({CAPACITY: 5}, 0.5, 0, evictions=None),
        line({CAPACITY: 5}, 0.5, 1, evictions=0),
        line({CAPACITY: 9}, 0.5, 0, evictions=0),
    ]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    assert [study.informative(arm) for arm in study.arms] == [True, False]


@pytest.mark.parametrize(("last", "same"), [(0.4, True), (0.41, False)])
def test_what_changed_nothing(tmp_path: Path, last: float, same: bool) -> None:
    scores = {(1, 0): 0.3, (1, 1): 0.4, (5, 0): 0.3, (5, 1): last}
    told = [line({INTERVAL: interval}, score, seed) for (interval, seed), score in scores.items()]
    (study,) = studies([read_results(swept(tmp_path / "a", told))])
    assert study.indifferent is same
    assert ("changed nothing" in " ".join(tabulate(study).notes)) is same
    (alone,) = studies([read_results(swept(tmp_path / "b", told[:1]))])
    assert not alone.indifferent


def test_without_a_sweep_file(tmp_path: Path) -> None:
    folder = swept(tmp_path / "aot" / "10a", [line({"model.lr": r}, r) for r in (0.1, 0.2)])
    (study,) = studies([read_results(folder)])
    assert (study.name, study.metric, study.varied) == ("aot/10a", "val/J&F", ("model.lr",))


def test_what_vosfm_sweep_writes_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(SWEEP.format(name="mmpm/update_interval", intervals=[1, 5]))
    sweep = sweep_file.read(path)
    trials = expand(sweep)
    with SweepFolder(tmp_path / "out", sweep, {}) as folder:
        for number, trial in enumerate(trials):
            folder.begin(trial, Record("running"))
            logged = {"val/J&F": number / 10, "val/fps": 8.0, "val/memory_mib": 9.0}
            logged["val/evictions"] = 2.0
            given = (trial.id, trial.parameters, logged, sweep.metric, ["vosfm"], 1.0, "abc")
            failed = Record("failed", "exit code 1")
            record = Record("finished", result=outcome.result(*given)) if number else failed
            folder.write(trial, record)
        folder.collect(trials)
    (study,) = studies([read_results(tmp_path / "out")])
    first, fifth = study.arms
    assert first.values("val/J&F") == pytest.approx([10, 20])
    assert fifth.values("val/J&F") == pytest.approx([30, 40, 50])
    assert (fifth.evictions, fifth.fps, fifth.memory_mib) == ([2, 2, 2], 8, 9)
    assert [trial.error for trial in first.failed] == ["exit code 1"]
    assert [arm.name for arm in study.arms] == ["r = 1", "r = 5"]


def test_small_sweeps_are_called_so(tmp_path: Path) -> None:
    folder = swept(tmp_path / "lvos" / "small" / "banks", [line({"config": "study/x_RG"}, 0.4)])
    (study,) = studies([read_results(folder)])
    assert study.name == "lvos/small/banks"
    assert study.arms[0].name == "RG"


def test_sweeps_of_one_name_are_one_study(tmp_path: Path) -> None:
    file = SWEEP.format(name="own/one", intervals=[1, 5])
    lines = [line({INTERVAL: r}, r / 10, seed) for seed in (0, 1) for r in (1, 5)]
    a = swept(tmp_path / "a", lines[:2], sweep=file)
    b = swept(tmp_path / "b", lines[2:], sweep=file)
    (study,) = studies(map(read_results, (a, b)))
    assert [len(arm.trials) for arm in study.arms if arm.trials] == [2, 2]
    with pytest.raises(InputError, match=r"trial 1-0 stands in .*a too"):
        studies(map(read_results, (a, a)))
    c = swept(tmp_path / "c", lines, sweep=file.replace("own/one", "own/two"))
    assert [one.name for one in studies(map(read_results, (a, c)))] == ["own/one", "own/two"]


def test_sweeps_by_different_metrics(tmp_path: Path) -> None:
    file = SWEEP.format(name="own/one", intervals=[1])
    a = swept(tmp_path / "a", [line({INTERVAL: 1}, 0.5)], sweep=file)
    b = swept(tmp_path / "b", [], sweep=file.replace("val/J&F", "test/J&F"))
    with pytest.raises(InputError, match=r"different metrics, test/J&F, val/J&F"):
        studies(map(read_results, (a, b)))


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such folder"):
        read_results(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no results\.jsonl"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="no trial has finished"):
        studies(
            [read_results(swept(tmp_path / "a", [], sweep=SWEEP.format(name="a", intervals=[1])))]
        )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"trial"', r"results\.jsonl: line 1: damaged JSON"),
        ("[1]", "line 1: holds no trial"),
        ('{"run": "rgl:R:0", "J&F": 0.4}', "line 1: holds no parameters and metrics"),
        ("\n\n\xff", "is no text"),
    ],
)
def test_damaged_results(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "results.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=told):
        read_results(tmp_path)


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    told = line({INTERVAL: 1}, 0.5)
    told["metrics"] |= {"val/V": math.nan, "val/name": "x", "val/flag": True}
    folder = swept(tmp_path / "a", [told])
    (trial,) = read_results(folder).trials
    assert set(trial.metrics) == {"val/J&F", "val/J", "val/F"}


def test_unknown_metric(tmp_path: Path) -> None:
    told = line({INTERVAL: 1}, 0.5)
    told["metrics"] = {"train/loss": 1.0}
    with pytest.raises(InputError, match=r"sweep\.yaml names no metric"):
        studies([read_results(swept(tmp_path / "a", [told]))])


def test_nested_parameters_of_a_grid(tmp_path: Path) -> None:
    sweep = {
        "method": "grid",
        "parameters": {
            "a": {"parameters": {"b": {"values": [1, 2]}, "c": {"value": 3}}},
            "seed_everything": {"values": [0, 1]},
        },
    }
    folder = swept(tmp_path / "a", [line({"a.b": 1, "a.c": 3}, 0.5)], sweep=json.dumps(sweep))
    assert read_results(folder).arms == ({"a.b": 1, "a.c": 3}, {"a.b": 2, "a.c": 3})


def test_short_names() -> None:
    other = CAPACITY.replace("temporal", "global")
    assert parameter_names([INTERVAL, CAPACITY, other]) == {
        INTERVAL: "interval",
        CAPACITY: "temporal.capacity",
        other: "global.capacity",
    }
    assert parameter_names(["lr", "model.lr"]) == {"lr": "lr", "model.lr": "model.lr"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"class_path": "vosfm.search.MemoryTree", "init_args": {"pathways": 3}},
            "MemoryTree(pathways=3)",
        ),
        ({"class_path": "vosfm.search.Greedy"}, "Greedy"),
        ([0.95, 1.05], "[0.95, 1.05]"),
        ({"local": {"class_path": "vosfm.memory.Local"}}, "local: Local"),
        (None, "null"),
        (1e-4, "0.0001"),
        (True, "True"),
    ],
)
def test_values_in_words(value: object, words: str) -> None:
    assert label(value) == words


def test_sweeps_in_a_folder(tmp_path: Path) -> None:
    file = SWEEP.format(name="own/one", intervals=[1])
    for name in ("b", "a/c"):
        swept(tmp_path / name, [line({INTERVAL: 1}, 0.5)], sweep=file)
    swept(tmp_path / "other", [])  # something else that is called results.jsonl
    assert find_sweeps(tmp_path) == [tmp_path / "a" / "c", tmp_path / "b"]
    assert find_sweeps(tmp_path / "b") == [tmp_path / "b"]
    assert find_sweeps(tmp_path / "other") == [tmp_path / "other"]


def test_the_study_of_a_table(tmp_path: Path) -> None:
    file = SWEEP.format(name="mmpm/small/update_interval", intervals=[1])
    small = read_results(swept(tmp_path / "a", [line({INTERVAL: 1}, 0.5)], sweep=file))
    full = read_results(intervals(tmp_path / "b"))
    found = studies([small, full])
    assert of_paper(found, "mmpm/update_interval").name == "mmpm/update_interval"
    assert of_paper(found[:1], "mmpm/update_interval").name == "mmpm/small/update_interval"
    table = tabulate(of_paper([], "sam2long/pathways"))
    assert table.column("arm") == ("P = 1", "P = 2", "P = 3", "P = 4")
    assert table.notes[0] == "None of its arms was run here."
    with pytest.raises(InputError, match="mmpm/9: no such study is published"):
        of_paper(found, "mmpm/9")
