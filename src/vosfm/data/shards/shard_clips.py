"""Training clips of samples that are read from shards one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from math import ceil

import numpy as np

from vosfm.data.corruption import Corruption
from vosfm.data.drawer import ClipDrawer
from vosfm.data.shards.cache import Cache
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.reading import read_one, stream
from vosfm.data.shards.sample import Packed, PackedVideo, SampleError
from vosfm.data.shards.schedule import Numbers, Part, Schedule
from vosfm.errors import InputError
from vosfm.types import Clip

_TRIES = 8
"""Draws of one sample until its first frame shows an object."""


class ShardClips:
    """Clips of samples in shards, one of every sample in an epoch, in random order.

    Samples are read from the shards from front to back and wait, as they are packed, in a buffer
    that random ones are taken from. The order is a function of (seed, epoch, rank, worker), a clip
    one of (seed, epoch, sample): so whoever knows how many samples were taken knows which, and goes
    on there after having read those again that lay in the buffer.

    A sample that is broken is counted, reported and replaced by a spare one, which the epoch would
    have left out.

    Args:
        root: where the shards are, see `vosfm.data.shards.index.ShardIndex`: a folder, a URL or a
            command.
        drawer: how a clip is taken from a sample; None for the default.
        buffer: packed samples that wait in each worker; 1 keeps the order of the shards.
        spares: share of the samples that every epoch leaves out to replace broken ones, in [0, 1).
        seed: of everything.
        allowed_corruption: the share of samples that may be broken, in [0, 1].
        cache: where shards that are no files are kept; None for nowhere.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        drawer: ClipDrawer | None = None,
        buffer: int = 64,
        spares: float = 0.02,
        seed: int = 0,
        allowed_corruption: float = 0.02,
        cache: Cache | None = None,
    ) -> None:
        if buffer < 1:
            raise ValueError(f"buffer must be at least 1, not {buffer}")
        if not 0 <= spares < 1:
            raise ValueError(f"spares must lie in [0, 1), not {spares}")
        self.root = root
        self.drawer = drawer or ClipDrawer()
        self.buffer = buffer
        self.spares = spares
        self.seed = seed
        self.cache = cache
        self.corruption = Corruption(allowed_corruption)

    @cached_property
    def index(self) -> ShardIndex:
        """What lies where in the shards.

        Raises:
            InputError: if it cannot be read.
        """
        return ShardIndex.read(self.root)

    @property
    def sources(self) -> frozenset[str]:
        """Names of the videos that the samples were cut from."""
        return self.index.sources

    @property
    def fingerprint(self) -> str:
        """Tells these shards from others: a digest of their own checksums, in order."""
        told = "".join(f"{shard.sha256}\n" for shard in self.index.shards)
        return hashlib.sha256(told.encode()).hexdigest()

    def schedule(self, ranks: int, batch: int) -> Schedule:
        """Who sees which sample when.

        Args:
            ranks: processes that train.
            batch: samples of a step of each.

        Raises:
            InputError: if the samples do not fill a step.
        """
        counts = tuple(len(shard.samples) for shard in self.index.shards)
        return Schedule(counts, ranks, batch, self.seed, ceil(self.spares * sum(counts)))

    def clips(
        self, part: Part, epoch: int, taken: int = 0, spared: int = 0
    ) -> Iterator[tuple[Clip, int]]:
        """The clips of one worker in one epoch.

        Args:
            part: which samples they are taken from.
            epoch: from 0.
            taken: how many clips were taken before; they are passed over.
            spared: how many spares were used for those.

        Yields:
            A clip, as a batch of one, and how many spares were used so far.

        Raises:
            InputError: if a shard cannot be read at all, too many samples are broken, or the
                spares have run out.
        """
        order = part.order(self.buffer)
        waiting = np.sort(order[taken:])  # what the buffer held, then what is still to be read
        incoming = zip(waiting, self._read(part.read[waiting]), strict=True)
        # Sample k is taken when the first k + buffer have been read.
        needed = np.searchsorted(waiting, np.arange(taken, len(order)) + self.buffer)
        held: dict[int, Packed | SampleError] = {}
        read = 0
        for place, upto in zip(order[taken:].tolist(), needed.tolist(), strict=True):
            for _ in range(upto - read):
                where, found = next(incoming)
                held[int(where)] = found
            read = upto
            clip, error = self._draw(held.pop(place), int(part.numbers[place]), epoch)
            while clip is None:
                if spared == len(part.spares):
                    raise InputError(
                        f"{self.root}: a worker has used up its {spared} spare samples of epoch "
                        f"{epoch}; the last broken one: {error}; raise data.train.init_args.spares "
                        f"from {self.spares:g}, or pack the damaged shards again"
                    ) from error
                number = part.spares[spared]
                spared += 1
                clip, error = self._draw(self._one(part, number), int(number), epoch)
            yield clip, spared

    def _draw(
        self, sample: Packed | SampleError, number: int, epoch: int
    ) -> tuple[Clip | None, InputError | None]:
        """A clip of a sample; None, and what was wrong, of a broken one."""
        try:
            if isinstance(sample, SampleError):
                raise sample
            video = PackedVideo(sample)
            for attempt in range(_TRIES):
                rng = np.random.default_rng([self.seed, epoch, number, attempt])
                clip = self.drawer.draw(video, rng)
                if clip is not None:
                    self.corruption.passed()
                    return clip, None
            raise InputError(
                f"{video.name}: none of {_TRIES} draws showed an object in its first frame; leave "
                "it out, or lower the pixels and the quality that are asked for"
            )
        except InputError as error:
            self.corruption.failed(error)
            return None, error

    def _one(self, part: Part, number: np.int64) -> Packed | SampleError:
        shard, place = part.schedule.places(np.asarray([number]))[0].tolist()
        try:
            return read_one(self.index, shard, place, self.cache)
        except SampleError as error:
            return error

    def _read(self, places: Numbers) -> Iterator[Packed | SampleError]:
        """Samples in order, (shard, place) each; of a broken one, what was wrong."""
        for shard, rows in groupby(places.tolist(), key=lambda row: int(row[0])):
            yield from _from_shard(self.index, shard, [place for _, place in rows], self.cache)


def _from_shard(
    index: ShardIndex, shard: int, places: Sequence[int], cache: Cache | None
) -> Iterator[Packed | SampleError]:
    """The samples at ascending places of one shard; of a broken one, what was wrong."""
    # A file is entered anew behind every gap; whatever else there is, is read on.
    for run in [places] if index.path(shard) is None else _without_gaps(places):
        with stream(index, shard, run[0], cache) as samples:
            at = run[0]
            for place in run:
                found: Packed | SampleError | None = None
                while at <= place:
                    try:
                        found = next(samples)
                    except SampleError as error:
                        found = error
                    at += 1
                assert found is not None
                yield found


def _without_gaps(places: Sequence[int]) -> Iterator[list[int]]:
    """Split ascending numbers into runs of consecutive ones."""
    for _, run in groupby(enumerate(places), key=lambda pair: pair[1] - pair[0]):
        yield [place for _, place in run]
