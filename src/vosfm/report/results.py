"""The trials of a sweep, as they are found on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from vosfm.errors import InputError
from vosfm.files import read_bytes

RESULTS = "results.jsonl"
"""The file of a sweep's folder with a line for each finished trial."""

SEED = "seed_everything"
"""The parameter that tells the runs of one arm apart."""


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        id: of it.
        parameters: dotted name -> value, the seed among them.
        metrics: name -> last value, as logged; none of a trial that failed.
        fps: frames tracked per second.
        memory_mib: the most memory in use, in MiB.
        evictions: frames that the memory gave up, over all videos.
        error: why it failed; None of a finished one.
    """

    id: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    fps: float | None = None
    memory_mib: float | None = None
    evictions: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Results:
    """What is known of a sweep.

    Attributes:
        source: folder, or place at W&B.
        name: of the sweep, system/study.
        metric: that its arms are compared by; None if that is not told.
        trials: that have ended, finished or failed.
        arms: parameters, without the seed, of all arms that a grid asks for; empty if it is not
            known or no grid.
    """

    source: str
    name: str
    metric: str | None
    trials: tuple[Trial, ...]
    arms: tuple[Mapping[str, Any], ...] = ()


def stage_of(metrics: Mapping[str, float], metric: str | None) -> str:
    """The stage whose cost and evictions stand beside a metric.

    Args:
        metrics: of a trial.
        metric: of the sweep, such as ``val/J&F``.

    Returns:
        That of the metric; if it tells no frames per second, the first of test and val that does.
    """
    own = (metric or "").partition("/")[0]
    return next((one for one in (own, "test", "val") if f"{one}/fps" in metrics), own)


def find_sweeps(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders of sweeps in a folder.

    Args:
        folder: of a sweep, or one in which they lie at any depth, each with its sweep.yaml.

    Returns:
        In the order of their names; the folder itself if it is one.
    """
    folder = Path(folder)
    if (folder / RESULTS).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.rglob(RESULTS))
    return [one for one in found if (one / "sweep.yaml").is_file()]


def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read the folder of a sweep.

    Args:
        folder: with results.jsonl; and, if they are there, sweep.yaml, which names the sweep, its
            metric and its arms, and trials/ID/trial.json, which tell of those that failed. Without
            a name, a sweep is called by the end of the folder's path: system/study, or
            system/small/study.

    Raises:
        InputError: if it is no such folder, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give that of a sweep, with {RESULTS} in it")
    path = folder / RESULTS
    if not path.is_file():
        raise InputError(f"{folder}: holds no {RESULTS}: give the folder that vosfm sweep wrote")
    lines = _text(path).splitlines()
    finished = [
        _finished(f"{path}: line {number}", line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    config = _sweep(folder / "sweep.yaml")
    parts = folder.resolve().parts
    ending = parts[-3:] if parts[-2:-1] == ("small",) else parts[-2:]
    metric = config.get("metric")
    return Results(
        str(folder),
        str(config.get("name") or "/".join(ending)),
        metric.get("name") if isinstance(metric, dict) else None,
        (*finished, *_failed(folder / "trials")),
        tuple(grid(config)),
    )


def grid(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The arms that a sweep file asks for: every combination of its values but the seed.

    Args:
        config: the sweep as W&B takes it.

    Yields:
        Parameters of an arm, the last of the file changing fastest; nothing of what is no grid.
    """
    parameters = config.get("parameters")
    if config.get("method") != "grid" or not isinstance(parameters, dict):
        return
    listed = {name: values for name, values in _listed(parameters) if name != SEED}
    for choice in product(*listed.values()):
        yield dict(zip(listed, choice, strict=True))


def _listed(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    for name, told in parameters.items():
        if isinstance(told, dict) and isinstance(told.get("parameters"), dict):
            yield from _listed(told["parameters"], f"{prefix}{name}.")
        elif isinstance(told, dict) and isinstance(told.get("values"), list):
            yield f"{prefix}{name}", told["values"]
        elif isinstance(told, dict) and "value" in told:
            yield f"{prefix}{name}", [told["value"]]


def _finished(where: str, line: str) -> Trial:
    told = _object(where, line)
    parameters, metrics = told.get("parameters"), told.get("metrics")
    if not isinstance(parameters, dict) or not isinstance(metrics, dict):
        raise InputError(f"{where}: holds no parameters and metrics of a trial of vosfm sweep")
    cost = told.get("cost")
    cost = cost if isinstance(cost, dict) else {}
    evictions = number(told.get("evictions"))
    return Trial(
        str(told.get("trial", where)),
        parameters,
        {name: value for name, one in metrics.items() if (value := number(one)) is not None},
        number(cost.get("fps")),
        number(cost.get("memory_mib")),
        None if evictions is None else round(evictions),
    )


def _failed(trials: Path) -> Iterator[Trial]:
    for path in sorted(trials.glob("*/trial.json")):
        told = _object(str(path), _text(path))
        if told.get("status") == "failed" and isinstance(told.get("parameters"), dict):
            error = str(told.get("error") or "no reason told")
            yield Trial(path.parent.name, told["parameters"], {}, error=error)


def number(value: Any) -> float | None:
    """A value that is a finite number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(path: Path) -> str:
    try:
        return read_bytes(path, "file of a sweep").decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text; run the sweep again to have it written") from None


def _object(where: str, text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: damaged JSON, {error}; run the sweep again") from None
    if not isinstance(told, dict):
        raise InputError(f"{where}: holds no trial of vosfm sweep")
    return told


def _sweep(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML: {error}") from None
    if not isinstance(told, dict):
        raise InputError(f"{path}: is no sweep file; put back the one that the sweep began with")
    return told
