"""The trials of a sweep, as Weights & Biases knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vosfm.errors import InputError
from vosfm.report.results import Results, Trial, grid, number, stage_of

_FAILED = ("failed", "crashed", "killed")


def read_wandb(place: str) -> Results:
    """Read a sweep from W&B.

    Args:
        place: entity/project/sweep; project/sweep of the entity that is logged in.

    Raises:
        InputError: if W&B cannot be reached, or has no such sweep.
    """
    parts = place.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise InputError(f"{place!r}: give a sweep of W&B as entity/project/sweep")
    import wandb

    try:
        sweep = wandb.Api().sweep(place)  # type: ignore[no-untyped-call]
        config = dict(sweep.config)
        runs = list(sweep.runs)
    except (wandb.Error, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{place}: W&B does not give this sweep ({error}); log in with `wandb login`, or read "
            "the folder that vosfm sweep wrote"
        ) from None
    metric = config.get("metric")
    name = metric.get("name") if isinstance(metric, dict) else None
    parameters = list(_names(config.get("parameters") or {}))
    return Results(
        place,
        str(config.get("name") or place),
        name,
        tuple(
            _trial(run, parameters, name)
            for run in runs
            if run.state == "finished" or run.state in _FAILED
        ),
        tuple(grid(config)),
    )


def _names(parameters: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name, told in parameters.items():
        if isinstance(told, dict) and isinstance(told.get("parameters"), dict):
            names += _names(told["parameters"], f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def _trial(run: Any, parameters: list[str], metric: str | None) -> Trial:
    given = {name: _found(run.config, name) for name in parameters}
    if run.state != "finished":
        return Trial(run.name, given, {}, error=str(run.state))
    summary = dict(run.summary)
    values = {
        name: value
        for name, one in summary.items()
        if not name.startswith("_") and (value := number(one)) is not None
    }
    stage = stage_of(values, metric)
    evictions = values.get(f"{stage}/evictions")
    return Trial(
        run.name,
        given,
        values,
        values.get(f"{stage}/fps"),
        values.get(f"{stage}/memory_mib"),
        None if evictions is None else round(evictions),
    )


def _found(config: Mapping[str, Any], name: str) -> Any:
    """A parameter of a run, which W&B keeps under its dotted name, or each part within another."""
    if name in config:
        return config[name]
    for head, inner in config.items():
        if isinstance(inner, Mapping) and name.startswith(f"{head}."):
            return _found(inner, name[len(head) + 1 :])
    return None
