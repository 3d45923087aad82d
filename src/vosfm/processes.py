"""Work on many items in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def each(
    function: Callable[[Item], Answer], items: Sequence[Item], workers: int, preload: str
) -> Iterator[Answer]:
    """Map in the order of the items, so that the first error is the same for any workers.

    Args:
        function: of a module; its items and answers are sent to other processes and back.
        items: to work on.
        workers: processes, at least 1; with 1 the work is done in this one.
        preload: module that new processes have loaded already, light enough for that.
    """
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([preload])
    pool = ProcessPoolExecutor(min(workers, len(items)), mp_context=context)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
