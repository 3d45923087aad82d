"""Work on many items in several processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


_AHEAD = 4
"""Items that each process may be ahead of whoever takes the answers, which are held in memory."""


def each(
    function: Callable[[Item], Answer], items: Iterable[Item], workers: int, preload: str
) -> Iterator[Answer]:
    """Map in the order of the items, so that the first error is the same for any workers.

    Whatever ends this process, a kill included, ends the others.

    Args:
        function: of a module; its items and answers are sent to other processes and back.
        items: to work on; taken one by one, a few ahead of their answers.
        workers: processes, at least 1; with 1 the work is done in this one.
        preload: module that new processes have loaded already, light enough for that.
    """
    if workers == 1 or (isinstance(items, Sized) and len(items) < 2):
        yield from map(function, items)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([preload])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Watch the process that this one works for: a pool's workers outlive one that was killed."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()
