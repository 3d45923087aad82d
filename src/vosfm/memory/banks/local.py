"""The newest frame."""

from __future__ import annotations

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append
from vosfm.types import Contents, Entry, When


class Local(Bank):
    """The newest frame.

    Source: AOT, section 4.2 (short-term memory).
    """

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        return append(Contents(), entry, when.time)[0], contents if contents.count else None
