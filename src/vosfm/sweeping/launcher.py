"""What every place that runs trials promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path


class Job(ABC):
    """A trial that was started.

    Attributes:
        id: by which another process finds it again; None if it ends with this one.
        seconds: that it took, where the job itself knows better than who waits for it; else None.
    """

    id: str | None = None
    seconds: float | None = None

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code; None while it runs."""


class Launcher(ABC):
    """Starts commands somewhere.

    Args:
        jobs: how many run, or wait for their turn there, at once.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    @abstractmethod
    def start(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Job:
        """Start a command.

        Args:
            command: program and arguments.
            folder: of the trial; ``log.txt`` in it gets what the command prints.
            environment: set for the command, beside that of this process.
        """

    def again(self, job: str, folder: Path) -> Job | None:
        """Find a job that a sweep before this one started; None if it is gone for good."""
        return None

    @abstractmethod
    def stop(self, jobs: Sequence[Job]) -> None:
        """End jobs that run, and wait until they have."""
