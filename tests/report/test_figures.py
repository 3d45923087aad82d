"""Figures of studies: what is drawn where."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from swept import CAPACITY, INTERVAL, intervals, line, swept

from vosfm.report import plot_curve, plot_study, read_results, studies


def test_arms_beside_the_paper(tmp_path: Path) -> None:
    (study,) = studies([read_results(intervals(tmp_path / "a"))])
    ours, theirs, cost = plot_study(study).axes
    assert [tick.get_text() for tick in ours.get_yticklabels()] == [
        "r = 1",
        "r = 5",
        "interval = 7",
    ]
    assert ours.lines[0].get_xdata() == pytest.approx([50, 60, 55])
    assert [line.get_xdata()[0] for line in theirs.lines] == [66.6, 86.1]
    assert [line.get_ydata()[0] for line in theirs.lines] == [3, 2]
    filled, hollow = (line for line in cost.lines if line.get_marker() == "o")
    assert (filled.get_xdata()[0], filled.get_ydata()[0]) == pytest.approx((12, 55))
    assert hollow.get_markerfacecolor() == "white"
    assert [text.get_text() for text in ours.texts] == ["not informative", "no result"]


def test_without_paper_and_cost(tmp_path: Path) -> None:
    lines = [line({"model.name": n}, 0.5, fps=None) for n in ("$a$", "b")]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    figure = plot_study(study)
    (ours,) = figure.axes
    assert ours.get_yticklabels()[0].get_text() == r"name = \$a\$"
    figure.savefig(tmp_path / "a.png")


def test_curve(tmp_path: Path) -> None:
    lines = [line({INTERVAL: r, CAPACITY: n}, r * n / 100) for r, n in product((5, 1), (5, 10))]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    figure = plot_curve(study, "interval")
    (panel,) = figure.axes
    segments = [line for line in panel.lines if len(line.get_xdata()) == 2]
    assert [s.get_xydata().tolist() for s in segments] == [[[1, 5], [5, 25]], [[1, 10], [5, 50]]]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["capacity = 5", "capacity = 10"]
    with pytest.raises(ValueError, match="no parameter 'lr' varies"):
        plot_curve(study, "lr")


def test_no_two_lines_look_alike(tmp_path: Path) -> None:
    lines = [line({INTERVAL: r, CAPACITY: n}, 0.5) for r, n in product((5, 1), range(12))]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    (panel,) = plot_curve(study, "interval").axes
    assert len({line.get_color() for line in panel.lines}) == 12


def test_curve_over_names(tmp_path: Path) -> None:
    lines = [line({"model.name": n}, 0.5) for n in ("a", "b")]
    (study,) = studies([read_results(swept(tmp_path / "a", lines))])
    with pytest.raises(ValueError, match="name is 'a' in an arm, which is no number"):
        plot_curve(study, "name")
