"""The four ablations of the MUG-VOS paper are arguments of a config, nothing else."""

from __future__ import annotations

from typing import Any

import pytest

import vosfm
from vosfm.memory import Affinity, Temporal

BANKS = ("temporal", "sequential")


def mmpm(**memory: Any) -> vosfm.Segmenter:
    return vosfm.build("mmpm_tiny", memory=memory)


def temporal(segmenter: vosfm.Segmenter) -> Temporal:
    bank = segmenter.memory.banks["temporal"]
    assert isinstance(bank, Temporal)
    return bank


@pytest.mark.parametrize("interval", [1, 3, 5])
def test_update_interval(interval: int) -> None:
    banks = {name: {"interval": interval} for name in BANKS}
    segmenter = mmpm(banks=banks)
    assert [segmenter.memory.banks[name].interval for name in BANKS] == [interval, interval]


@pytest.mark.parametrize("capacity", [5, 10, 15])
def test_memory_size(capacity: int) -> None:
    assert temporal(mmpm(banks={"temporal": {"capacity": capacity}})).capacity == capacity


@pytest.mark.parametrize("policy", ["keep_first_last", "fifo", "random", "none"])
def test_filtering(policy: str) -> None:
    assert temporal(mmpm(banks={"temporal": {"policy": policy}})).policy == policy


@pytest.mark.parametrize(
    ("matched", "state"),
    [([], None), ([], "sequential"), (["temporal"], None), (["temporal"], "sequential")],
)
def test_memory_type(matched: list[str], state: str | None) -> None:
    readouts = [128, 32] if state else [128]
    segmenter = vosfm.build(
        "mmpm_tiny",
        memory={"reader": {"matched": matched, "state": state}},
        decoder={"readouts": readouts},
    )
    assert isinstance(segmenter.memory.reader, Affinity)
    assert segmenter.memory.reader.reads == (*matched, *([state] if state else []))
