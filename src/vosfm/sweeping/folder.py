"""A sweep on disk: what it is, which trials are finished, and that only one sweep works on it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.report.results import RESULTS
from vosfm.sweeping.sweep_file import Sweep
from vosfm.sweeping.trials import Trial

Status = Literal["running", "finished", "failed"]

_OPTIONS = "options.json"
_PATIENCE = 5.0  # seconds for the trials of a sweep that was just killed to be gone


@dataclass(frozen=True)
class Record:
    """What is known of a trial.

    Attributes:
        status: running also of one whose sweep was stopped; it starts anew.
        error: why it failed.
        result: its line of `RESULTS`, once it is finished.
        job: number of the job on a cluster that runs it.
        commit: of the checkout when it started; None outside of one.
    """

    status: Status
    error: str | None = None
    result: Mapping[str, Any] | None = None
    job: str | None = None
    commit: str | None = None


class SweepFolder:
    """The folder of a sweep, claimed by this process until it ends.

    Args:
        path: of the folder; made if there is none.
        sweep: that it belongs to.
        options: what else decides how a trial is run.

    Raises:
        InputError: if another sweep is at work there, the folder was begun with another file or
            other options, or holds something else.
    """

    def __init__(self, path: Path, sweep: Sweep, options: Mapping[str, Any]) -> None:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; give a folder with --out")
        begun = path / "sweep.yaml"
        # What begins with a dot is the lock, or half a file of a sweep that was killed at once.
        here = {p.name for p in path.iterdir()} if path.is_dir() else set()
        strange = {name for name in here if not name.startswith(".")} - {_OPTIONS}
        if strange and not begun.is_file():
            raise InputError(f"{path}: holds no sweep, but other files; give another --out")
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lock = _claim(path / ".lock")
        try:
            self._begin(begun, sweep, options)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SweepFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin(self, begun: Path, sweep: Sweep, options: Mapping[str, Any]) -> None:
        if begun.is_file():
            if begun.read_bytes() != sweep.text:
                raise InputError(
                    f"{self.path}: was begun with another sweep file than {sweep.path} is now: "
                    "give another --out, or the file as it was (sweep.yaml there)"
                )
            before = _json(self.path / _OPTIONS) or {}
            for key, value in options.items():
                if before.get(key, value) != value:
                    raise InputError(
                        f"{self.path}: was begun with {key} {before[key]!r}, not {value!r}: give "
                        "the same, or another --out"
                    )
        with whole(self.path / _OPTIONS) as partial:
            partial.write_text(json.dumps(dict(options), indent=1) + "\n")
        with whole(begun) as partial:
            partial.write_bytes(sweep.text)

    def of(self, trial: Trial) -> Path:
        """The folder of a trial."""
        return self.path / "trials" / trial.id

    def record(self, trial: Trial) -> Record | None:
        """What is known of a trial; None of one that has not begun."""
        told = _json(self.of(trial) / "trial.json")
        if told is None or told.get("status") not in ("running", "finished", "failed"):
            return None
        if told["status"] == "finished" and not isinstance(told.get("result"), dict):
            return None
        error, result, job, commit = map(told.get, ("error", "result", "job", "commit"))
        return Record(told["status"], error, result, job, commit)

    def write(self, trial: Trial, record: Record) -> None:
        """Write what is known of a trial, whole or not at all."""
        told = {
            "id": trial.id,
            "parameters": dict(trial.parameters),
            "status": record.status,
            "error": record.error,
            "result": record.result,
            "job": record.job,
            "commit": record.commit,
        }
        with whole(self.of(trial) / "trial.json") as partial:
            partial.write_text(json.dumps(told, indent=1, default=str) + "\n")

    def begin(self, trial: Trial, record: Record) -> Path:
        """An empty folder for a trial; what a stopped or failed run of it left is removed."""
        folder = self.of(trial)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self.write(trial, record)
        return folder

    def collect(self, trials: Sequence[Trial]) -> int:
        """Write the results of all finished trials, in this order; give their number."""
        records = [self.record(trial) for trial in trials]
        lines = [
            json.dumps(record.result) + "\n"
            for record in records
            if record is not None and record.status == "finished"
        ]
        with whole(self.path / RESULTS) as partial:
            partial.write_text("".join(lines))
        return len(lines)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self.lock)


def _claim(path: Path) -> int:
    """Lock a file; the processes that trials run under hold on to the lock, too."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                other = os.pread(lock, 32, 0).decode().strip() or "?"
                os.close(lock)
                raise InputError(
                    f"{path.parent}: another sweep is at work here, process {other}: wait for it, "
                    "or give another --out"
                ) from None
            time.sleep(0.05)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return lock


def _json(path: Path) -> dict[str, Any] | None:
    """What a file of ours holds; None if there is none, or it was damaged."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
