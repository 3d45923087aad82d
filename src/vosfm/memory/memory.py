"""A memory: its banks by name, and the reader that looks at them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import select_rows, widen
from vosfm.memory.readers import Reader
from vosfm.types import Contents, Encoding, Entry, Features, Readout, When

Banks = Mapping[str, Contents]


class Memory(nn.Module):
    """Banks by name and one reader.

    Args:
        banks: what is kept, by the names that the reader knows.
        reader: how it is looked at.
        spill: bank -> bank that takes what the first one evicts.

    Raises:
        ValueError: if the reader reads a bank that is not there, or something spills from or into
            one.
    """

    def __init__(
        self, banks: dict[str, Bank], reader: Reader, spill: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        missing = sorted(set(reader.reads) - set(banks))
        if missing:
            raise ValueError(
                f"{type(reader).__name__} reads bank {missing[0]!r}, memory has {sorted(banks)}"
            )
        for source, target in (spill or {}).items():
            if strangers := sorted({source, target} - set(banks)):
                raise ValueError(
                    f"spill from {source!r} to {target!r}: memory has no bank {strangers[0]!r}, "
                    f"it has {sorted(banks)}"
                )
        self.banks = nn.ModuleDict(banks)
        self.reader = reader
        self.spill = dict(spill or {})

    def start(self) -> dict[str, Contents]:
        """Empty contents for every bank."""
        return {name: Contents() for name in self.banks}

    def read(
        self,
        banks: Banks,
        features: Features,
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        """Look at a frame through the memory; see `Reader.read`."""
        views = {name: widen(contents, rows) for name, contents in banks.items()}
        return self.reader.read(features, views, rows, when, encoding)

    def due(self, banks: Banks, when: When) -> bool:
        """Whether any bank wants the masks of this frame encoded."""
        return any(self._bank(name).due(contents, when) for name, contents in banks.items())

    def observe(self, banks: Banks, usage: Mapping[str, Tensor]) -> dict[str, Contents]:
        """Tell banks how much their tokens were looked at; usage as `Readout.usage`."""
        return {
            name: self._bank(name).observe(contents, usage[name]) if name in usage else contents
            for name, contents in banks.items()
        }

    def write(self, banks: Banks, entry: Entry, when: When) -> dict[str, Contents]:
        """Offer the entry of a committed frame to every bank."""
        written, spilt = {}, {}
        for name, contents in banks.items():
            written[name], evicted = self._bank(name).write(contents, entry, when)
            if evicted is not None and name in self.spill:
                spilt[self.spill[name]] = evicted
        for name, evicted in spilt.items():
            written[name] = self._bank(name).absorb(written[name], evicted, when)
        return written

    def select(self, banks: Banks, rows: list[int]) -> dict[str, Contents]:
        """Keep these rows of every bank, in this order."""
        return {name: select_rows(contents, rows) for name, contents in banks.items()}

    def _bank(self, name: str) -> Bank:
        bank = self.banks[name]
        assert isinstance(bank, Bank)
        return bank
