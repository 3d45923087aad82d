"""Which sample of the shards which worker sees when: numbers alone, no file is opened.

Samples are numbered canonically, shard after shard in the order of the index. An epoch leaves some
out, so that all ranks take the same number of steps. Shards are permuted by (seed, epoch), laid end
to end, and cut into one contiguous range a rank, so that a rank opens few of them; the range of a
rank is cut again among its workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.errors import InputError

Numbers = NDArray[np.int64]

_SHARDS, _BUFFER = 1, 2
"""What a random order is for, so that no two of them share a generator."""


@dataclass(frozen=True)
class Schedule:
    """How samples are shared out among ranks, in every epoch anew.

    Attributes:
        counts: samples of every shard.
        ranks: processes that train, at least 1.
        batch: samples of one step of one rank, at least 1.
        seed: of every order, at least 0.
        spares: at least so many samples are left out of an epoch, to stand in for broken ones.

    Raises:
        ValueError: if a number is out of range.
        InputError: if there are fewer samples than one step and the spares take.
    """

    counts: tuple[int, ...]
    ranks: int
    batch: int
    seed: int
    spares: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("ranks", self.ranks, 1),
            ("batch", self.batch, 1),
            ("seed", self.seed, 0),
            ("spares", self.spares, 0),
            ("counts", min(self.counts, default=0), 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.steps < 1:
            raise InputError(
                f"the shards hold {self.samples} samples, of which {self.spares} are spared for "
                f"broken ones; a step of {self.ranks} processes with {self.batch} each takes "
                f"{self.ranks * self.batch}: lower data.batch_size or the spares, or pack more"
            )

    @cached_property
    def samples(self) -> int:
        """N, of all shards."""
        return sum(self.counts)

    @property
    def steps(self) -> int:
        """Batches of every rank in an epoch, the same for all."""
        return (self.samples - self.spares) // (self.ranks * self.batch)

    @property
    def remainder(self) -> int:
        """Samples that an epoch leaves out, the spares among them."""
        return self.samples - self.steps * self.ranks * self.batch

    @cached_property
    def starts(self) -> Numbers:
        """(shards,) the canonical number of each shard's first sample."""
        return np.cumsum([0, *self.counts[:-1]], dtype=np.int64)

    def places(self, numbers: Numbers) -> Numbers:
        """(S, 2) shard and place in it of samples with these canonical numbers (S,)."""
        # Of shards that start at the same number, the last is the one that is not empty.
        shards = np.searchsorted(self.starts, numbers, side="right") - 1
        return np.stack([shards, numbers - self.starts[shards]], axis=1)

    def epoch(self, epoch: int) -> Epoch:
        """The schedule of one epoch, counted from 0."""
        return Epoch(self, epoch)


@dataclass(frozen=True)
class Epoch:
    """One epoch of a schedule.

    Attributes:
        schedule: of all epochs.
        number: of this one, from 0.
    """

    schedule: Schedule
    number: int

    @cached_property
    def left_out(self) -> Numbers:
        """(remainder,) canonical numbers of the samples that this epoch does without.

        Epoch by epoch they move on, so that none is left out twice before every one was once.
        """
        first = self.number * self.schedule.remainder % self.schedule.samples
        return (first + np.arange(self.schedule.remainder)) % self.schedule.samples

    @cached_property
    def order(self) -> Numbers:
        """(steps * ranks * batch,) canonical numbers of all others, in the order of the shards."""
        schedule = self.schedule
        rng = np.random.default_rng([schedule.seed, self.number, 0, 0, _SHARDS])
        shards = rng.permutation(len(schedule.counts))
        counts = np.asarray(schedule.counts, np.int64)[shards]
        ahead = np.cumsum(counts) - counts
        numbers = np.repeat(schedule.starts[shards] - ahead, counts) + np.arange(schedule.samples)
        seen = np.ones(schedule.samples, np.bool_)
        seen[self.left_out] = False
        return numbers[seen[numbers]]

    def part(self, rank: int, worker: int = 0, workers: int = 1) -> Part:
        """What one worker of one rank does in this epoch.

        Batch b of a rank comes from worker b mod `workers`; where there are more workers than
        batches, the last ones have nothing to do.

        Raises:
            ValueError: if there is no such rank or worker.
        """
        schedule = self.schedule
        if not 0 <= rank < schedule.ranks:
            raise ValueError(f"no rank {rank} among {schedule.ranks}")
        if not 0 <= worker < workers:
            raise ValueError(f"no worker {worker} among {workers}")
        steps, batch = schedule.steps, schedule.batch
        # Batches that workers 0 ... worker - 1 take, for the first ones take one more.
        before = worker * (steps // workers) + min(worker, steps % workers)
        batches = steps // workers + (worker < steps % workers)
        start = (rank * steps + before) * batch
        return Part(
            numbers=self.order[start : start + batches * batch],
            spares=self.left_out[rank * workers + worker :: schedule.ranks * workers],
            batches=batches,
            schedule=schedule,
            key=(schedule.seed, self.number, rank, worker, _BUFFER),
        )


@dataclass(frozen=True)
class Part:
    """What one worker of one rank does in one epoch.

    Attributes:
        numbers: (S,) canonical numbers of its samples, in the order in which they are read.
        spares: (K,) canonical numbers of samples that stand in for broken ones, in this order.
        batches: how many it makes of them.
        schedule: of all epochs.
        key: the seed of its random order.
    """

    numbers: Numbers
    spares: Numbers
    batches: int
    schedule: Schedule
    key: tuple[int, ...]

    @property
    def read(self) -> Numbers:
        """(S, 2) shard and place of its samples: one shard after the other, from front to back."""
        return self.schedule.places(self.numbers)

    def order(self, buffer: int) -> Numbers:
        """(S,) places in `numbers`, as a shuffle buffer of `buffer` samples lets them go.

        A function of (seed, epoch, rank, worker) alone. Sample k goes when the first k + buffer
        have been read.
        """
        return shuffled(len(self.numbers), buffer, np.random.default_rng(self.key))


def shuffled(count: int, buffer: int, rng: Generator) -> Numbers:
    """The order in which a shuffle buffer lets go of what is put into it.

    It holds `buffer` items. Each time one that it holds is drawn, and the next one takes its slot;
    at the end, those that are left go in random order.

    Args:
        count: of the items.
        buffer: slots, at least 1.
        rng: of the draws.

    Returns:
        (count,) a permutation of 0 ... count - 1, entry k below k + buffer.

    Raises:
        ValueError: if there is no slot.
    """
    if buffer < 1:
        raise ValueError(f"a shuffle buffer must hold at least 1 sample, not {buffer}")
    buffer = min(buffer, count)
    if buffer == 0:
        return np.zeros(0, np.int64)
    draws = rng.integers(buffer, size=count - buffer)
    # What a draw takes was put there by the last draw of the same slot, or was there at first. So
    # the contents of all slots are followed at once: sorted by slot, each takes what the one
    # before it has put, and the last contents are what is left.
    slots = np.concatenate([np.arange(buffer), draws])
    by_slot = np.argsort(slots, kind="stable")
    # Item i is put by event i: first the slots in turn, then each draw in turn.
    last = np.ones(count, np.bool_)
    last[:-1] = slots[by_slot[1:]] != slots[by_slot[:-1]]
    order = np.empty(count, np.int64)
    order[by_slot[1:][~last[:-1]] - buffer] = by_slot[:-1][~last[:-1]]
    order[count - buffer :] = rng.permutation(by_slot[last])
    return order
