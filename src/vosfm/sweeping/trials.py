"""The trials that a sweep stands for: each a choice of all its parameters."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from vosfm.errors import InputError
from vosfm.report.results import SEED
from vosfm.sweeping.parameters import Value
from vosfm.sweeping.sweep_file import Sweep

_LONGEST = 60  # letters of a readable name


@dataclass(frozen=True)
class Trial:
    """A choice of parameters.

    Attributes:
        id: readable, and the same wherever the parameters are.
        parameters: dotted name -> value.
    """

    id: str
    parameters: Mapping[str, Value]


def expand(sweep: Sweep, trials: int | None = None, seed: int = 0) -> list[Trial]:
    """List the trials of a sweep.

    A grid is every combination, the last parameter of the file changing fastest. At random, the
    i-th choice of a parameter is a function of (seed, i, its name), and every choice is run with
    all listed seeds.

    Args:
        sweep: of method grid or random.
        trials: choices at random; None for the run_cap of the file.
        seed: of the choices at random.

    Raises:
        InputError: if the method needs W&B, the number of trials is missing or of no use, or two
            trials would be the same.
    """
    if "early_terminate" in sweep.config:
        raise InputError(
            f"{sweep.path}: early_terminate is done by W&B: run it with --where wandb, or take it "
            "out"
        )
    if sweep.method == "bayes":
        raise InputError(
            f"{sweep.path}: method bayes is W&B's own: run it with --where wandb, or choose grid "
            "or random"
        )
    if sweep.method == "grid":
        if trials is not None:
            raise InputError("--trials is of random sweeps; a grid runs all its trials")
        choices = list(_grid(sweep))[: sweep.config.get("run_cap")]
    else:
        count = sweep.config.get("run_cap") if trials is None else trials
        if count is None or count < 1:
            raise InputError(f"{sweep.path}: method random has no end: give --trials, at least 1")
        choices = list(_random(sweep, count, seed))
    return _named(sweep, choices)


def _grid(sweep: Sweep) -> Iterator[dict[str, Value]]:
    listed = []
    for name, parameter in sweep.parameters.items():
        values = parameter.listed()
        if values is None:
            raise InputError(
                f"{sweep.path}: parameters: {name}: {parameter.distribution} has no end, a grid "
                "needs values: [...]; or choose method random"
            )
        listed.append(values)
    for choice in product(*listed):
        yield dict(zip(sweep.parameters, choice, strict=True))


def _random(sweep: Sweep, count: int, seed: int) -> Iterator[dict[str, Value]]:
    seeds = sweep.parameters.get(SEED)
    listed = None if seeds is None else seeds.listed()
    for index in range(count):
        drawn = {
            name: parameter.draw(np.random.default_rng([seed, index, _number(name)]))
            for name, parameter in sweep.parameters.items()
        }
        if listed is None:
            yield drawn
        else:
            yield from ({**drawn, SEED: one} for one in listed)


def _named(sweep: Sweep, choices: Sequence[Mapping[str, Value]]) -> list[Trial]:
    varied = [
        name
        for name in sweep.parameters
        if len({canonical(choice[name]) for choice in choices}) > 1
    ]
    trials: dict[str, Trial] = {}
    for choice in choices:
        told = "-".join(f"{name.rpartition('.')[2]}={_short(choice[name])}" for name in varied)
        readable = re.sub(r"[^A-Za-z0-9=.-]+", "_", told)[:_LONGEST].strip("_.-")
        digest = hashlib.sha256(canonical(dict(choice)).encode()).hexdigest()[:8]
        trial = Trial(f"{readable}-{digest}" if readable else digest, choice)
        if trial.id in trials:
            # Choices at random may meet; of a grid, somebody wrote a value twice.
            if sweep.method == "grid":
                raise InputError(f"{sweep.path}: parameters: {told}: stands there twice")
            continue
        trials[trial.id] = trial
    return list(trials.values())


def canonical(value: Any) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, default=str)


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
