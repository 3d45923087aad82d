"""The last frames of each row, or the last of them that can be trusted."""

from __future__ import annotations

import torch

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append_by_row, widen
from vosfm.memory.banks.selection import all_given, given_rows, held_by, leaves, select
from vosfm.types import Contents, Entry, When


class Selective(Bank):
    """The last N frames of each row, those left out that it was given in.

    A search may ask for the last N that can be trusted instead, however old they are. A row that
    is given in a frame has no entry of it here.

    Args:
        capacity: N, in frames; in entries where a search selects them.
        half: keep "value" in bfloat16, as the released predictor of SAM 2 does.

    Raises:
        ValueError: if the capacity is less than 1.

    Source: SAM 2, section 4 (memory bank: up to N recent frames); SAM2Long, section 3.3.
    """

    keeps: tuple[str, ...] = ("value",)

    def __init__(self, capacity: int = 6, half: bool = False) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.span = capacity  # frames that entries stay for where nothing is selected
        self.dtype = torch.bfloat16 if half else None

    def due(self, contents: Contents, when: When) -> bool:
        return not all_given(when)

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        """Offer an entry; see `Bank.write`. What rows drop is not handed on."""
        new = leaves(entry, self.keeps, self.dtype) if self.due(contents, when) else {}
        leaf = next(iter(new.values()), contents.time)
        contents = widen(contents, leaf.shape[1])
        given = given_rows(when, *leaf.shape[:2]) if new else torch.ones(leaf.shape[:2]).bool()
        if when.guidance is not None and when.guidance.selects:
            kept = select(contents, ~given, entry, when, self.capacity)
        else:
            held = held_by(contents, given)
            if contents.count:
                held = held & (contents.time > when.time - self.span)
            kept = torch.cat((held, ~given[..., None]), 2)
        return append_by_row(contents, new, when.time, kept), None
