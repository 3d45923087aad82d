"""XMem's working memory: recent frames, and how often each of their tokens is used."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vosfm.memory.banks.contents import append, pick, refuse_depth, validity
from vosfm.memory.banks.temporal import Temporal
from vosfm.memory.banks.usage import counted, uncounted
from vosfm.types import Contents, Entry, When


class Working(Temporal):
    """Every r-th frame; once full, all but the first and the newest leave together.

    What leaves carries the usage of its tokens, for a bank that keeps the most used.

    Args:
        interval: r, frames between two entries.
        training_interval: the same in training; None for no difference.
        capacity: T_max, at how many entries the bank is full.
        keep: T_min, how many of them stay.
        official: pair values with keys as the released code does: objects that join late keep their
            own first frame, whose values come to stand beside the keys of another frame.

    Raises:
        ValueError: if an interval is less than 1, or not 2 <= keep < capacity.

    Source: XMem, section 3.3 (working memory).
    """

    def __init__(
        self,
        interval: int = 5,
        training_interval: int | None = None,
        capacity: int = 10,
        keep: int = 5,
        official: bool = False,
    ) -> None:
        super().__init__(interval, training_interval, capacity)
        if not 2 <= keep < capacity:
            raise ValueError(
                f"keep is {keep} of a capacity of {capacity}: the first and the newest stay, and "
                "something leaves, so give 2 <= keep < capacity"
            )
        self.full = capacity
        self.keep = keep
        self.official = official

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        if not self.due(contents, when):
            return contents, None
        contents, _ = append(contents, uncounted(entry), when.time)
        if contents.count < self.full:
            return contents, None
        kept = [0, *range(contents.count - self.keep + 1, contents.count)]
        evicted = pick(contents, slice(1, contents.count - self.keep + 1))
        if self.official:
            return _as_released(contents, kept, evicted, self.keep)
        return pick(contents, kept), evicted

    def observe(self, contents: Contents, usage: Tensor) -> Contents:
        return counted(contents, usage)


def _as_released(
    contents: Contents, kept: list[int], evicted: Contents, keep: int
) -> tuple[Contents, Contents]:
    """Cut keys as usual, but the values of every object as a list of its own.

    A list that is short stays whole; all lists are aligned to the newest key.
    """
    refuse_depth(contents, "Working as released")
    valid = validity(contents)
    batch, rows, count = valid.shape
    sources = torch.zeros(batch, rows, keep, dtype=torch.int64)
    present = torch.zeros(batch, rows, keep, dtype=torch.bool)
    leaves = validity(evicted).clone()
    for b in range(batch):
        for r in range(rows):
            own = valid[b, r].nonzero()[:, 0].tolist()
            if len(own) <= keep + 1 and len(own) < count:
                leaves[b, r] = False
            if len(own) > keep:
                own = [own[0], *own[len(own) - keep + 1 :]]
            if own:
                sources[b, r, -len(own) :] = torch.tensor(own)
                present[b, r, -len(own) :] = True

    def gathered(leaf: Tensor) -> Tensor:
        index = sources.to(leaf.device)
        index = index.view(*index.shape, *(1,) * (leaf.dim() - 3))
        return leaf.gather(2, index.expand(*index.shape[:3], *leaf.shape[3:]))

    remaining = Contents(
        {name: gathered(leaf) for name, leaf in contents.rows.items()},
        {name: leaf[:, kept] for name, leaf in contents.shared.items()},
        gathered(contents.time),
        present,
    )
    return remaining, replace(evicted, valid=leaves)
