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


def _losses(folder: Path, *arguments: str) -> list[float]:
    """Of every step of a short training."""
    folder.mkdir()
    (folder / "exact.yaml").write_text(_EXACT)
    layers = ("--config", "trainer/default", "--config", str(CONFIG), "--config", "exact.yaml")
    command = [sys.executable, "-m", "vosfm", "fit", *layers, *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=240)
    with (folder / "runs" / "vosfm" / "version_0" / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


# Whatever makes samples of a batch depend on each other, or on how many there are, is left out.
_EXACT = """
model:
  segmenter:
    init_args:
      encoder: {init_args: {frozen_norm: true}}
      memory: {init_args: {reader: {init_args: {drop_path: 0.0}}}}
  own_predictions: 0.5
trainer: {max_steps: 6, val_check_interval: null, limit_val_batches: 0, log_every_n_steps: 1}
data: {init_args: {train: {init_args: {clips: 12}}}}
"""


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """Same samples, same identities, same loss at every step, to a relative 1e-4."""
    two = _losses(
        tmp_path / "two",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--data.init_args.batch_size=2",
    )
    one = _losses(tmp_path / "one", "--data.init_args.batch_size=4")
    assert len(one) == 6
    assert two == pytest.approx(one, rel=1e-4)
    shuffled = _losses(
        tmp_path / "other", "--data.init_args.batch_size=4", "--model.shuffle_identities=false"
    )
    assert two != pytest.approx(shuffled, rel=1e-3)
