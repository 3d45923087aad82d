"""Sweep files: what W&B takes is taken, the rest is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vosfm import zoo
from vosfm.errors import InputError
from vosfm.sweep import _study
from vosfm.sweeping import command, sweep_file
from vosfm.sweeping.parameters import parameter
from vosfm.sweeping.trials import Trial, expand

EXPERIMENTS = sorted((zoo.CONFIGS.parent / "experiments").rglob("*.yaml"))

VALID: dict[str, Any] = {
    "program": "vosfm",
    "command": ["${program}", "fit", "${args}"],
    "method": "grid",
    "metric": {"name": "val/J&F", "goal": "maximize"},
    "parameters": {"model.lr": {"values": [0.1, 0.2]}, "seed_everything": {"value": 0}},
}


def saved(folder: Path, **changed: Any) -> Path:
    told = {key: value for key, value in {**VALID, **changed}.items() if value is not ...}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    return folder / "sweep.yaml"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_experiment_is_a_sweep_file(path: Path) -> None:
    sweep = sweep_file.read(path)
    command.check(sweep)
    assert sweep.metric is not None
    assert sweep.method != "grid" or expand(sweep)


# What W&B's own schema (wandb/sweeps, config/schema.json) says of each was looked up once.
TAKEN: list[dict[str, Any]] = [
    {},
    {"name": "a", "description": "b", "project": "c", "entity": "d", "run_cap": 3},
    {"metric": {"name": "loss"}},
    {"metric": {"name": "loss", "target": 0.5, "goal": "minimize"}},
    {"metric": ...},
    {"method": "random", "parameters": {"x": {"min": 0, "max": 3}}},
    {"method": "random", "parameters": {"x": {"min": 0.5, "max": 3}}},
    {"method": "random", "parameters": {"x": {"distribution": "normal", "mu": 0, "sigma": 1.5}}},
    {"method": "random", "parameters": {"x": {"distribution": "q_beta", "a": 2, "q": 0.1}}},
    {"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
    {"parameters": {"x": {"parameters": {"y": {"values": [1]}, "z": {"value": 2}}}}},
    {"early_terminate": {"type": "hyperband", "min_iter": 3}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"metod": "grid"}, "no key 'metod'.*did you mean method"),
    ({"method": "all"}, "method is 'all'"),
    ({"method": ...}, "has no method"),
    ({"program": ["vosfm"]}, "program is"),
    ({"parameters": []}, "parameters is"),
    ({"parameters": {}}, "has no parameters"),
    ({"command": "vosfm fit"}, "command is"),
    ({"run_cap": 0}, "run_cap is 0"),
    ({"run_cap": True}, "run_cap is True"),
    ({"metric": "val/J&F"}, "metric is"),
    ({"metric": {"goal": "maximize"}}, "metric: name"),
    ({"metric": {"name": "x", "goal": "max"}}, "goal is 'max'"),
    ({"metric": {"name": "x", "order": 1}}, "metric: no key 'order'"),
    ({"parameters": {"x": 3}}, "x: is 3; give values"),
    ({"parameters": {"a b": {"value": 3}}}, "a b: give a name"),
    ({"parameters": {"x": {"values": []}}}, "give a list of at least one"),
    ({"parameters": {"x": {"values": 3}}}, "values is 3"),
    ({"parameters": {"x": {"min": 1}}}, "has no max"),
    ({"parameters": {"x": {"min": 1, "max": "2"}}}, "max is '2'"),
    ({"parameters": {"x": {"min": 3, "max": 1}}}, "not below max"),
    ({"parameters": {"x": {"min": 3, "max": 4, "q": 1}}}, "q does not go with int_uniform"),
    ({"parameters": {"x": {"values": [1], "value": 2}}}, "values does not go with constant"),
    ({"parameters": {"x": {"distribution": "gauss"}}}, "distribution is 'gauss'"),
    (
        {"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}},
        "above 0",
    ),
    ({"parameters": {"x": {"distribution": "q_normal", "q": 0}}}, "q is 0"),
    ({"parameters": {"x": {"distribution": "normal", "sigma": -1}}}, "sigma is -1"),
    ({"parameters": {"x": {"values": [1, 2], "probabilities": [-1, 2]}}}, "one probability"),
    ({"parameters": {"x": {"parameters": {}}}}, "at least one"),
    ({"parameters": {"x": {"parameters": {"y": {"values": 1}}}}}, "parameters: y: values is 1"),
]
OURS: list[tuple[dict[str, Any], str]] = [
    ({"program": ...}, "has no program"),
    ({"method": "custom"}, "method is 'custom'"),
    ({"method": "bayes", "metric": ...}, "bayes needs"),
    ({"parameters": {"x": {"values": [None, 3]}}}, 'write "null"'),
    ({"parameters": {"x": {"values": [1, 2], "probabilities": [1]}}}, "one probability"),
]
"""What W&B's schema takes and we refuse."""


