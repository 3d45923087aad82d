"""Tables for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re

from rich import table as rich_table
from rich.box import SIMPLE_HEAD
from rich.text import Text

from vosfm.report.study import Spread
from vosfm.report.table import Column, Table, Value, shown

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "δ": r"$\delta$",
    "–": "--",
}


def terminal(table: Table) -> rich_table.Table:
    """A table as rich shows it; its notes are the caption."""
    shape = rich_table.Table(
        title=Text(table.title),
        caption=Text("\n".join(table.notes)),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        shape.add_column(
            Text(column.title.replace(", ", "\n")),
            justify="left" if column.text else "right",
            overflow="fold",
        )
    for row in _cells(table):
        shape.add_row(*map(Text, row))
    return shape


def markdown(table: Table) -> str:
    """A table as a chapter of a Markdown file."""
    lines = [
        _bars([column.title for column in table.columns]),
        "|" + "|".join("---" if column.text else "--:" for column in table.columns) + "|",
        *(_bars(row) for row in _cells(table)),
    ]
    notes = [f"- {_marked(note)}" for note in table.notes]
    parts = [[f"## {_marked(table.title)}"], lines if table.rows else [], notes]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def csv_text(table: Table) -> str:
    """A table as CSV: numbers as they are, a spread as mean, deviation and count."""
    spreads = [
        any(isinstance(row[index], Spread) for row in table.rows)
        for index in range(len(table.columns))
    ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] = []
    for column, spread in zip(table.columns, spreads, strict=True):
        name = column.title or "note"
        header += [name, f"{name} deviation", f"{name} seeds"] if spread else [name]
    writer.writerow(header)
    for row in table.rows:
        cells: list[str | int | float | None] = []
        for value, spread in zip(row, spreads, strict=True):
            cells += _parts(value) if spread else [None if isinstance(value, Spread) else value]
        writer.writerow(cells)
    return file.getvalue()


def latex(table: Table) -> str:
    """A table for LaTeX with the package booktabs; its notes stand in the caption."""
    shape = "".join("l" if column.text else "r" for column in table.columns)
    rows = [_ampersands(row) for row in _cells(table)]
    caption = " ".join(escape(text) for text in (f"{table.title}.", *table.notes))
    place = re.sub(r"[^A-Za-z0-9]+", "-", table.name).strip("-")
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{caption}}}",
            rf"  \label{{tab:{place}}}",
            rf"  \begin{{tabular}}{{{shape}}}",
            r"    \toprule",
            f"    {_ampersands([column.title for column in table.columns])}",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Words as LaTeX sets them as they are."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _cells(table: Table) -> list[list[str]]:
    return [
        [_one_line(value, column) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]


def _one_line(value: Value, column: Column) -> str:
    return " ".join(shown(value, column).split())


def _parts(value: Value) -> list[str | int | float | None]:
    if isinstance(value, Spread):
        return [value.mean, value.deviation, value.count]
    return [value, None, None]


def _bars(cells: list[str]) -> str:
    return "| " + " | ".join(map(_marked, cells)) + " |"


def _marked(text: str) -> str:
    """Words that Markdown takes for nothing else; an underscore within a word is none of its."""
    return re.sub(r"[\\|*<`\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))


def _ampersands(cells: list[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
