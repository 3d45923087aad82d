"""Training on shards as a user starts it: two processes, killed, and gone on with."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from models import CONFIG
from sharded import damage, save_shards, squares

# Drop path draws from torch's generator, whose state no checkpoint holds.
_TRAINING = """
model:
  segmenter:
    init_args:
      memory: {init_args: {reader: {init_args: {drop_path: 0.0}}}}
trainer:
  max_steps: 17
  val_check_interval: null
  limit_val_batches: 0
  num_sanity_val_steps: 0
  callbacks:
    - class_path: diary.Diary
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {every_n_train_steps: 1, save_top_k: -1, filename: "{step}"}
data:
  class_path: vosfm.data.ShardStream
  init_args:
    train:
      class_path: vosfm.data.ShardClips
      init_args:
        root: shards
        drawer: {class_path: vosfm.data.ClipDrawer, init_args: {length: 3, size: [32, 32]}}
        buffer: 3
        spares: 0.15
        allowed_corruption: 0.5
    batch_size: 2
    num_workers: 2
"""

_DIARY = """
import json
import time
import lightning as L

class Diary(L.Callback):
    '''Writes down what each process saw, and leaves the killer some time.'''

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        note = {"step": trainer.global_step, "epoch": trainer.current_epoch,
                "names": batch.names, "loss": float(outputs["loss"])}
        with open(f"rank{trainer.global_rank}.jsonl", "a") as file:
            file.write(json.dumps(note) + "\\n")
        time.sleep(0.15)
"""


def _command(*arguments: str) -> list[str]:
    ddp = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")
    layers = ("--config", "trainer/default", "--config", str(CONFIG), "--config", "training.yaml")
    return [sys.executable, "-m", "vosfm", "fit", *layers, *ddp, *arguments]


def _prepared(folder: Path) -> tuple[Path, dict[str, str]]:
    folder.mkdir()
    (folder / "training.yaml").write_text(_TRAINING)
    (folder / "diary.py").write_text(_DIARY)
    (folder / "shards").symlink_to(folder.parent / "shards")
    return folder, {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}


def _diary(folder: Path, rank: int) -> dict[int, dict[str, Any]]:
    """What a rank saw at each step; a line that the kill cut off is not there."""
    path = folder / f"rank{rank}.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    notes = [json.loads(line) for line in lines]
    assert len({note["step"] for note in notes}) == len(notes)
    return {note["step"]: note for note in notes}


def _last(folder: Path) -> tuple[int, Path]:
    """The newest checkpoint that was written to its end."""
    found = sorted(folder.rglob("*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    for path in reversed(found):
        try:
            return int(torch.load(path, weights_only=True)["global_step"]), path
        except (RuntimeError, EOFError, pickle.UnpicklingError):
            continue
    raise AssertionError(f"no checkpoint in {folder}")


@pytest.mark.slow
def test_a_killed_training_sees_what_an_unbroken_one_sees(tmp_path: Path) -> None:
    """Two processes of two workers, shuffled, broken samples replaced; killed within an epoch."""
    index = save_shards(tmp_path / "shards", squares(32), (7, 9, 10, 6))
    damaged = {damage(index, shard, place) for shard, place in ((1, 2), (2, 8), (3, 3))}

    folder, environment = _prepared(tmp_path / "unbroken")
    subprocess.run(_command(), cwd=folder, env=environment, check=True, timeout=280)
    unbroken = [_diary(folder, rank) for rank in range(2)]
    steps = 6  # of an epoch: 27 samples of 32, in steps of 2 x 2
    assert [*unbroken[0]] == [*unbroken[1]] == list(range(1, 18))
    for epoch in range(2):
        notes = [note for rank in unbroken for note in rank.values() if note["epoch"] == epoch]
        names = [name for note in notes for name in note["names"]]
        assert len(names) == len(set(names)) == 4 * steps
        assert not damaged & set(names)

    killed, environment = _prepared(tmp_path / "killed")
    process = subprocess.Popen(_command(), cwd=killed, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 240
        while len(_diary(killed, 1)) < steps + 3:
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for rank, before in enumerate(_diary(killed, rank) for rank in range(2)):
        assert before == {step: unbroken[rank][step] for step in before}
        (killed / f"rank{rank}.jsonl").rename(killed / f"before{rank}.jsonl")
    step, checkpoint = _last(killed)
    assert steps < step < 2 * steps, "killed within the second epoch"

    resume = _command(f"--ckpt_path={checkpoint}")
    subprocess.run(resume, cwd=killed, env=environment, check=True, timeout=280)
    for rank in range(2):
        rest = {at: note for at, note in unbroken[rank].items() if at > step}
        after = _diary(killed, rank)
        assert [*after] == [*rest]
        for at, note in after.items():
            assert (note["names"], note["epoch"]) == (rest[at]["names"], rest[at]["epoch"])
            assert note["loss"] == pytest.approx(rest[at]["loss"], rel=1e-5)

    alone = [word for word in resume if word != "--trainer.devices=2"]
    found = subprocess.run(
        [*alone, "--trainer.devices=1"], cwd=killed, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 2
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("vosfm: error")]
    assert "processes (trainer.devices x trainer.num_nodes) 2, now 1" in line


@pytest.mark.slow
def test_two_processes_score_as_one_with_a_video_less(tmp_path: Path) -> None:
    """Three videos on two processes: one of them takes a step without a video."""
    scores = []
    for devices in (1, 2):
        command = [
            *(sys.executable, "-m", "vosfm", "test"),
            *("--config", "trainer/default", "--config", str(CONFIG)),
            "--data.init_args.validate.init_args.seeds=[0,1,2]",
            f"--trainer.devices={devices}",
            "--trainer.strategy=ddp",
        ]
        folder = tmp_path / str(devices)
        folder.mkdir()
        subprocess.run(command, cwd=folder, check=True, timeout=240)
        with (folder / "runs" / "vosfm" / "version_0" / "metrics.csv").open() as file:
            (row,) = csv.DictReader(file)
        scores.append({name: float(row[name]) for name in ("test/J&F", "test/J", "test/F_decay")})
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
