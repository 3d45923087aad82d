"""Frames at regular intervals."""

from __future__ import annotations

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append
from vosfm.memory.banks.policies import Policy, check, leaving
from vosfm.memory.banks.selection import worthy
from vosfm.types import Contents, Entry, When


class Temporal(Bank):
    """Every r-th frame, and those whose masks were given.

    A search may ask to remember only what can be trusted: other rows then have no such entry.

    Args:
        interval: r, frames between two entries.
        training_interval: the same in training, where clips are short; None for no difference.
        capacity: N, how many entries are kept, the newest included. None keeps all: the memory
            then grows with the video.
        policy: which entry makes room where the bank is full, see `vosfm.memory.banks.policies`.

    Raises:
        ValueError: if an interval or the capacity is less than 1, there is no such policy, or it
            keeps more entries than the capacity allows.

    Source: AOT, section 4.2 (the long-term memory of AOT-L; r is 2 in training, 5 in test);
        MUG-VOS, section 4 (temporal memory) and Tables 3 and 4.
    """

    def __init__(
        self,
        interval: int,
        training_interval: int | None = None,
        capacity: int | None = None,
        policy: Policy = "keep_first",
    ) -> None:
        super().__init__()
        for name, value in (
            ("interval", interval),
            ("training_interval", training_interval),
            ("capacity", capacity),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        check(policy, capacity)
        self.interval = interval
        self.training_interval = training_interval
        self.capacity = capacity
        self.policy: Policy = policy

    def wanted(self, contents: Contents, when: When) -> bool:
        """Whether a frame's turn has come, be there room for it or not."""
        if not contents.count:
            return True
        interval = (self.training and self.training_interval) or self.interval
        # A frame that was turned away is not made up for by the one behind it: hence no >=.
        late = (when.time - int(contents.time.max())) % interval == 0
        return when.given or late

    def due(self, contents: Contents, when: When) -> bool:
        wanted = self.wanted(contents, when)
        return wanted and self._leaving(contents, when) != contents.count

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        if not self.due(contents, when):
            return contents, None
        leaving = self._leaving(contents, when)
        return append(contents, entry, when.time, leaving, worthy(entry, when))

    def _leaving(self, contents: Contents, when: When) -> int | None:
        """Index of the entry that makes room for that of a frame, M for this itself; or None."""
        if self.capacity is None or contents.count < self.capacity:
            return None
        return leaving(self.policy, contents.count, when.seed, when.time)
