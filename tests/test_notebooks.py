"""The notebooks run from their first cell to their last."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from swept import intervals

from vosfm import zoo
from vosfm.report import Table

NOTEBOOKS = zoo.CONFIGS.parent / "notebooks"


def run(name: str, folder: Path, changes: dict[str, str] | None = None) -> list[Any]:
    """What the cells of a notebook show, run in `folder`, with words of its source changed."""
    shown: list[Any] = []
    names: dict[str, Any] = {"display": shown.append}
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
        source = "".join(cell["source"])
        for old, new in (changes or {}).items():
            source = source.replace(old, new)
        if cell["cell_type"] != "code":
            continue
        if source.startswith("%%writefile "):
            path, _, text = source.removeprefix("%%writefile ").partition("\n")
            (folder / path).write_text(text)
            continue
        tree = ast.parse(re.sub(r"^%.*$", "", source, flags=re.MULTILINE))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    return [one for one in shown if one is not None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder called notebooks, in which they run."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return folder


def test_quickstart(place: Path) -> None:
    *_, scores, figure = run("quickstart", place, {"length=16": "length=16, size=(64, 96)"})
    assert scores["optical flow"]["J&F"] > scores["fresh weights"]["J&F"]
    assert len(figure.axes) == 6


def test_ablation_analysis(place: Path) -> None:
    intervals(place.parent / "experiments" / "results" / "mmpm")
    names, table, *rest, figure = run("ablation_analysis", place)
    assert names == ["mmpm/update_interval"]
    assert table.column("J&F")[0].mean == pytest.approx(55)
    assert table.column("J&F, published, MUG-VOS test") == (66.6, 86.1, None, 68.3)
    assert sum(isinstance(one, Table) for one in rest) >= 18  # those of the papers alone
    assert [axes.get_title() for axes in figure.axes] == ["ours", "published", "cost"]


def test_build_your_own_memory(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds, figure = run(
        "build_your_own_memory",
        place,
        {
            "STEPS, SEEDS = 40": "STEPS, SEEDS = 1",
            "(96, 96)": "(64, 64)",
            "40, size=(96, 160)": "4, size=(64, 96)",
            "length=120": "length=31",
        },
    )
    assert kinds == ["Temporal", "Doubling"]
    assert capsys.readouterr().out.count("2 seeds") == 2
    every_fifth, doubling = (line.get_ydata() for line in figure.axes[0].lines)
    assert every_fifth.tolist() == [1 + frame // 5 for frame in range(31)]
    assert max(doubling) == 6  # ages 0, 1, 2-3, ... 16-31


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_are_small_and_tell_of_no_machine(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 200_000
    outputs = [cell.get("outputs", []) for cell in json.loads(text)["cells"]]
    assert not re.search(r"/(home|root|work|tmp|Users)/", json.dumps(outputs))
    assert not any(one["output_type"] == "error" for cell in outputs for one in cell)
