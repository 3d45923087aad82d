"""What came of a trial: the last value of every metric, its cost, and what it was made by."""

from __future__ import annotations

import math
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vosfm.errors import InputError
from vosfm.report.curves import read_metrics
from vosfm.report.results import stage_of

_PACKAGES = ("vosfm", "torch", "torchvision", "lightning", "numpy", "timm")


def last_values(folder: Path) -> dict[str, float]:
    """The last value of every metric that a run logged.

    Args:
        folder: in which one ``metrics.csv`` of Lightning's CSVLogger lies, at any depth.

    Returns:
        Metrics by name, those left out whose last value is no finite number.

    Raises:
        InputError: if there is no such file, or more than one, or it is not one of a run.
    """
    files = sorted(folder.rglob("metrics.csv"))
    if not files:
        raise InputError(
            "wrote no metrics.csv: give its trainer a CSVLogger, as trainer/default does"
        )
    if len(files) > 1:
        told = ", ".join(str(file.relative_to(folder)) for file in files)
        raise InputError(f"wrote more than one metrics.csv ({told}): give it one CSVLogger")
    last = {name: values[-1] for name, (_, values) in read_metrics(files[0]).items()}
    return {name: value for name, value in last.items() if math.isfinite(value)}


def compared(metrics: Mapping[str, float], name: str | None) -> None:
    """Check that the metric of the sweep is among those of a trial.

    Raises:
        InputError: if it is not.
    """
    if name is not None and name not in metrics:
        known = ", ".join(sorted(metrics)) or "none at all"
        raise InputError(f"logged no finite {name!r}, the metric of the sweep; it logged {known}")


def result(
    trial: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    metric: str | None,
    command: list[str],
    seconds: float,
    begun_at: str | None,
) -> dict[str, Any]:
    """A line of the results.

    Args:
        trial: its id.
        parameters: of it.
        metrics: of it; cost and evictions are those of the stage of the sweep's metric.
        metric: of the sweep.
        command: as a user would give it.
        seconds: that it took, from its start to its end.
        begun_at: the commit of the checkout when it started, as `commit` tells it.
    """
    stage = stage_of(metrics, metric)
    evictions = metrics.get(f"{stage}/evictions")
    return {
        "trial": trial,
        "parameters": dict(parameters),
        "metrics": dict(metrics),
        "cost": {
            "seconds": round(seconds, 3),
            "fps": metrics.get(f"{stage}/fps"),
            "memory_mib": metrics.get(f"{stage}/memory_mib"),
        },
        "evictions": None if evictions is None else round(evictions),
        "command": command,
        "versions": versions(),
        "commit": begun_at,
    }


@cache
def versions() -> dict[str, str]:
    """Of Python and the packages that decide results."""
    told = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            continue
    return told


def commit() -> str | None:
    """Of the checkout as it is now, with -dirty behind it if files differ; None outside of one."""
    here = Path(__file__)
    told = ""
    for words in (
        # Installed into an environment that lies within another repository, it is not of that one.
        ("ls-files", "--error-unmatch", here.name),
        ("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"),
    ):
        try:
            done = subprocess.run(
                ["git", "-C", str(here.parent), *words],
                check=True,
                capture_output=True,
                text=True,
                timeout=20,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        told = done.stdout.strip()
    return told


def last_line(log: Path) -> str:
    """The last line that says something of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "an empty log")
