"""The object pointers of the last frames of each row."""

from __future__ import annotations

from vosfm.memory.banks.selective import Selective
from vosfm.types import Contents, Entry, When


class Pointers(Selective):
    """The object pointers of the last N - 1 frames of each row, those left out it was given in.

    Where a search selects entries, the last N that can be trusted: a reader takes N - 1 of them,
    and knows by the other that there were more. With a decoder that makes no pointers it stays
    empty.

    Args:
        capacity: N, in entries.

    Raises:
        ValueError: if the capacity is less than 2.

    Source: SAM 2, section 4 (object pointers); the released code reads 16, that of the prompted
        frame included.
    """

    keeps = ("pointer",)

    def __init__(self, capacity: int = 16) -> None:
        super().__init__(capacity)
        if capacity < 2:
            raise ValueError(f"capacity must be at least 2, not {capacity}")
        self.span = capacity - 1

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        if self.due(contents, when) and not entry.rows.keys() & set(self.keeps):
            return contents, None
        return super().write(contents, entry, when)
