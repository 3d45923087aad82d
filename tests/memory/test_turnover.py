"""Evictions: counted by hand for every policy, and none where nothing had to go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import tiny, video

import vosfm
from vosfm.memory import Pointers, Selective, Temporal, Working
from vosfm.memory.banks.policies import Policy
from vosfm.memory.turnover import evictions
from vosfm.types import Contents, Entry, When


class _One:
    """A memory of one bank."""

    def __init__(self, bank: object) -> None:
        self.banks = {"bank": bank}


def entry(time: int) -> Entry:
    leaf = torch.full((1, 2, 3), float(time))
    return Entry(rows={"value": leaf, "pointer": leaf})


def counted(bank: object, frames: int) -> list[int]:
    """Evictions of every frame of a stream whose first frame is given."""
    contents, told = Contents(), []
    for time in range(frames):
        when = When(time, given=time == 0)
        before = contents
        contents, _ = bank.write(before, entry(time), when)  # type: ignore[attr-defined]
        told.append(
            evictions(_One(bank), {"bank": before}, {"bank": contents}, when)  # type: ignore[arg-type]
        )
    return told


@pytest.mark.parametrize("policy", ["keep_first", "keep_first_last", "fifo", "random", "none"])
def test_every_policy_of_a_full_bank_gives_up_one_frame_a_turn(policy: Policy) -> None:
    told = counted(Temporal(interval=2, capacity=3, policy=policy), 13)
    # 0, 2 and 4 find room; of 6, 8, 10 and 12 each, one frame has to go, or is turned away.
    assert [time for time, count in enumerate(told) if count] == [6, 8, 10, 12]
    assert sum(told) == 4


def test_a_bank_that_is_never_full_gives_up_nothing() -> None:
    assert sum(counted(Temporal(interval=2, capacity=7), 13)) == 0
    assert sum(counted(Temporal(interval=2), 13)) == 0


def test_banks_of_the_last_frames() -> None:
    # The given frame is no entry of theirs: frames 1 to 6 find room in a bank of 6.
    assert [t for t, count in enumerate(counted(Selective(6), 10)) if count] == [7, 8, 9]
    assert [t for t, count in enumerate(counted(Pointers(4), 6)) if count] == [4, 5]


def test_a_working_memory_gives_up_several_at_once() -> None:
    class Used(Working):
        def write(self, contents: Contents, one: Entry, when: When):  # type: ignore[no-untyped-def]
            key = torch.zeros(1, 4, 2)
            return super().write(contents, Entry(one.rows, {"key": key}), when)

    told = counted(Used(interval=1, capacity=4, keep=2), 8)
    assert [(t, count) for t, count in enumerate(told) if count] == [(3, 2), (5, 2), (7, 2)]


def test_a_tracker_counts_its_stream() -> None:
    """Of all views of an augmented model once, and of banks of the newest frame nothing."""
    frames = video(9)
    mask = np.zeros((64, 96), bool)
    mask[20:40, 20:40] = True
    segmenter = tiny()
    assert evicted(segmenter, frames, mask) == 0
    bank = Temporal(interval=1, capacity=4)
    segmenter.memory.banks["reference"] = bank
    assert evicted(segmenter, frames, mask) == 5
    assert evicted(vosfm.augment(segmenter, flip=True), frames, mask) == 5


def evicted(segmenter: vosfm.Segmenter, frames: list[np.ndarray], mask: np.ndarray) -> int:
    tracker = vosfm.Tracker(segmenter)
    for _ in tracker.track(frames, {0: {1: mask}}):
        pass
    return tracker.evictions
