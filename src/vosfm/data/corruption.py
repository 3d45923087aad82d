"""Broken samples: counted, reported and passed over, but only so many."""

from __future__ import annotations

import warnings

import torch
from torch.utils.data import get_worker_info

from vosfm.errors import InputError

_SLOTS = 256
_TRIAL = 200


class Corruption:
    """How many samples could not be read, over all workers of a loader.

    The counts lie in shared memory, one slot per worker, so that the main process sees them and
    none is lost to a race.

    Args:
        allowed: the share of samples that may be broken, in [0, 1].
    """

    def __init__(self, allowed: float) -> None:
        if not 0 <= allowed <= 1:
            raise ValueError(f"the share of broken samples must lie in [0, 1], not {allowed}")
        self.allowed = allowed
        self._counts = torch.zeros(2, _SLOTS, dtype=torch.int64)
        self._counts.share_memory_()
        self._reported: set[str] = set()

    @property
    def drawn(self) -> int:
        """Samples that were tried."""
        return int(self._counts[0].sum())

    @property
    def broken(self) -> int:
        """Samples that could not be read."""
        return int(self._counts[1].sum())

    def resume(self, drawn: int, broken: int) -> None:
        """Go on with the counts of a training that was broken off, in place of those so far."""
        self._counts.zero_()
        self._counts[0, 0] = drawn
        self._counts[1, 0] = broken

    def passed(self) -> None:
        """Count a sample that was read."""
        self._counts[0, self._slot()] += 1

    def failed(self, error: InputError) -> None:
        """Count and report a sample that was not.

        Raises:
            InputError: if more than the allowed share is broken.
        """
        slot = self._slot()
        self._counts[0, slot] += 1
        self._counts[1, slot] += 1
        message = str(error)
        if message not in self._reported:
            self._reported.add(message)
            warnings.warn(f"skipped a training sample: {message}", stacklevel=3)
        # Early on a single broken file would be too large a share.
        if self.broken > self.allowed * max(self.drawn, _TRIAL):
            raise InputError(
                f"{self.broken} of {self.drawn} training samples are broken, more than the "
                f"allowed share of {self.allowed:g}; the last: {message}"
            ) from error

    @staticmethod
    def _slot() -> int:
        worker = get_worker_info()
        return 0 if worker is None else (1 + worker.id) % _SLOTS
