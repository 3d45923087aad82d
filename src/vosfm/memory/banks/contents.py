"""Contents of a bank, changed by making new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.types import Contents, Entry

WHOLE = 2**31 - 1
"""`Contents.depth` of an entry that has all layers, however many its reader has."""


def append(
    contents: Contents,
    entry: Entry,
    time: int,
    leaving: int | None = None,
    valid: Tensor | None = None,
) -> tuple[Contents, Contents | None]:
    """Add an entry behind the newest.

    Rows that the entry has and the contents lack (objects that joined) get invalid older entries.
    Layers that the entry lacks are zeros in it, so that all entries take the same room.

    Args:
        contents: of a bank.
        entry: of a frame.
        time: of that frame.
        leaving: index of an entry that makes room; None if none has to.
        valid: (B, R) bool on the CPU, the rows that have the new entry; None for all of them.

    Returns:
        The new contents, and what made room.
    """
    batch, rows = next(iter(entry.rows.values())).shape[:2]
    newest = torch.full((batch, rows, 1), time, dtype=torch.int64)
    known = None if valid is None or bool(valid.all()) else valid.unsqueeze(2)
    if not contents.count:
        return Contents(
            {name: leaf.unsqueeze(2) for name, leaf in entry.rows.items()},
            {name: leaf.unsqueeze(1) for name, leaf in entry.shared.items()},
            newest,
            known,
            None if entry.depth is None else torch.tensor([entry.depth]),
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
    if valid is not None or known is not None:
        new = torch.ones(batch, rows, 1, dtype=torch.bool) if known is None else known
        valid = behind(validity(contents), new, 2)
    depth, held = contents.depth, contents.rows
    added = {name: leaf.unsqueeze(2) for name, leaf in entry.rows.items()}
    if depth is not None or entry.depth is not None:
        new = torch.tensor([WHOLE if entry.depth is None else entry.depth])
        depth = _if_mixed(behind(depths(contents), new, 0))
        held, added = _with_layers(held, added), _with_layers(added, held)
    return Contents(
        {name: behind(leaf, added[name], 2) for name, leaf in held.items()},
        {
            name: behind(leaf, entry.shared[name].unsqueeze(1), 1)
            for name, leaf in contents.shared.items()
        },
        behind(contents.time, newest, 2),
        valid,
        depth,
    ), gone


def append_by_row(
    contents: Contents, new: Mapping[str, Tensor], time: int, kept: Tensor
) -> Contents:
    """Add an entry behind the newest of some rows, and drop any entries of any rows.

    The entries of a row lie at the end, behind what is invalid and means nothing. There is room for
    those of the fullest row, and it stays: a full bank's tensors never change their size.

    Args:
        contents: of a bank, without shared tensors.
        new: named tensors, (B, R, ...) each; empty where no row keeps the new entry.
        time: of the new entry.
        kept: (B, R, M + 1) bool on the CPU, valid entries that stay; the last is the new entry.

    Returns:
        The new contents.
    """
    if not bool(kept[..., -1].any()):
        if not contents.count:
            return contents
        new, kept = {}, kept[..., :-1]
    times = torch.full((*kept.shape[:2], 1), time, dtype=torch.int64)
    if not contents.count:
        valid, rows = kept, {name: leaf.unsqueeze(2) for name, leaf in new.items()}
    else:
        contents = widen(contents, kept.shape[1])
        room = max(contents.count, int(kept.sum(2).max()))
        order = kept.to(torch.uint8).argsort(dim=2, stable=True)[..., -room:]
        valid, joins = kept.gather(2, order), bool(new)
        rows = {
            name: _rearranged(leaf, new[name].unsqueeze(2) if joins else None, order)
            for name, leaf in contents.rows.items()
        }
        times = _rearranged(contents.time, times if joins else None, order)
    return Contents(rows, {}, times, None if bool(valid.all()) else valid)


def _rearranged(held: Tensor, new: Tensor | None, order: Tensor) -> Tensor:
    """Entries of (B, R, M, ...) with a new one (B, R, 1, ...) behind, in the order of each row."""
    if bool((order == order[:1, :1]).all()):
        return _in_order(held, new, order[0, 0].tolist())
    batch, rows, count = held.shape[:3]
    places = torch.arange(batch * rows).view(batch, rows, 1) * count + order.clamp(max=count - 1)
    moved = held.flatten(0, 2).index_select(0, places.flatten().to(held.device))
    moved = moved.view(*order.shape, *held.shape[3:])
    if new is not None:
        comes = (order[..., -1:] == count).view(batch, rows, *(1,) * (held.dim() - 2))
        moved[:, :, -1:] = torch.where(comes.to(held.device), new, moved[:, :, -1:])
    return moved


def _in_order(held: Tensor, new: Tensor | None, order: list[int]) -> Tensor:
    """The same where all rows agree, in one copy of as few pieces as there are."""
    pieces, begin, count = [], 0, held.shape[2]
    for end in range(1, len(order) + 1):
        if end < len(order) and order[end] == order[end - 1] + 1 < count:
            continue
        if order[begin] == count:
            assert new is not None
            pieces.append(new)
        else:
            pieces.append(held.narrow(2, order[begin], end - begin))
        begin = end
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 2)


def pick(contents: Contents, entries: list[int] | slice) -> Contents:
    """Only these entries, in this order; of a slice nothing is copied."""
    return Contents(
        {name: leaf[:, :, entries] for name, leaf in contents.rows.items()},
        {name: leaf[:, entries] for name, leaf in contents.shared.items()},
        contents.time[:, :, entries],
        None if contents.valid is None else contents.valid[:, :, entries],
        None if contents.depth is None else _if_mixed(contents.depth[entries]),
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
    depth, before, behind = None, older.rows, newer.rows
    if older.depth is not None or newer.depth is not None:
        depth = _if_mixed(torch.cat((depths(older), depths(newer))))
        before, behind = _with_layers(before, behind), _with_layers(behind, before)
    return Contents(
        {name: torch.cat((leaf, behind[name]), 2) for name, leaf in before.items()},
        {name: torch.cat((leaf, newer.shared[name]), 1) for name, leaf in older.shared.items()},
        torch.cat((older.time, newer.time), 2),
        valid,
        depth,
    )


def validity(contents: Contents) -> Tensor:
    """(B, R, M) bool on the CPU: which rows have which entries."""
    if contents.valid is None:
        return torch.ones_like(contents.time, dtype=torch.bool)
    return contents.valid


def depths(contents: Contents) -> Tensor:
    """(M,) int64 on the CPU: how many layers each entry has, `WHOLE` for all of them."""
    if contents.depth is None:
        return torch.full((contents.count,), WHOLE)
    return contents.depth


def refuse_depth(of: Entry | Contents, what: str) -> None:
    """Check that an entry, or contents, have all layers of the reader.

    Args:
        of: what is offered.
        what: would hold it, for the message.

    Raises:
        InputError: if they have not.
    """
    if of.depth is not None:
        raise InputError(
            f"{what} cannot hold frames that were read with some layers of the reader alone: leave "
            "the depth out, or use Reference, Temporal and Local"
        )


def _if_mixed(depth: Tensor) -> Tensor | None:
    return None if bool((depth == WHOLE).all()) else depth


def _with_layers(leaves: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leaves (B, R, M, ...) with zeros for what other leaves (B, R, M', ...) have besides."""
    count = next(iter(leaves.values())).shape[2]
    absent = {
        name: leaf.new_zeros(1).expand(*leaf.shape[:2], count, *leaf.shape[3:])
        for name, leaf in other.items()
        if name not in leaves
    }
    return {**leaves, **absent}


def widen(contents: Contents, rows: int) -> Contents:
    """Add rows without any valid entry until there are so many."""
    if not contents.count or contents.time.shape[1] >= rows:
        return contents
    return replace(
        contents,
        rows={name: with_rows(leaf, rows) for name, leaf in contents.rows.items()},
        time=with_rows(contents.time, rows),
        valid=with_rows(validity(contents), rows),
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
    return replace(
        contents,
        rows={name: leaf[:, rows] for name, leaf in contents.rows.items()},
        time=contents.time[:, rows],
        valid=None if contents.valid is None else contents.valid[:, rows],
    )
