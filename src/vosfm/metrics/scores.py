"""The scores of a benchmark run: of the whole, of each sequence and of each object."""

import csv
import os
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table

from vosfm.files import whole
from vosfm.metrics.protocols import Row


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
    """

    protocol: str
    overall: Row
    sequences: dict[str, Row]
    objects: dict[tuple[str, int], Row]
    frames: dict[str, int]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row for the whole, one a sequence and one an object, at full precision.

        The columns are level (global, sequence, object), sequence, object, frames and those of
        `overall`. The file has a temporary name until it is whole.

        Args:
            path: the file to write; an existing one is replaced.
        """
        with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["level", "sequence", "object", "frames", *self.overall])
            writer.writerow(
                ["global", "", "", sum(self.frames.values()), *self._cells(self.overall)]
            )
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

    def _cells(self, row: Row) -> list[str]:
        return [repr(row[column]) if column in row else "" for column in self.overall]
