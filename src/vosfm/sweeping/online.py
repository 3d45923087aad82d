"""A sweep that Weights & Biases controls: registered there, its agents started here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.report.online import read_wandb
from vosfm.report.results import RESULTS, Trial
from vosfm.sweeping.command import DEFAULT, search_path
from vosfm.sweeping.sweep_file import Sweep

_REGISTERED = "online.json"


def register(sweep: Sweep, extra: Sequence[str], folder: Path) -> str:
    """Register a sweep, or find the one that was registered from this folder before.

    Args:
        sweep: to register.
        extra: arguments behind all others of every trial.
        folder: that remembers its id.

    Returns:
        Its id: entity/project/id as far as the file tells.

    Raises:
        InputError: if W&B cannot be reached, or refuses.
    """
    if (folder / _REGISTERED).is_file():
        known: str = json.loads((folder / _REGISTERED).read_text())["sweep"]
        return known
    import wandb

    try:
        told = wandb.sweep(config(sweep, extra), project=sweep.config.get("project", "vosfm"))
    except (wandb.Error, OSError, ValueError) as error:
        raise InputError(
            f"Weights & Biases does not take the sweep: {error}; log in with `wandb login`, or run "
            "with --where local"
        ) from None
    project = sweep.config.get("project", "vosfm")
    place = "/".join([*filter(None, [sweep.config.get("entity")]), project, told])
    with whole(folder / _REGISTERED) as partial:
        partial.write_text(json.dumps({"sweep": place}) + "\n")
    return place


def config(sweep: Sweep, extra: Sequence[str]) -> dict[str, Any]:
    """The sweep as it is registered: that of the file, with seeds and arguments added."""
    told: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(sweep.config)))
    if extra:
        told["command"] = [*(sweep.command or DEFAULT), *extra]
    return told


def agents(place: str, jobs: int, environment: Mapping[str, str]) -> int:
    """Run agents until W&B has no more trials for them.

    Args:
        place: of the sweep, as `register` gives it.
        jobs: how many agents.
        environment: set for them, beside that of this process.

    Returns:
        How many of them failed.

    Raises:
        KeyboardInterrupt: when they have stopped.
    """
    given = {**os.environ, "PATH": search_path(), **environment}
    command = [sys.executable, "-m", "wandb", "agent", "--forward-signals", place]
    started = [subprocess.Popen(command, env=given) for _ in range(jobs)]
    try:
        return sum(agent.wait() != 0 for agent in started)
    except BaseException:
        for agent in started:
            if agent.poll() is None:
                agent.send_signal(signal.SIGTERM)
        for agent in started:
            agent.wait()
        raise


def collect(place: str, folder: Path) -> tuple[int, int]:
    """Write the results of all trials that W&B knows of, those of agents elsewhere among them.

    Args:
        place: of the sweep, as `register` gives it.
        folder: of the sweep; its `RESULTS` is written.

    Returns:
        How many trials are finished, and how many have failed.

    Raises:
        InputError: if W&B cannot be reached; the sweep itself is as it was.
    """
    trials = read_wandb(place).trials
    finished = [trial for trial in trials if trial.error is None]
    with whole(folder / RESULTS) as partial:
        partial.write_text("".join(f"{json.dumps(_line(trial))}\n" for trial in finished))
    return len(finished), len(trials) - len(finished)


def _line(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.id,
        "parameters": dict(trial.parameters),
        "metrics": dict(trial.metrics),
        "cost": {"fps": trial.fps, "memory_mib": trial.memory_mib},
        "evictions": trial.evictions,
    }
