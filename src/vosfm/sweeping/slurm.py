"""Trials as jobs of a SLURM cluster, through submitit."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.sweeping.launcher import Job, Launcher

ENDED = "ended.json"
"""What the job itself writes of its end: whoever waits for it may be gone by then."""

_ANYWHERE = frozenset({"timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "name"})
_LOST = 30.0  # seconds for a shared file system to show what a job wrote before it ended


class Slurm(Launcher):
    """Submits trials; they run on if this process ends, and are found again by the next.

    Args:
        jobs: how many are in the queue at once.
        folder: shared with the nodes; scripts and logs of submitit lie in it.
        options: of the jobs: timeout_min, mem_gb, nodes, cpus_per_task, gpus_per_node, name; others
            are SLURM's own, such as partition.
        cluster: "slurm", or for tests "local" and "debug", which need none.

    Raises:
        InputError: if submitit is not installed, or refuses an option.
    """

    def __init__(
        self, jobs: int, folder: Path, options: Mapping[str, Any], cluster: str = "slurm"
    ) -> None:
        super().__init__(jobs)
        try:
            import submitit
        except ImportError:
            raise InputError(
                "--where slurm needs submitit: pip install 'vosfm[slurm]', or run with --where "
                "local"
            ) from None
        self.scripts = folder / "slurm"
        given = {k if k in _ANYWHERE else f"slurm_{k}": value for k, value in options.items()}
        try:
            self.executor = submitit.AutoExecutor(self.scripts, cluster=cluster)
            self.executor.update_parameters(**given)
        except (NameError, RuntimeError, ValueError) as error:
            raise InputError(f"--where slurm: {error}") from None

    def start(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Job:
        # The command finds what its configs name as they are named here.
        job = self.executor.submit(
            run_command, list(command), str(folder), dict(environment), os.getcwd()
        )
        return _Submitted(job, folder)

    def again(self, job: str, folder: Path) -> Job | None:
        found = self.executor.job_class(self.scripts, job)
        submitted = _Submitted(found, folder)
        try:
            lives = submitted.ended() is not None or not found.done()
        except NotImplementedError:  # jobs without a cluster are known to their own process alone
            lives = False
        return submitted if lives else None

    def stop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if isinstance(job, _Submitted):
                job.job.cancel()


class _Submitted(Job):
    def __init__(self, job: Any, folder: Path) -> None:
        self.job = job
        self.id = str(job.job_id)
        self.folder = folder
        self._gone: float | None = None

    def ended(self) -> dict[str, Any] | None:
        try:
            told: dict[str, Any] = json.loads((self.folder / ENDED).read_text())
        except (OSError, ValueError):
            return None
        return told

    def poll(self) -> int | None:
        told = self.ended()
        if told is not None:
            self.seconds = told["seconds"]
            return int(told["code"])
        if not self.job.done():
            return None
        self._gone = self._gone or time.monotonic()
        if time.monotonic() - self._gone < _LOST and self.job.state != "CANCELLED":
            return None
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"\njob {self.id} ended as {self.job.state} without a word\n")
        return 1


def run_command(command: list[str], folder: str, environment: dict[str, str], where: str) -> int:
    """Run a command, as a job does on its node, and write how it ended.

    Args:
        command: program and arguments.
        folder: of the trial.
        environment: set for the command, beside that of the job.
        where: folder that relative paths are relative to.
    """
    begin = time.monotonic()
    # Lightning would take the tasks of the job for processes of a training of its own.
    given = {k: v for k, v in os.environ.items() if not k.startswith("SUBMITIT_")}
    with (Path(folder) / "log.txt").open("wb") as log:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**given, **environment},
            cwd=where,
            check=False,
        )
    with whole(Path(folder) / ENDED) as partial:
        told = {"code": done.returncode, "seconds": time.monotonic() - begin}
        partial.write_text(json.dumps(told) + "\n")
    return done.returncode
