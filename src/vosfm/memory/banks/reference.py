"""The frames that were given."""

from __future__ import annotations

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append
from vosfm.types import Contents, Entry, When


class Reference(Bank):
    """The frames whose masks were given.

    Args:
        capacity: how many of them are kept, in entries; the first always stays, then the newest;
            of capacity 1, the newest alone. None keeps all: as many as there are prompted frames.

    Raises:
        ValueError: if the capacity is less than 1.

    Source: AOT, section 4.2 (the reference frame of the long-term memory).
    """

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity must be at least 1 or None, not {capacity}")
        self.capacity = capacity

    def due(self, contents: Contents, when: When) -> bool:
        return when.given

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        if not self.due(contents, when):
            return contents, None
        leaving = None
        if self.capacity is not None and contents.count >= self.capacity:
            leaving = min(1, self.capacity - 1)
        return append(contents, entry, when.time, leaving)
