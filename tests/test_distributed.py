"""Training on two processes, as a user starts it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from models import CONFIG


@pytest.mark.slow
def test_two_processes_train_validate_and_save(tmp_path: Path) -> None:
    """They meet in every collective: one that waits alone would wait forever."""
    arguments = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=2")
    layers = ("--config", "trainer/default", "--config", str(CONFIG))
    command = [sys.executable, "-m", "vosfm", "fit", *layers, *arguments]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
    run = tmp_path / "runs" / "vosfm" / "version_0"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    with (run / "metrics.csv").open() as file:
        scores = [float(row["val/J&F"]) for row in csv.DictReader(file) if row["val/J&F"]]
    assert scores
    assert all(0 <= score <= 1 for score in scores)
