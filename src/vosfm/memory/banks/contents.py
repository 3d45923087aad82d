"""Contents of a bank, changed by making new ones."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.types import Contents, Entry


def append(
    contents: Contents, entry: Entry, time: int, leaving: int | None = None
) -> tuple[Contents, Contents | None]:
    """Add an entry behind the newest.

    Rows that the entry has and the contents lack (objects that joined) get invalid older entries.

    Args:
        contents: of a bank.
        entry: of a frame.
        time: of that frame.
        leaving: index of an entry that makes room; None if none has to.

    Returns:
        The new contents, and what made room.
    """
    batch, rows = next(iter(entry.rows.values())).shape[:2]
    newest = torch.full((batch, rows, 1), time, dtype=torch.int64)
    if not contents.count:
        return Contents(
            {name: leaf.unsqueeze(2) for name, leaf in entry.rows.items()},
            {name: leaf.unsqueeze(1) for name, leaf in entry.shared.items()},
            newest,
        ), None
    contents = widen(contents, rows)
    gone = None if leaving is None else pick(contents, slice(leaving, leaving + 1))
    apart = contents.count if leaving is None else leaving

    def behind(kept: Tensor, new: Tensor, axis: int) -> Tensor:
        # In one copy, so that a full bank's tensors never change their size: blocks of two sizes
        # by turns would scatter the heap, and a stream's memory would creep up.
        older = kept.narrow(axis, 0, apart)
        rest = kept.shape[axis] - apart - 1
        newer = [kept.narrow(axis, apart + 1, rest)] if rest > 0 else []
        return torch.cat((older, *newer, new), axis)

    valid = contents.valid
    if valid is not None:
        valid = behind(valid, valid.new_ones(batch, rows, 1), 2)
    return Contents(
        {
            name: behind(leaf, entry.rows[name].unsqueeze(2), 2)
            for name, leaf in contents.rows.items()
        },
        {
            name: behind(leaf, entry.shared[name].unsqueeze(1), 1)
            for name, leaf in contents.shared.items()
        },
        behind(contents.time, newest, 2),
        valid,
    ), gone


def pick(contents: Contents, entries: list[int] | slice) -> Contents:
    """Only these entries, in this order; of a slice nothing is copied."""
    return Contents(
        {name: leaf[:, :, entries] for name, leaf in contents.rows.items()},
        {name: leaf[:, entries] for name, leaf in contents.shared.items()},
        contents.time[:, :, entries],
        None if contents.valid is None else contents.valid[:, :, entries],
    )


def join(older: Contents, newer: Contents) -> Contents:
    """The entries of both, those of the first in front."""
    rows = max(older.time.shape[1], newer.time.shape[1])
    if not older.count or not newer.count:
        return newer if newer.count else older
    older, newer = widen(older, rows), widen(newer, rows)
    valid = None
    if older.valid is not None or newer.valid is not None:
        valid = torch.cat((validity(older), validity(newer)), 2)
    return Contents(
        {name: torch.cat((leaf, newer.rows[name]), 2) for name, leaf in older.rows.items()},
        {name: torch.cat((leaf, newer.shared[name]), 1) for name, leaf in older.shared.items()},
        torch.cat((older.time, newer.time), 2),
        valid,
    )


def validity(contents: Contents) -> Tensor:
    """(B, R, M) bool on the CPU: which rows have which entries."""
    if contents.valid is None:
        return torch.ones_like(contents.time, dtype=torch.bool)
    return contents.valid


def widen(contents: Contents, rows: int) -> Contents:
    """Add rows without any valid entry until there are so many."""
    if not contents.count or contents.time.shape[1] >= rows:
        return contents
    return Contents(
        {name: with_rows(leaf, rows) for name, leaf in contents.rows.items()},
        contents.shared,
        with_rows(contents.time, rows),
        with_rows(validity(contents), rows),
    )


def with_rows(leaf: Tensor, rows: int) -> Tensor:
    """Add rows of zeros to (B, R, ...) until there are so many."""
    batch, present = leaf.shape[:2]
    if present >= rows:
        return leaf
    return torch.cat((leaf, leaf.new_zeros(batch, rows - present, *leaf.shape[2:])), 1)


def select_rows(contents: Contents, rows: list[int]) -> Contents:
    """Keep these rows, in this order."""
    if not contents.count:
        return contents
    # Objects that joined since the last entry have no rows in it yet.
    contents = widen(contents, max(rows) + 1)
    if rows == list(range(contents.time.shape[1])):
        return contents
    return Contents(
        {name: leaf[:, rows] for name, leaf in contents.rows.items()},
        contents.shared,
        contents.time[:, rows],
        None if contents.valid is None else contents.valid[:, rows],
    )
