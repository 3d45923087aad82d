"""Where a run writes to: one folder for all of it if it is asked to, W&B only if that answers."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_warn

RUNS = "VOSFM_RUNS"
"""The environment's word for the folder that a run's files go to; set for trials of a sweep."""

_AGENT = "WANDB_SWEEP_ID"  # set by agents of W&B for the trials that they start
_WANDB = "https://api.wandb.ai"
_PATIENCE = 5.0  # seconds for W&B to answer
_LAST_WORDS = 600.0  # seconds for W&B to take what a run has not sent yet when it ends
_NOT_THERE = (502, 503, 504)  # what a gateway answers for a server that it does not reach


def in_runs(path: str | Path) -> Path:
    """A path to write to, within the folder that the environment names in `RUNS` if it does."""
    return Path(os.environ.get(RUNS, ""), path)


def settle(trainer: Any) -> None:
    """Change the settings of a trainer to what can be done here.

    Where the environment names a folder in `RUNS`, relative folders that a run writes to are within
    it. A trial that an agent of W&B starts logs to W&B, at once: its sweep waits for that. Where
    W&B shall be logged to but does not answer, its files are kept, as offline; where it stops to
    answer later, a run that ends waits for it no longer than ten minutes.

    Args:
        trainer: arguments of Lightning's Trainer, as parsed.
    """
    if os.environ.get(RUNS):
        trainer.default_root_dir = str(in_runs(trainer.default_root_dir or ""))
    if _AGENT in os.environ:
        _join_sweep(trainer)
    for logger in _configured(trainer.logger):
        arguments = logger.get("init_args")
        if arguments is None:
            continue
        if os.environ.get(RUNS) and "save_dir" in arguments:
            arguments["save_dir"] = str(in_runs(arguments["save_dir"] or ""))
        if not _of_wandb(logger) or arguments.get("offline"):
            continue
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(_LAST_WORDS))
        if "WANDB_MODE" not in os.environ and not _answers():
            rank_zero_warn("W&B does not answer: its files are kept here, send them by wandb sync")
            os.environ["WANDB_MODE"] = "offline"


def _join_sweep(trainer: Any) -> None:
    loggers = list(_configured(trainer.logger))
    ours = [logger for logger in loggers if _of_wandb(logger)]
    for logger in ours:
        logger.init_args.offline = False
    if not ours:
        added = Namespace(  # type: ignore[no-untyped-call]
            {
                "class_path": "lightning.pytorch.loggers.WandbLogger",
                "init_args.project": "vosfm",
                "init_args.save_dir": "runs",
            }
        )
        trainer.logger = [*loggers, added]


def _of_wandb(logger: Any) -> bool:
    told: str = logger["class_path"]
    return told.endswith("WandbLogger")


def _configured(logger: Any) -> Iterator[Any]:
    for one in logger if isinstance(logger, list) else [logger]:
        if hasattr(one, "class_path"):
            yield one


def _answers() -> bool:
    address = os.environ.get("WANDB_BASE_URL", _WANDB)
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in _NOT_THERE  # who refuses this page is there
    except (OSError, ValueError, HTTPException):
        return False
