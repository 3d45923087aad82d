"""What the papers published, and which arms of our sweeps it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")
"""All published numbers, and nothing else."""

_TOLD = frozenset({"arm", "where", "benchmark"})


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Attributes:
        study: name of the sweep that repeats it, system/study.
        paper: short name.
        table: of the paper; None where that was not noted.
        benchmark: that it was measured on.
        arm: as the paper calls it.
        metric: J&F, J, F or V in percent; fps; memory_gb; or speed, a ratio to the first arm.
        value: the number.
        where: ends of parameters' names -> values of the arm, in words with * for the rest; empty
            if no trial can match.
    """

    study: str
    paper: str
    table: str | None
    benchmark: str
    arm: str
    metric: str
    value: float
    where: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, parameters: Mapping[str, Any]) -> bool:
        """Whether an arm with these parameters repeats the one of the paper."""
        return bool(self.where) and all(
            any(_ends(name, end) and _same(one, value) for name, one in parameters.items())
            for end, value in self.where.items()
        )


@dataclass(frozen=True)
class PublishedStudy:
    """A table of a paper.

    Attributes:
        name: of the sweep that repeats it.
        title: what it asks.
        source: paper and table.
        needs_evictions: whether an arm whose memory never filled says nothing.
        numbers: of it; none if they have not been entered.
    """

    name: str
    title: str
    source: str
    needs_evictions: bool
    numbers: tuple[Published, ...]


@cache
def published() -> Mapping[str, PublishedStudy]:
    """All tables, by the names of the sweeps that repeat them."""
    told = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: _study(name, one) for name, one in told.items()}


def study_of(name: str) -> PublishedStudy | None:
    """The table that a sweep repeats; None if there is none.

    Args:
        name: of the sweep: its last part is the study, one of those before it the system.
    """
    *systems, study = name.split("/")
    keys = (f"{system}/{study}" for system in reversed(systems))
    return next((published()[key] for key in keys if key in published()), None)


def short(name: str) -> str:
    """A dotted name without the parts that only say how a part is configured."""
    return ".".join(part for part in name.split(".") if part != "init_args")


def _study(name: str, told: Mapping[str, Any]) -> PublishedStudy:
    table = told.get("table")
    numbers = tuple(
        Published(
            name,
            told["paper"],
            None if table is None else str(table),
            arm.get("benchmark") or told["benchmark"],
            str(arm["arm"]),
            metric,
            float(value),
            arm.get("where", {}),
        )
        for arm in told["arms"]
        for metric, value in arm.items()
        if metric not in _TOLD
    )
    source = told["paper"] if table is None else f"{told['paper']}, Table {table}"
    return PublishedStudy(name, told["title"], source, told.get("needs_evictions", False), numbers)


def _ends(name: str, end: str) -> bool:
    return f".{short(name)}".endswith(f".{end}")


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str) and isinstance(theirs, str):
        return fnmatchcase(ours, theirs)
    # Sweep files write null as a word, which is how the command line takes it.
    return ours == theirs or (theirs is None and ours == "null")
