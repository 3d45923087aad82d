"""A memory: its banks by name, and the reader that looks at them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from vosfm.memory.banks import Bank, select_rows, widen
from vosfm.memory.readers import Reader
from vosfm.types import Contents, Encoding, Entry, Features, Readout, When

Banks = Mapping[str, Contents]


class Memory(nn.Module):
    """Banks by name and one reader.

    Args:
        banks: what is kept, by the names that the reader knows.
        reader: how it is looked at.

    Raises:
        ValueError: if the reader reads a bank that is not there.
    """

    def __init__(self, banks: dict[str, Bank], reader: Reader) -> None:
        super().__init__()
        missing = sorted(set(reader.reads) - set(banks))
        if missing:
            raise ValueError(
                f"{type(reader).__name__} reads bank {missing[0]!r}, memory has {sorted(banks)}"
            )
        self.banks = nn.ModuleDict(banks)
        self.reader = reader

    def start(self) -> dict[str, Contents]:
        """Empty contents for every bank."""
        return {name: Contents() for name in self.banks}

    def read(
        self, banks: Banks, features: Features, rows: int, encoding: Encoding | None = None
    ) -> Readout:
        """Look at a frame through the memory; see `Reader.read`."""
        views = {name: widen(contents, rows) for name, contents in banks.items()}
        return self.reader.read(features, views, encoding)

    def write(self, banks: Banks, entry: Entry, when: When) -> dict[str, Contents]:
        """Offer the entry of a committed frame to every bank."""
        written = {}
        for name, bank in self.banks.items():
            assert isinstance(bank, Bank)
            written[name], _ = bank.write(banks[name], entry, when)
        return written

    def select(self, banks: Banks, rows: list[int]) -> dict[str, Contents]:
        """Keep these rows of every bank, in this order."""
        return {name: select_rows(contents, rows) for name, contents in banks.items()}