@pytest.mark.parametrize("changed", TAKEN, ids=str)
def test_taken(changed: dict[str, Any], tmp_path: Path) -> None:
    assert sweep_file.read(saved(tmp_path, **changed)).parameters


@pytest.mark.parametrize(("changed", "message"), [*REFUSED, *OURS], ids=str)
def test_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, **changed)
    with pytest.raises(InputError, match=message) as caught:
        sweep_file.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- a", "", "\x00"])
def test_no_sweep_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=r"s\.yaml"):
        sweep_file.read(tmp_path / "s.yaml")
    with pytest.raises(InputError, match="no such sweep file"):
        sweep_file.read(tmp_path / "t.yaml")


def test_a_grid_is_every_combination_the_last_fastest(tmp_path: Path) -> None:
    told = {
        "b": {"values": ["u", "v"]},
        "outer": {"parameters": {"x": {"min": 1, "max": 2}, "y": {"value": 5}}},
    }
    sweep = sweep_file.read(saved(tmp_path, parameters=told))
    trials = expand(sweep)
    assert [trial.parameters for trial in trials] == [
        {"b": b, "outer.x": x, "outer.y": 5} for b in "uv" for x in (1, 2)
    ]
    assert len({trial.id for trial in trials}) == 4
    assert trials[1].id.startswith("b=u-x=2-")
    again = expand(sweep_file.read(saved(tmp_path, parameters=dict(reversed(told.items())))))
    assert {t.id.rpartition("-")[2] for t in again} == {t.id.rpartition("-")[2] for t in trials}


def test_seeds_take_the_place_of_those_of_the_file(tmp_path: Path) -> None:
    sweep = sweep_file.read(saved(tmp_path)).with_seeds(3)
    told = [tuple(trial.parameters.values()) for trial in expand(sweep)]
    assert told == [(lr, seed) for lr in (0.1, 0.2) for seed in (0, 1, 2)]
    added = sweep_file.read(saved(tmp_path, parameters={"a": {"value": 1}})).with_seeds(2)
    assert [t.parameters["seed_everything"] for t in expand(added)] == [0, 1]
    assert command.words(added, expand(added)[1], (), tmp_path)[-1] == "--seed_everything=1"
    with pytest.raises(InputError, match="--seeds 0"):
        sweep.with_seeds(0)


def test_choices_at_random_stay_the_same(tmp_path: Path) -> None:
    told = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "n": {"values": list(range(1000))},
    }
    sweep = sweep_file.read(saved(tmp_path, method="random", parameters=told))
    five = expand(sweep, trials=5, seed=1)
    assert expand(sweep, trials=9, seed=1)[:5] == five
    assert expand(sweep, trials=5, seed=2) != five
    assert all(1e-4 <= trial.parameters["lr"] <= 1e-1 for trial in five)
    seeded = expand(sweep.with_seeds(2), trials=3)
    assert [t.parameters["seed_everything"] for t in seeded] == [0, 1] * 3
    assert seeded[0].parameters["lr"] == seeded[1].parameters["lr"]
    capped = sweep_file.read(saved(tmp_path, method="random", parameters=told, run_cap=4))
    assert len(expand(capped)) == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "bayes"}, "--where wandb"),
        ({"method": "random"}, "--trials"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3}}, "early_terminate is done by"),
        ({"parameters": {"x": {"min": 0.5, "max": 1.0}}}, "x: uniform has no end"),
        ({"parameters": {"x": {"values": [1, 1]}}}, "stands there twice"),
    ],
)
def test_what_cannot_be_expanded(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        expand(sweep_file.read(saved(tmp_path, **changed)))


@pytest.mark.parametrize(
    ("told", "low", "high", "mean"),
    [
        ({"min": 2, "max": 4}, 2, 4, 3),
        ({"min": 2.0, "max": 4.0}, 2, 4, 3),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 2}, 0, 10, 5),
        ({"distribution": "log_uniform", "min": 0, "max": 2}, 1, np.e**2, (np.e**2 - 1) / 2),
        ({"distribution": "inv_log_uniform", "min": 0, "max": 2}, np.e**-2, 1, 0.4323),
        (
            {"distribution": "log_uniform_values", "min": 1, "max": 10},
            1,
            10,
            9 / np.log(10),
        ),
        ({"distribution": "inv_log_uniform_values", "min": 1, "max": 10}, 1, 10, 9 / np.log(10)),
        ({"distribution": "normal", "mu": 3, "sigma": 0.5}, 0, 6, 3),
        ({"distribution": "log_normal", "mu": 0, "sigma": 0.5}, 0, 10, np.exp(0.125)),
        ({"distribution": "beta", "a": 2, "b": 2}, 0, 1, 0.5),
        ({"values": [0, 10], "probabilities": [1, 3]}, 0, 10, 7.5),
    ],
    ids=str,
)
def test_distributions(told: dict[str, Any], low: float, high: float, mean: float) -> None:
    one = parameter("x", told)
    drawn = [one.draw(np.random.default_rng([7, n])) for n in range(1500)]
    assert low <= min(drawn) <= max(drawn) <= high
    assert np.mean(drawn) == pytest.approx(mean, abs=0.05 * (high - low))
    if told.get("q"):
        assert {value % told["q"] for value in drawn} == {0}
        assert all(isinstance(value, int) for value in drawn)


