"""The processes that load data."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

import cv2
import torch


def processes() -> ForkServerContext:
    """How workers are started.

    A fork of this process would inherit OpenCV's thread pool without its threads, and wait forever;
    a fork of a server that has only imported is safe, and imports once for all workers.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def take_one_thread(worker: int) -> None:
    """Workers share the cores; threads of their own would only push each other aside."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
