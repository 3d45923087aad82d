"""The floors of the house: no import runs up."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vosfm

ROOT = Path(vosfm.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "errors types files processes progress",
        "ops schedules flow",
        "layers",
        "encoders mask_encoders memory decoders prompters identification proposals prompts losses "
        "candidate_loss scalable_loss",
        "compatibility",
        "segmenter",
        "search checkpoints optimisation zoo augmentation fusion pace",
        "tracker",
        "baselines",
        "task callbacks oracle cost",
        "provenance both_ways track lightning_cli evaluate compare demo stats convert "
        "collect pack sweeping sweep peers loggers",
        "cli",
    )
)
"""The bottom first. `data`, `metrics` and `report` stand beside the house, on its ground."""

BESIDE = frozenset({"data", "metrics", "report"})


def imports(path: Path) -> set[str]:
    """The modules that a file imports when it is loaded, of vosfm by their names inside it."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "vosfm":
            names |= {f"vosfm.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    (number,) = [number for number, names in enumerate(FLOORS) if name in names]
    return number


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_runs_up(path: Path) -> None:
    here = part(path)
    if here in ("__init__", "__main__"):
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("vosfm.")} - {here}
    if here in BESIDE:
        assert ours <= FLOORS[0] | BESIDE
        return
    for other in ours - BESIDE:
        assert floor(other) <= floor(here), f"{here} imports {other}, which stands above it"
    if floor(here) < floor("task"):
        assert not ours & BESIDE, "models know nothing of data"
        assert not {name for name in imports(path) if name.split(".")[0] == "lightning"}
