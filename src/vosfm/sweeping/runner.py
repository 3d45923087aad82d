"""Run the trials of a sweep, each by itself, until all have ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vosfm.errors import InputError
from vosfm.sweeping import outcome
from vosfm.sweeping.board import Board
from vosfm.sweeping.command import (
    ARGUMENTS,
    arguments_file,
    executable,
    search_path,
    words,
)
from vosfm.sweeping.folder import Record, SweepFolder
from vosfm.sweeping.launcher import Job, Launcher
from vosfm.sweeping.sweep_file import Sweep
from vosfm.sweeping.trials import Trial

_POLL = 0.1  # seconds between two looks at the trials that run


@dataclass
class _Running:
    trial: Trial
    job: Job
    begin: float


class Runner:
    """Runs what is not finished of a sweep.

    Args:
        sweep: that is run.
        folder: of it.
        launcher: where its trials run.
        extra: arguments behind all others of every trial.
        board: that shows what goes on.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        launcher: Launcher,
        extra: Sequence[str],
        board: Board,
    ) -> None:
        self.sweep = sweep
        self.folder = folder
        self.launcher = launcher
        self.extra = tuple(extra)
        self.board = board

    def run(self, trials: Sequence[Trial]) -> list[Trial]:
        """Run all trials that are not finished, those too that failed before.

        Args:
            trials: of the sweep, in the order in which results are listed.

        Returns:
            Those that failed.

        Raises:
            KeyboardInterrupt: when the trials that ran have been stopped; they start anew the next
                time.
        """
        waiting: list[Trial] = []
        running: list[_Running] = []
        for trial in trials:
            record = self.folder.record(trial)
            if record is not None and record.status == "finished":
                self.board.known(trial, record)
                continue
            job = None
            if record is not None and record.status == "running" and record.job is not None:
                job = self.launcher.again(record.job, self.folder.of(trial))
            if job is None:
                waiting.append(trial)
            else:
                running.append(_Running(trial, job, time.monotonic()))
                self.board.started(trial)
        self.folder.collect(trials)
        failed: list[Trial] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.launcher.jobs:
                    running.append(self._start(waiting.pop(0)))
                ended = [(one, code) for one in running if (code := one.job.poll()) is not None]
                for one, code in ended:
                    running.remove(one)
                    if self._settle(one, code).status == "failed":
                        failed.append(one.trial)
                    self.folder.collect(trials)
                if not ended:
                    self.board.tick()
                    time.sleep(_POLL)
        except BaseException:
            self.launcher.stop([one.job for one in running])
            raise
        return failed

    def _start(self, trial: Trial) -> _Running:
        record = Record("running", commit=outcome.commit())
        folder = self.folder.begin(trial, record)
        told = arguments_file(self.sweep, trial)
        if told is not None:
            (folder / ARGUMENTS).write_text(told)
        command = executable(self._words(trial))
        self.board.started(trial)
        begin = time.monotonic()
        job = self.launcher.start(command, folder.resolve(), self._environment(trial))
        if job.id is not None:
            self.folder.write(trial, replace(record, job=job.id))
        return _Running(trial, job, begin)

    def _environment(self, trial: Trial) -> Mapping[str, str]:
        folder = str(self.folder.of(trial).resolve())
        return {
            "PATH": search_path(),
            "VOSFM_RUNS": folder,
            "WANDB_DIR": folder,
            "WANDB_NAME": trial.id,
            "WANDB_RUN_GROUP": self.sweep.name,
        }

    def _settle(self, one: _Running, code: int) -> Record:
        """Write what came of a trial: only then is it finished."""
        trial, folder = one.trial, self.folder.of(one.trial)
        seconds = one.job.seconds
        if seconds is None:
            seconds = time.monotonic() - one.begin
        begun = self.folder.record(trial)
        try:
            if code != 0:
                raise InputError(f"exit code {code}: {outcome.last_line(folder / 'log.txt')}")
            metrics = outcome.last_values(folder)
            outcome.compared(metrics, self.sweep.metric)
        except InputError as error:
            record = Record("failed", str(error))
        else:
            told = outcome.result(
                trial.id,
                trial.parameters,
                metrics,
                self.sweep.metric,
                self._words(trial),
                seconds,
                None if begun is None else begun.commit,
            )
            record = Record("finished", result=told)
        self.folder.write(trial, record)
        self.board.ended(trial, record)
        return record

    def _words(self, trial: Trial) -> list[str]:
        return words(self.sweep, trial, self.extra, self.folder.of(trial).resolve())
