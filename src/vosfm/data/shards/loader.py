"""Batches of clips from shards, whose place a checkpoint holds.

torchdata's StatefulDataLoader would take snapshots of the workers and keep account of the batches
that they have prepared. Here a worker is a function of numbers: of the epoch, of how many batches
were taken, and of how many spares it had used by then. So each batch brings the last along, and the
loader that hands it out knows all of its state; what is prepared and not taken is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from vosfm.data.datasets import collate
from vosfm.data.sampling import rank_and_ranks
from vosfm.data.shards.schedule import Schedule
from vosfm.data.shards.shard_clips import ShardClips
from vosfm.data.workers import processes, take_one_thread
from vosfm.errors import InputError
from vosfm.types import Clip


class ShardLoader:
    """The batches of one rank, epoch after epoch.

    Each iteration goes through what is left of an epoch: of the one that `set_epoch` named, which
    Lightning does; else of the one that `load_state_dict` or the last iteration left unfinished; or
    through the next one. Batch b of an epoch comes from worker b mod `num_workers`.

    Args:
        clips: what is streamed.
        batch_size: clips of a batch.
        num_workers: processes that load; 0 loads in this one, in the order of one.
        pin_memory: whether batches are copied to page-locked memory.
        rank: of this process; None asks torch.distributed.
        ranks: number of processes; None asks torch.distributed.

    Raises:
        InputError: if the shards cannot be read, or hold less than a step of all ranks.
    """

    def __init__(
        self,
        clips: ShardClips,
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        self.rank, ranks = rank_and_ranks(rank, ranks)
        self.clips = clips
        self.schedule = clips.schedule(ranks, batch_size)
        self.workers = max(1, num_workers)
        self._epoch, self._step, self._spared = 0, 0, [0] * self.workers
        self._drawn, self._broken = 0, 0
        # As somebody else counts epochs: the one that begins, the last, and how many ahead of us.
        self._asked: int | None = None
        self._named: int | None = None
        self._ahead: int | None = 0
        # Workers outlive an epoch; they look here where the next one starts.
        self._start = torch.zeros(2 + self.workers, dtype=torch.int64).share_memory_()
        self._batches: DataLoader[Any] = DataLoader(
            _RankBatches(clips, self.schedule, self.rank, self._start),
            batch_size=None,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=take_one_thread,
            multiprocessing_context=processes() if num_workers else None,
            # Without one of its own, it draws from the generator that the model draws from.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Batches of an epoch, the same for all ranks."""
        return self.schedule.steps

    @property
    def sampler(self) -> ShardLoader:
        """What Lightning tells the epoch to."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is of; one that is not under way starts anew."""
        self._asked = epoch

    def __iter__(self) -> Iterator[Clip]:
        """The batches that are left of an epoch.

        Nothing happens before the first is asked for: Lightning makes the iterator first, and then
        says which epoch it is of.
        """
        if self._asked is not None:
            self._begin(self._asked)
            self._asked = None
        self._start.copy_(torch.tensor([self._epoch, self._step, *self._spared]))
        for batch, spared in islice(self._batches, len(self) - self._step):
            self._count(len(batch.names), spared)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where all ranks are, in plain types; every rank must call it.

        The end of an epoch is the start of the next.
        """
        own = {
            "epoch": self._epoch,
            "step": self._step,
            "named": self._named,
            "spared": list(self._spared),
            "drawn": self._drawn,
            "broken": self._broken,
        }
        return {**self._terms(), "progress": _gathered(own)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a rank of this number was.

        Args:
            state: of `state_dict`.

        Raises:
            InputError: if samples were shared out on other terms, so that nobody could tell which
                of them were seen.
        """
        terms = self._terms()
        differ = [name for name in terms if state.get(name) != terms[name]]
        if differ:
            told = ", ".join(
                f"{_TERMS[name]}" + (f" {state.get(name)}, now {terms[name]}" * (name != "index"))
                for name in differ
            )
            raise InputError(
                f"the checkpoint stands within an epoch of shards with other terms: {told}; go on "
                "with those that it was written with, or begin a new training with its weights "
                "alone: --model.weights FILE"
            )
        own = state["progress"][self.rank]
        self._epoch, self._step = int(own["epoch"]), int(own["step"])
        self._spared = [int(spared) for spared in own["spared"]]
        self._named, self._ahead = own["named"], None
        self._drawn, self._broken = int(own["drawn"]), int(own["broken"])
        self.clips.corruption.resume(self._drawn, self._broken)

    def close(self) -> None:
        """End the workers."""
        iterator = self._batches._iterator
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()
        self._batches._iterator = None

    def _terms(self) -> dict[str, Any]:
        """What must not change, or else the same numbers mean other samples."""
        return {
            "index": self.clips.fingerprint,
            "ranks": self.schedule.ranks,
            "workers": self.workers,
            "batch": self.schedule.batch,
            "buffer": self.clips.buffer,
            "spares": self.schedule.spares,
            "seed": self.schedule.seed,
        }

    def _count(self, clips: int, spared: int) -> None:
        """Take a batch, after which its worker has used so many spares."""
        worker = self._step % self.workers
        broken = spared - self._spared[worker]
        self._spared[worker] = spared
        self._drawn += clips + broken
        self._broken += broken
        self._step += 1
        if self._step == len(self):
            self._turn_to(self._epoch + 1)

    def _begin(self, named: int) -> None:
        """Turn to the epoch that somebody calls so.

        Lightning 2.6, when it goes on from the end of an epoch in a training of so many steps,
        counts one epoch too many. So after `load_state_dict` its number says only whether it goes
        on with the epoch that it last named, and the next ones are counted from there.
        """
        if self._ahead is None:
            if named != self._named and self._step:
                self._turn_to(self._epoch + 1)
            self._ahead = named - self._epoch
        elif named - self._ahead != self._epoch:
            self._turn_to(named - self._ahead)
        self._named = named

    def _turn_to(self, epoch: int) -> None:
        self._epoch, self._step, self._spared = epoch, 0, [0] * self.workers


