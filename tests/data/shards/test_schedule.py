"""Who sees which sample when: properties of the numbers, for many sizes of everything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.random import Generator

from vosfm.data.shards.schedule import Schedule, shuffled
from vosfm.errors import InputError

CASES = [
    (Schedule((7, 1, 0, 12, 5), ranks=2, batch=3, seed=0), 2),
    (Schedule((4, 4, 4), ranks=3, batch=4, seed=1), 2),
    (Schedule((30,), ranks=2, batch=2, seed=2, spares=4), 3),
    (Schedule((0, 11, 9), ranks=1, batch=1, seed=3, spares=1), 1),
    (Schedule((25, 25, 25, 25), ranks=8, batch=3, seed=4, spares=9), 7),
    (Schedule((9, 10), ranks=2, batch=4, seed=5), 5),
]
"""Schedules, and numbers of workers; of the last, more workers than batches."""


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Schedule, int]:
    schedule, workers = request.param
    return schedule, workers


def test_an_epoch_shows_every_sample_once_but_the_remainder(case: tuple[Schedule, int]) -> None:
    schedule, workers = case
    for number in range(4):
        epoch = schedule.epoch(number)
        parts = [
            epoch.part(rank, worker, workers)
            for rank in range(schedule.ranks)
            for worker in range(workers)
        ]
        seen = np.concatenate([part.numbers for part in parts])
        spared = np.concatenate([part.spares for part in parts])
        assert len(spared) == schedule.remainder >= schedule.spares
        assert schedule.remainder < schedule.spares + schedule.ranks * schedule.batch
        everything = np.sort(np.concatenate([seen, spared]))
        assert everything.tolist() == list(range(schedule.samples))
        assert np.array_equal(np.sort(spared), np.sort(epoch.left_out))
        assert np.ptp([len(part.spares) for part in parts]) <= 1


def test_all_ranks_take_the_same_number_of_steps(case: tuple[Schedule, int]) -> None:
    schedule, workers = case
    for rank in range(schedule.ranks):
        parts = [schedule.epoch(1).part(rank, worker, workers) for worker in range(workers)]
        for worker, part in enumerate(parts):
            assert part.batches == len(range(worker, schedule.steps, workers))
            assert len(part.numbers) == part.batches * schedule.batch
        assert sum(part.batches for part in parts) == schedule.steps
    whole = (schedule.samples - schedule.spares) // (schedule.ranks * schedule.batch)
    assert schedule.steps == whole


def test_nothing_is_left_out_twice_before_everything_was_once(case: tuple[Schedule, int]) -> None:
    schedule, _ = case
    if not schedule.remainder:
        assert not schedule.epoch(3).left_out.size
        return
    epochs = -(-schedule.samples // schedule.remainder)
    windows = [schedule.epoch(number).left_out for number in range(3 * epochs)]
    counts = np.zeros(schedule.samples, int)
    for window in windows:
        assert len(set(window.tolist())) == schedule.remainder
        counts[window] += 1
        # Once the first is left out again, all have been.
        assert counts.max() - counts.min() <= 1
    assert counts.min() >= 3


def test_every_rank_opens_few_shards() -> None:
    schedule = Schedule((50,) * 40, ranks=8, batch=5, seed=0, spares=20)
    for number in range(5):
        opened = []
        for rank in range(8):
            read = schedule.epoch(number).part(rank).read
            (edges,) = np.nonzero(np.diff(read[:, 0]))
            order = read[np.concatenate([[0], edges + 1]), 0].tolist()
            assert len(set(order)) == len(order), "a shard is opened once"
            inside = np.diff(read[:, 1])[np.diff(read[:, 0]) == 0]
            assert (inside > 0).all(), "from front to back"
            opened.append(len(order))
        assert max(opened) <= 40 / 8 + 2
        assert sum(opened) <= 40 + 8


def test_ranks_lie_end_to_end_whatever_the_workers() -> None:
    schedule = Schedule((13, 17, 8, 22), ranks=3, batch=2, seed=7)
    epoch = schedule.epoch(2)
    for workers in (1, 2, 5):
        parts = [epoch.part(rank, w, workers) for rank in range(3) for w in range(workers)]
        assert np.array_equal(np.concatenate([part.numbers for part in parts]), epoch.order)


def test_epochs_and_seeds_permute_the_shards_the_same_way_in_every_run() -> None:
    def orders(seed: int) -> list[list[int]]:
        schedule = Schedule((3,) * 12, ranks=1, batch=1, seed=seed)
        found = []
        for number in range(4):
            part = schedule.epoch(number).part(0)
            found.append(part.read[:, 0].tolist() + part.order(5).tolist())
        return found

    first = orders(0)
    assert first == orders(0)
    assert len({tuple(order) for order in [*first, *orders(1)]}) == 8


def test_places_are_shard_and_place_of_canonical_numbers() -> None:
    schedule = Schedule((2, 0, 3, 0), ranks=1, batch=1, seed=0)
    places = schedule.places(np.arange(5)).tolist()
    assert places == [[0, 0], [0, 1], [2, 0], [2, 1], [2, 2]]


def _buffered(count: int, buffer: int, rng: Generator) -> list[int]:
    """A shuffle buffer, item by item."""
    incoming = iter(range(count))
    slots = [item for _, item in zip(range(buffer), incoming, strict=False)]
    draws = rng.integers(len(slots), size=count - len(slots)) if slots else []
    gone = []
    for slot, item in zip(draws, incoming, strict=True):
        gone.append(slots[slot])
        slots[slot] = item
    # The last contents are told slot by slot.
    return [*gone, *(slots[i] for i in rng.permutation(len(slots)))]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
@pytest.mark.parametrize("buffer", [1, 2, 5, 7, 200])
def test_the_shuffle_is_that_of_a_buffer(count: int, buffer: int) -> None:
    for seed in range(5):
        order = shuffled(count, buffer, np.random.default_rng(seed))
        assert order.tolist() == _buffered(count, buffer, np.random.default_rng(seed))
        assert (order < np.arange(count) + buffer).all(), "nothing goes before it is read"
        assert sorted(order.tolist()) == list(range(count))


def test_a_buffer_of_one_keeps_the_order_and_a_large_one_does_not() -> None:
    part = Schedule((100,), ranks=1, batch=1, seed=0).epoch(0).part(0)
    assert part.order(1).tolist() == list(range(100))
    moved = np.abs(part.order(1000) - np.arange(100)).mean()
    assert moved > 20, "a third of the range, where all are drawn at random"


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match=r"hold 7 samples.* takes 8: lower data.batch_size"):
        Schedule((3, 4), ranks=2, batch=4, seed=0)
    with pytest.raises(InputError, match="of which 5 are spared"):
        Schedule((6, 6), ranks=2, batch=4, seed=0, spares=5)
    with pytest.raises(InputError, match="hold 0 samples"):
        Schedule((), ranks=1, batch=1, seed=0)


def test_bad_arguments() -> None:
    for name in ("ranks", "batch"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            Schedule(**{"counts": (4,), "ranks": 1, "batch": 1, "seed": 0, name: 0})
    with pytest.raises(ValueError, match="seed"):
        Schedule((4,), ranks=1, batch=1, seed=-1)
    epoch = Schedule((4,), ranks=1, batch=1, seed=0).epoch(0)
    with pytest.raises(ValueError, match="no rank 1"):
        epoch.part(1)
    with pytest.raises(ValueError, match="no worker 2"):
        epoch.part(0, 2, 2)
    with pytest.raises(ValueError, match="at least 1 sample"):
        epoch.part(0).order(0)


def test_eight_ranks_cover_a_large_corpus() -> None:
    """More than 500k masks at about 600 masks a sample; of 47M masks, 78k samples."""
    rng = np.random.default_rng(0)
    counts = tuple(rng.integers(80, 120, 800).tolist())  # of about 78k samples
    masks = rng.integers(300, 900, sum(counts))
    schedule = Schedule(counts, ranks=8, batch=4, seed=0, spares=sum(counts) // 100)
    for number in range(2):
        epoch = schedule.epoch(number)
        seen = np.zeros(schedule.samples, int)
        loads = []
        for rank in range(8):
            parts = [epoch.part(rank, worker, 4) for worker in range(4)]
            mine = np.concatenate([part.numbers[part.order(256)] for part in parts])
            seen[mine] += 1
            loads.append(int(masks[mine].sum()))
            shards = np.concatenate([part.read[:, 0] for part in parts])
            assert len(set(shards.tolist())) <= 800 / 8 + 12
        assert seen.max() == 1
        assert seen.sum() == schedule.steps * 8 * 4
        assert schedule.samples - seen.sum() == schedule.remainder
        assert min(loads) > 5e6
        assert max(loads) / min(loads) < 1.02, "all carry alike"
    windows = [set(schedule.epoch(number).left_out.tolist()) for number in range(50)]
    assert not any(a & b for a, b in pairwise(windows))
