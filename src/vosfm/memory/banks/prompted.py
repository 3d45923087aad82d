"""The frames that each row was given in."""

from __future__ import annotations

import torch

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append_by_row, widen
from vosfm.memory.banks.selection import first, given_rows, held_by, leaves, newest
from vosfm.types import Contents, Entry, When


class Prompted(Bank):
    """The frames that each row was given in: of every row its own.

    Args:
        capacity: how many of them a row keeps; its first always stays, then the newest; of capacity
            1, the newest alone. None keeps all: as many as there are prompts.
        half: keep "value" in bfloat16, as the released predictor of SAM 2 does.

    Raises:
        ValueError: if the capacity is less than 1.

    Source: SAM 2, section 4 (memory bank: up to M prompted frames).
    """

    keeps: tuple[str, ...] = ("value", "pointer")

    def __init__(self, capacity: int | None = None, half: bool = False) -> None:
        super().__init__()
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity must be at least 1 or None, not {capacity}")
        self.capacity = capacity
        self.dtype = torch.bfloat16 if half else None

    def due(self, contents: Contents, when: When) -> bool:
        return when.given

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        """Offer an entry; see `Bank.write`. What rows drop is not handed on."""
        if not self.due(contents, when):
            return contents, None
        new = leaves(entry, self.keeps, self.dtype)
        batch, rows = next(iter(new.values())).shape[:2]
        contents, given = widen(contents, rows), given_rows(when, batch, rows)
        kept = torch.cat((held_by(contents, given), given[..., None]), 2)
        if self.capacity == 1:
            kept = newest(kept, 1)
        elif self.capacity is not None:
            kept = first(kept) | newest(kept, self.capacity - 1)
        return append_by_row(contents, new, when.time, kept), None
