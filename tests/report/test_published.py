"""The published numbers: what they say of themselves, and which arms they belong to."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from swept import INTERVAL

from vosfm import peers, zoo
from vosfm.report import published
from vosfm.report.published import Published, study_of
from vosfm.report.results import grid

METRICS = {
    **dict.fromkeys(("J&F", "J", "F", "V"), (0, 100)),
    "fps": (0, 1000),
    "memory_gb": (0, 80),
    "speed": (0, 1),
}
NOT_SMALL = {("aot/identities", "M = 15")}
"""Arms of the paper that a small sweep leaves out."""


def test_every_number_says_where_it_is_from() -> None:
    numbers = [number for study in published().values() for number in study.numbers]
    assert len(numbers) > 40
    for number in numbers:
        least, most = METRICS[number.metric]
        assert least < number.value <= most, number
        assert number.paper in ("MUG-VOS", "LVOS", "AOT", "SAM2Long", "the authors' releases")
        assert number.benchmark
        assert number.table is not None or number.study.endswith(("/main", "real_video/models"))
    keys = [(n.study, n.arm, n.benchmark, n.metric) for n in numbers]
    assert len(set(keys)) == len(keys)


def test_some_numbers_as_read() -> None:
    def value(study: str, arm: str, metric: str = "J&F") -> float:
        (found,) = {
            n.value for n in published()[study].numbers if n.arm == arm and n.metric == metric
        }
        return found

    assert value("mmpm/update_interval", "r = 5") == 86.1
    assert value("sam2long/pathways", "P = 3", "speed") == 0.82
    assert value("mug_vos/methods", "DEVA") == 85.6
    assert value("aot/layers", "L = 3") == 80.9


@pytest.mark.parametrize("small", [False, True])
def test_every_arm_is_one_of_an_experiment(small: bool) -> None:
    matched = 0
    for name, study in published().items():
        system, _, table = name.partition("/")
        path = zoo.CONFIGS.parent / "experiments" / system / ("small" if small else "") / table
        numbers = [number for number in study.numbers if number.where]
        if system == "real_video" or (small and system == "mug_vos"):
            continue  # a sweep for each model; peers are not trained, and have no small sweep
        for number in numbers:
            arms = list(grid(yaml.safe_load(path.with_suffix(".yaml").read_text())))
            expected = 0 if small and (name, number.arm) in NOT_SMALL else 1
            assert sum(number.matches(arm) for arm in arms) == expected, number
            matched += 1
    assert matched > 20


def test_peers_are_called_as_we_do() -> None:
    numbers = published()["mug_vos/methods"].numbers
    assert {n.where["peer"] for n in numbers if n.where} <= set(peers.NAMES)
    assert {n.arm.lower() for n in numbers if not n.where} <= set(zoo.names())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("mmpm/grid", "mmpm/grid"),
        ("mmpm/small/grid", "mmpm/grid"),
        ("a/mmpm/b/grid", "mmpm/grid"),
        ("other/grid", None),
        ("grid", None),
    ],
)
def test_which_table_a_sweep_repeats(name: str, key: str | None) -> None:
    study = study_of(name)
    assert (None if study is None else study.name) == key


@pytest.mark.parametrize(
    ("where", "parameters", "joined"),
    [
        ({"temporal.interval": 5}, {INTERVAL: 5}, True),
        ({"temporal.interval": 5}, {INTERVAL: 5.0, "lr": 1}, True),
        ({"temporal.interval": 5}, {INTERVAL: 3}, False),
        ({"temporal.interval": 5}, {INTERVAL.replace("temporal", "x_temporal"): 5}, False),
        ({"interval": 5, "lr": 1}, {INTERVAL: 5}, False),
        ({"interval": 5, "lr": 1}, {INTERVAL: 5, "lr": 1}, True),
        ({"modulation": [1, 1]}, {"model.search.init_args.modulation": [1.0, 1.0]}, True),
        ({"oracle": None}, {"model.oracle": "null"}, True),
        ({"oracle": None}, {}, False),
        ({"config": "*_R"}, {"config": "study/ddmemory_nano_R"}, True),
        ({"config": "*_R"}, {"config": "study/ddmemory_nano_GR"}, False),
        ({}, {INTERVAL: 5}, False),
    ],
)
def test_joining(where: dict[str, Any], parameters: dict[str, Any], joined: bool) -> None:
    number = Published("a/b", "P", "1", "B", "arm", "J&F", 50.0, where)
    assert number.matches(parameters) is joined
