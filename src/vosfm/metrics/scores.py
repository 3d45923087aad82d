"""The scores of a benchmark run: of the whole, of each sequence and of each object."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.box import SIMPLE
from rich.table import Table

from vosfm.files import whole
from vosfm.metrics.averages import Row
from vosfm.metrics.protocols import named


@dataclass(frozen=True)
class Scores:
    """What `vosfm.evaluate.evaluate` found.

    Attributes:
        protocol: the rules that were followed.
        overall: a value for each column of the protocol, as it averages.
        sequences: by sequence, the mean over its objects; without the columns that only the whole
            has.
        objects: by (sequence, object id).
        frames: by sequence, how many frames were counted.
        unseen: the (sequence, object id) that count as unseen; None if it is not known.
        attributes: by sequence, the challenges that are known of it.
    """

    protocol: str
    overall: Row
    sequences: dict[str, Row]
    objects: dict[tuple[str, int], Row]
    frames: dict[str, int]
    unseen: frozenset[tuple[str, int]] | None = None
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def by_attribute(self) -> dict[str, Row]:
        """Average over the sequences that have an attribute, as the protocol averages the whole.

        Returns:
            A row like `overall` for each attribute of any sequence with an object that counts, in
            alphabetical order.
        """
        averages = named(self.protocol).overall
        return {
            attribute: averages(
                {key: row for key, row in self.objects.items() if key[0] in names}, self.unseen
            )
            for attribute, names in self._having().items()
        }

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row for the whole, one a sequence and one an object, at full precision.

        The columns are level (global, sequence, object), sequence, object, frames and those of
        `overall`. Where attributes are known, there is also a row for each, of level attribute,
        with its name as the sequence. The file has a temporary name until it is whole.

        Args:
            path: the file to write; an existing one is replaced.
        """
        with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["level", "sequence", "object", "frames", *self.overall])
            writer.writerow(
                ["global", "", "", sum(self.frames.values()), *self._cells(self.overall)]
            )
            for name, row in self.by_attribute().items():
                frames = sum(self.frames[sequence] for sequence in self._having()[name])
                writer.writerow(["attribute", name, "", frames, *self._cells(row)])
            for name, row in self.sequences.items():
                writer.writerow(["sequence", name, "", self.frames[name], *self._cells(row)])
            for (name, object_id), row in self.objects.items():
                writer.writerow(["object", name, object_id, self.frames[name], *self._cells(row)])

    def table(self) -> Table:
        """Lay the sequences out as a rich table, in percent, with the whole as its footer."""
        title = f"{self.protocol}, {len(self.objects)} objects"
        table = Table(title=title, show_footer=True, box=SIMPLE, padding=(0, 1, 0, 0))
        table.add_column("sequence", footer="global", no_wrap=True)
        table.add_column("frames", footer=str(sum(self.frames.values())), justify="right")
        for column, value in self.overall.items():
            footer = f"{100 * value:.1f}"
            table.add_column(column.replace("_", " "), footer=footer, justify="right")
        for name, row in self.sequences.items():
            percents = (f"{100 * row[c]:.1f}" if c in row else "" for c in self.overall)
            table.add_row(name, str(self.frames[name]), *percents)
        return table

    def attribute_table(self) -> Table:
        """Lay the attributes out as a rich table, in percent, a row each."""
        table = Table(title=f"{self.protocol} by attribute", box=SIMPLE, padding=(0, 1, 0, 0))
        table.add_column("attribute", no_wrap=True)
        table.add_column("sequences", justify="right")
        for column in self.overall:
            table.add_column(column.replace("_", " "), justify="right")
        having = self._having()
        for name, row in self.by_attribute().items():
            table.add_row(
                name, str(len(having[name])), *(f"{100 * value:.1f}" for value in row.values())
            )
        return table

    def _having(self) -> dict[str, list[str]]:
        """The sequences of each attribute that have an object that counts."""
        having: dict[str, list[str]] = {}
        for name in self.sequences:
            for attribute in self.attributes.get(name, ()):
                having.setdefault(attribute, []).append(name)
        return dict(sorted(having.items()))

    def _cells(self, row: Row) -> list[str]:
        return [repr(row[column]) if column in row else "" for column in self.overall]
