"""Tables: their numbers by hand, and how they are written."""

from __future__ import annotations

import csv
import io
from itertools import product
from pathlib import Path

import pytest
from rich.console import Console
from swept import CAPACITY, INTERVAL, intervals, line, swept

from vosfm.report import (
    Study,
    csv_text,
    latex,
    markdown,
    pivot,
    read_results,
    studies,
    tabulate,
    terminal,
)
from vosfm.report.rendering import escape

PUBLISHED = "J&F, published, MUG-VOS test"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (found,) = studies([read_results(intervals(tmp_path / "a"))])
    return found


def test_markdown_by_hand(study: Study) -> None:
    text = markdown(tabulate(study))
    title, _, *rest = text.splitlines()
    assert title == "## mmpm/update_interval: Update interval r of the memory"
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in rest[:6]]
    assert rows[0] == [
        *("arm", "interval", "J&F", "J", "F", "seeds", "failed", "evictions", ""),
        *("fps", "memory MiB", PUBLISHED),
    ]
    scores = ["55.0 ± 5.0", "56.0 ± 5.0", "54.0 ± 5.0"]
    assert rows[2] == ["r = 1", "1", *scores, "3", "0", "30–40", "", "12.0", "520", "66.6"]
    alone = ["70.0", "71.0", "69.0", "1", "1", "0", "not informative", "10.0", "512", "86.1"]
    assert rows[3] == ["r = 5", "5", *alone]
    assert rows[4] == ["", "7", "", "", "", "0", "0", "", "not run", "", "", ""]
    assert rows[5] == ["r = 3", *[""] * 10, "68.3"]  # the paper's alone: no trial has it
    assert "1 failed, the first one: exit code 1: no" in text
    assert "MUG-VOS, Table 3a" in text


def test_published_numbers_stand_in_marked_columns_alone(study: Study) -> None:
    table = tabulate(study)
    published = {86.1, 68.3, 66.6}
    for column in table.columns:
        if column.title != PUBLISHED:
            assert not published & {v for v in table.column(column.title) if isinstance(v, float)}
    assert set(table.column(PUBLISHED)) == {*published, None}


def test_csv_holds_numbers(study: Study) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(tabulate(study)))))
    assert float(rows[0]["J&F"]) == pytest.approx(55)
    assert float(rows[0]["J&F deviation"]) == pytest.approx(5)
    assert rows[0]["J&F seeds"] == "3"
    assert rows[1]["J&F deviation"] == ""
    assert rows[1]["note"] == "not informative"
    assert rows[1][PUBLISHED] == "86.1"


def test_latex(study: Study) -> None:
    text = latex(tabulate(study))
    assert r"arm & interval & J\&F & J & F &" in text
    assert r"r = 1 & 1 & 55.0 $\pm$ 5.0 &" in text
    assert r"\label{tab:mmpm-update-interval}" in text
    assert text.count("\n    r = ") == 3
    begin = text.index(r"\begin{tabular}{") + len(r"\begin{tabular}{")
    shape = text[begin : text.index("}", begin)]
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    for row in body.splitlines()[1:-1]:
        assert row.replace(r"\&", "").count("&") == len(shape) - 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% of a_b & #3", r"50\% of a\_b \& \#3"),
        ("{$x^2~y}", r"\{\$x\textasciicircum{}2\textasciitilde{}y\}"),
        ("a\\b\nc", r"a\textbackslash{}b c"),
    ],
)
def test_latex_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_what_a_sweep_says_breaks_no_table(tmp_path: Path) -> None:
    folder = swept(tmp_path / "a", [line({"model.name": n}, 0.5) for n in ("a|b", "[red]c\nd")])
    (study,) = studies([read_results(folder)])
    table = tabulate(study)
    lines = markdown(table).splitlines()
    assert r"| a\|b |" in lines[4]
    assert r"| \[red]c d |" in lines[5]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(terminal(table))
    assert "[red]c d" in console.export_text()


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    lines = [
        line({"model.lr": r}, r, evictions=None, fps=None, memory_mib=None) for r in (0.1, 0.2)
    ]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    assert [c.title for c in tabulate(study).columns] == ["lr", "J&F", "J", "F", "seeds"]


def test_gain_is_seed_by_seed(tmp_path: Path) -> None:
    lines = [line({CAPACITY: 5}, score, seed) for seed, score in enumerate((0.2, 0.6, 0.4))]
    lines += [line({CAPACITY: 9}, score, seed) for seed, score in ((2, 0.42), (1, 0.61), (3, 0.9))]
    lines += [line({CAPACITY: 12}, 0.7, 0)]
    (study,) = studies([read_results(swept(tmp_path / "a" / "b", lines))])
    first, gain, alone = tabulate(study).column("J&F, gain")
    assert first is alone is None  # of one seed nothing is known
    assert (gain.mean, gain.deviation, gain.count) == pytest.approx((1.5, 0.5**0.5, 2))


def test_zero_says_something(tmp_path: Path) -> None:
    lines = [line({"model.lr": r}, 0.0, evictions=0) for r in (0.1, 0.2)]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    assert tabulate(study).column("evictions") == (0, 0)


def test_pivot(tmp_path: Path) -> None:
    lines = [
        line({INTERVAL: r, CAPACITY: n}, (r + n) / 100 + seed / 50, seed, evictions=6 - r)
        for (r, n), seed in product([(1, 5), (1, 10), (5, 5), (6, 10)], (0, 1))
    ]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    table = pivot(study, "capacity")
    assert [column.title for column in table.columns] == [
        "interval",
        "capacity = 5",
        "capacity = 10",
    ]
    assert table.rows == (
        ("1", "7.0 ± 1.4", "12.0 ± 1.4"),
        ("5", "11.0 ± 1.4", None),
        ("6", None, "17.0 ± 1.4 *"),
    )
    assert "not informative" in table.notes[1]
    assert pivot(study, CAPACITY) == table
    with pytest.raises(ValueError, match=r"no parameter 'size' varies.*interval, capacity"):
        pivot(study, "size")