_TERMS = {
    "index": "other shards",
    "ranks": "processes (trainer.devices x trainer.num_nodes)",
    "workers": "data.num_workers",
    "batch": "data.batch_size",
    "buffer": "data.train buffer",
    "spares": "samples spared by data.train spares",
    "seed": "data.train seed",
}


class _RankBatches(IterableDataset[tuple[Clip, int]]):
    """The batches that a worker makes for one rank.

    Args:
        clips: what they are taken from.
        schedule: of all ranks.
        rank: of this one.
        start: (2 + workers,) int64, shared: epoch, batches of it that were taken, and the spares
            that each worker had used for those.
    """

    def __init__(self, clips: ShardClips, schedule: Schedule, rank: int, start: Tensor) -> None:
        self._clips = clips
        self._schedule = schedule
        self._rank = rank
        self._start = start

    def __iter__(self) -> Iterator[tuple[Clip, int]]:
        """Batches, each with the number of spares used after it."""
        epoch, step, *spared = self._start.tolist()
        info = get_worker_info()
        # torch takes the first batch from its worker 0, whichever step it is.
        worker = (step + (0 if info is None else info.id)) % len(spared)
        part = self._schedule.epoch(epoch).part(self._rank, worker, len(spared))
        taken = len(range(worker, step, len(spared))) * self._schedule.batch
        clips = self._clips.clips(part, epoch, taken, spared[worker])
        while batch := list(islice(clips, self._schedule.batch)):
            yield collate([clip for clip, _ in batch]), batch[-1][1]


def _gathered(own: dict[str, Any]) -> list[dict[str, Any]]:
    """What every rank says, in order of the ranks."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    told: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(told, own)
    return told