WORDS = {
    "${args}": ["--a.b=0.5", "--flag=True", "--off=False", "--outer={'x': 1}"],
    "${args_no_equals}": [
        *("--a.b", "0.5", "--flag", "True", "--off", "False", "--outer", "{'x': 1}")
    ],
    "${args_no_hyphens}": ["a.b=0.5", "flag=True", "off=False", "outer={'x': 1}"],
    "${args_no_boolean_flags}": ["--a.b=0.5", "--flag", "--outer={'x': 1}"],
    "${args_json}": ['{"a.b": 0.5, "flag": true, "off": false, "outer": {"x": 1}}'],
    "${args_append_hydra}": ["+a.b=0.5", "+flag=True", "+off=False", "+outer={'x': 1}"],
    "${args_override_hydra}": ["++a.b=0.5", "++flag=True", "++off=False", "++outer={'x': 1}"],
}


@pytest.mark.parametrize("macro", WORDS)
def test_macros_are_expanded_as_agents_do(macro: str, tmp_path: Path) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    told = {
        "a.b": {"value": 0.5},
        "flag": {"value": True},
        "off": {"value": False},
        "outer": {"parameters": {"x": {"value": 1}}},
    }
    sweep = sweep_file.read(saved(tmp_path, parameters=told, command=["${program}", macro]))
    (trial,) = expand(sweep)
    assert command.words(sweep, trial, ["--last"], tmp_path) == ["vosfm", *WORDS[macro], "--last"]
    given = {"a.b": 0.5, "flag": True, "off": False, "outer": {"x": 1}}
    theirs = create_sweep_command_args({"args": {k: {"value": v} for k, v in given.items()}})
    assert theirs[macro[2:-1]] == WORDS[macro]


def test_other_macros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "there")
    given = [
        "${env}",
        "${interpreter}",
        "${program}",
        "--at=${envvar:PLACE}/x",
        "${args_json_file}",
    ]
    sweep = sweep_file.read(saved(tmp_path, program="a.py", command=given))
    trial = Trial("t", {"model.lr": 0.1, "seed_everything": 0})
    command.check(sweep)
    file = str(tmp_path / "arguments.json")
    expected = ["/usr/bin/env", "python", "a.py", "--at=there/x", file]
    assert command.words(sweep, trial, (), tmp_path) == expected
    assert json.loads(command.arguments_file(sweep, trial) or "") == trial.parameters
    default = sweep_file.read(saved(tmp_path, program="a.py", command=...))
    command.check(default)
    assert command.words(default, trial, (), tmp_path)[:3] == ["/usr/bin/env", "python", "a.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["${program}", "${arguments}"], "no macro 'arguments'"),
        (["${program}", "fit"], "the parameters go nowhere"),
        (["${program}", "${args}", "${envvar:NO_SUCH_THING}"], "NO_SUCH_THING is not set"),
        (..., "has no command"),
    ],
)
def test_commands_that_cannot_be_meant(words: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        command.check(sweep_file.read(saved(tmp_path, command=words)))


@pytest.mark.parametrize(
    ("path", "study"),
    [
        ("experiments/mmpm/small/grid.yaml", ("mmpm", "small", "grid")),
        ("experiments/mmpm/grid.yaml", ("mmpm", "grid")),
        ("elsewhere/grid.yaml", ("elsewhere", "grid")),
    ],
)
def test_studies_have_folders_of_their_own(
    path: str, study: tuple[str, ...], tmp_path: Path
) -> None:
    assert _study(tmp_path / path) == study
