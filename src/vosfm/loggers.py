"""Where a run writes to: one folder for all of it if it is asked to, W&B only if that answers."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

RUNS = "VOSFM_RUNS"
"""The environment's word for the folder that a run's files go to; set for trials of a sweep."""

_WANDB = "https://api.wandb.ai"
_PATIENCE = 5.0  # seconds for W&B to answer


def settle(trainer: Any) -> None:
    """Change the settings of a trainer to what can be done here.

    Where the environment names a folder in `RUNS`, relative folders that a run writes to are within
    it. Where W&B shall be logged to but does not answer, its files are kept, as offline.

    Args:
        trainer: arguments of Lightning's Trainer, as parsed.
    """
    folder = os.environ.get(RUNS)
    if folder:
        trainer.default_root_dir = str(Path(folder, trainer.default_root_dir or ""))
    for logger in _configured(trainer.logger):
        arguments = logger.get("init_args")
        if arguments is None:
            continue
        if folder and "save_dir" in arguments:
            arguments["save_dir"] = str(Path(folder, arguments["save_dir"] or ""))
        if not logger["class_path"].endswith("WandbLogger") or arguments.get("offline"):
            continue
        if "WANDB_MODE" not in os.environ and not _answers():
            rank_zero_warn("W&B does not answer: its files are kept here, send them by wandb sync")
            os.environ["WANDB_MODE"] = "offline"


def _configured(logger: Any) -> Iterator[Any]:
    for one in logger if isinstance(logger, list) else [logger]:
        if hasattr(one, "class_path"):
            yield one


def _answers() -> bool:
    address = os.environ.get("WANDB_BASE_URL", _WANDB)
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError:
        return True  # a server that refuses this page is there
    except (OSError, ValueError):
        return False
