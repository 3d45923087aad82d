"""Trials as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from vosfm.sweeping import guard
from vosfm.sweeping.launcher import Job, Launcher

_GRACE = 10.0  # seconds for trials to put things away after Ctrl-C


class Local(Launcher):
    """Starts trials here.

    Args:
        jobs: how many at once.
        lock: of the sweep's folder; it is not free before the last trial is gone.
    """

    def __init__(self, jobs: int, lock: int) -> None:
        super().__init__(jobs)
        self.lock = lock

    def start(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Job:
        given = {**os.environ, **environment}
        if self.jobs > 1:  # trials that each take all cores hinder each other
            share = max(1, (os.cpu_count() or 1) // self.jobs)
            given.setdefault("OMP_NUM_THREADS", str(share))
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=given,
                pass_fds=(self.lock,),
                process_group=0,
            )
        return _Process(process)

    def stop(self, jobs: Sequence[Job]) -> None:
        running = [job for job in jobs if isinstance(job, _Process) and job.poll() is None]
        for job in running:
            _signal(job.process, signal.SIGINT)
        end = time.monotonic() + _GRACE
        while time.monotonic() < end and any(job.poll() is None for job in running):
            time.sleep(0.05)
        for job in running:
            if job.poll() is None:
                _signal(job.process, signal.SIGKILL)
                job.process.wait()


class _Process(Job):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        if self.process.returncode is None:
            # Left unreaped until its group is dead: only then is the group's number surely its.
            ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            _signal(self.process, signal.SIGKILL)
        return self.process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
