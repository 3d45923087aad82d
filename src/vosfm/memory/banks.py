"""Banks: what of the past is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vosfm.types import Contents, Entry, When


def append(
    contents: Contents, entry: Entry, time: int, capacity: int | None = None
) -> tuple[Contents, Entry | None]:
    """Add an entry behind the newest.

    Rows that the entry has and the contents lack (objects that joined) get invalid older entries.

    Args:
        contents: of a bank.
        entry: of a frame.
        time: of that frame.
        capacity: of the bank; where it is full the first entry stays, and of the others the oldest
            makes room.

    Returns:
        The new contents, and the entry that made room.
    """
    batch, rows = next(iter(entry.rows.values())).shape[:2]
    newest = torch.full((batch, rows, 1), time, dtype=torch.int64)
    if not contents.count:
        first = {name: leaf.unsqueeze(2) for name, leaf in entry.rows.items()}
        return Contents(first, newest), None
    contents = widen(contents, rows)
    leaving, apart = None, contents.count
    if capacity is not None and contents.count >= capacity:
        apart = min(1, capacity - 1)
        leaving = Entry({name: leaf[:, :, apart] for name, leaf in contents.rows.items()})

    def behind(kept: Tensor, new: Tensor) -> Tensor:
        # In one copy, so that a full bank's tensors never change their size: blocks of two sizes
        # by turns would scatter the heap, and a stream's memory would creep up.
        return torch.cat((kept[:, :, :apart], kept[:, :, apart + 1 :], new), 2)

    valid = contents.valid
    if valid is not None:
        valid = behind(valid, valid.new_ones(batch, rows, 1))
    leaves = {
        name: behind(leaf, entry.rows[name].unsqueeze(2)) for name, leaf in contents.rows.items()
    }
    return Contents(leaves, behind(contents.time, newest), valid), leaving


def widen(contents: Contents, rows: int) -> Contents:
    """Add rows without any valid entry until there are so many."""
    batch, present, count = contents.time.shape
    if not count or present >= rows:
        return contents
    valid = contents.valid
    if valid is None:
        valid = torch.ones(batch, present, count, dtype=torch.bool)
    more = rows - present

    def grown(leaf: Tensor) -> Tensor:
        return torch.cat((leaf, leaf.new_zeros(batch, more, *leaf.shape[2:])), 1)

    return Contents(
        {name: grown(leaf) for name, leaf in contents.rows.items()},
        grown(contents.time),
        grown(valid),
    )


def select_rows(contents: Contents, rows: list[int]) -> Contents:
    """Keep these rows, in this order."""
    if not contents.count or rows == list(range(contents.time.shape[1])):
        return contents
    return Contents(
        {name: leaf[:, rows] for name, leaf in contents.rows.items()},
        contents.time[:, rows],
        None if contents.valid is None else contents.valid[:, rows],
    )


class Bank(nn.Module, ABC):
    """A rule for what is kept. What it keeps lies in `Contents`, outside of it."""

    @abstractmethod
    def write(self, contents: Contents, entry: Entry, when: When) -> tuple[Contents, Entry | None]:
        """Offer an entry.

        Args:
            contents: what the bank holds so far.
            entry: of the frame that was just committed.
            when: the circumstances.

        Returns:
            The new contents, and the entry that had to leave for it, if any.
        """


class Reference(Bank):
    """The frames whose masks were given.

    Args:
        capacity: how many of them are kept, in entries; the first always stays, then the newest.
            None keeps all: as many as there are prompted frames.

    Raises:
        ValueError: if the capacity is less than 1.

    Source: AOT, section 4.2 (the reference frame of the long-term memory).
    """

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity must be at least 1 or None, not {capacity}")
        self.capacity = capacity

    def write(self, contents: Contents, entry: Entry, when: When) -> tuple[Contents, Entry | None]:
        if not when.given:
            return contents, None
        return append(contents, entry, when.time, self.capacity)


class Temporal(Bank):
    """Every r-th frame, and those whose masks were given.

    Args:
        interval: r, frames between two entries.
        training_interval: the same in training, where clips are short; None for no difference.
        capacity: how many entries are kept; the first always stays, then the newest. None keeps
            all: the memory then grows with the video.

    Raises:
        ValueError: if an interval or the capacity is less than 1.

    Source: AOT, section 4.2 (the long-term memory of AOT-L; r is 2 in training, 5 in test).
    """

    def __init__(
        self, interval: int, training_interval: int | None = None, capacity: int | None = None
    ) -> None:
        super().__init__()
        for name, value in (
            ("interval", interval),
            ("training_interval", training_interval),
            ("capacity", capacity),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.interval = interval
        self.training_interval = training_interval
        self.capacity = capacity

    def write(self, contents: Contents, entry: Entry, when: When) -> tuple[Contents, Entry | None]:
        interval = (self.training and self.training_interval) or self.interval
        due = not contents.count or when.time - int(contents.time.max()) >= interval
        if not (when.given or due):
            return contents, None
        return append(contents, entry, when.time, self.capacity)


class Local(Bank):
    """The newest frame.

    Source: AOT, section 4.2 (short-term memory).
    """

    def write(self, contents: Contents, entry: Entry, when: When) -> tuple[Contents, Entry | None]:
        leaving = None
        if contents.count:
            leaving = Entry({name: leaf[:, :, -1] for name, leaf in contents.rows.items()})
        return append(Contents(), entry, when.time)[0], leaving
