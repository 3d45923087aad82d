"""Who does the jobs: processes of this machine, or Ray on many."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from vosfm.errors import InputError
from vosfm.processes import each

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_QUEUE = 2
"""Tasks in flight for each that runs, so that nobody waits for the next."""


class Engine(AbstractContextManager["Engine"], Protocol):
    """Does jobs in any order; used within a `with` block."""

    def each(
        self,
        function: Callable[[Item], Answer],
        items: Sequence[Item],
        lost: Callable[[Item, str], Answer],
    ) -> Iterator[Answer]:
        """Do all jobs, and tell each answer as it comes.

        Args:
            function: of a module, or a partial of one; what it raises ends everything.
            items: the jobs.
            lost: what to answer for a job whose process died again and again, and why it did.
        """


class Processes(Engine):
    """Processes of this machine, each of which builds the networks once.

    Args:
        workers: how many, at least 1; with 1 the jobs are done in this process.

    Raises:
        InputError: if there are none.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"workers is {workers}: give at least 1")
        self._workers = workers

    def each(
        self,
        function: Callable[[Item], Answer],
        items: Sequence[Item],
        lost: Callable[[Item, str], Answer],
    ) -> Iterator[Answer]:
        try:
            yield from each(function, items, self._workers, "vosfm.collect.jobs")
        except BrokenProcessPool:
            raise InputError(
                "a worker died, perhaps for want of memory; run again to go on, with fewer workers"
            ) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to end."""


class Ray(Engine):
    """Ray: one task a job, on this machine or a cluster, whose machines all see the same folders.

    Networks are built once in every worker process. A task whose process died is tried again; a
    bounded number of tasks is in flight, so that millions of jobs can wait.

    Args:
        workers: tasks at a time; None for as many as the cluster has CPUs, or GPUs.
        address: of a cluster; None for the one that is known to the environment, or else a new
            one on this machine that ends with the block.
        gpu: whether a task takes a GPU for itself.

    Raises:
        InputError: if Ray is not installed, or there are no workers.
    """

    def __init__(
        self, workers: int | None = None, address: str | None = None, gpu: bool = False
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"workers is {workers}: give at least 1")
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise InputError(
                "the engine ray needs Ray, which is not installed: pip install 'vosfm[ray]'"
            ) from None
        self._workers = workers
        self._address = address
        self._gpu = gpu
        self._began = False

    def __enter__(self) -> Ray:
        """Connect, or begin a cluster."""
        if not self._ray.is_initialized():
            here = {} if self._address else {"include_dashboard": False}
            try:
                self._ray.init(
                    address=self._address, log_to_driver=False, logging_level="error", **here
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(f"no Ray at {self._address}: {error}") from None
            self._began = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster, and end it if it was begun here."""
        if self._began:
            self._ray.shutdown()

    def each(
        self,
        function: Callable[[Item], Answer],
        items: Sequence[Item],
        lost: Callable[[Item, str], Answer],
    ) -> Iterator[Answer]:
        ray = self._ray
        task = ray.remote(num_cpus=1, num_gpus=int(self._gpu), max_retries=3)(_call)
        slots = ray.cluster_resources().get("GPU" if self._gpu else "CPU", 0)
        if slots < 1:
            raise InputError(
                f"the Ray cluster has no {'GPU' if self._gpu else 'CPU'}; add a machine, or choose "
                "another --device"
            )
        most = int(slots) * _QUEUE if self._workers is None else self._workers
        waiting = iter(items)
        flying: dict[Any, Item] = {}
        shared = ray.put(function)
        while True:
            for item in waiting:
                flying[task.remote(shared, item)] = item
                if len(flying) >= most:
                    break
            if not flying:
                return
            (done,), _ = ray.wait(list(flying), num_returns=1)
            item = flying.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, InputError):
                    raise InputError(str(error.cause)) from None
                raise
            except ray.exceptions.RayError as error:
                yield lost(item, f"{type(error).__name__}: its process died")


def _call(function: Callable[[Item], Answer], item: Item) -> Answer:
    return function(item)
