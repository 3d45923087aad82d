"""What it costs to track a video: time, memory, and frames that the memory gave up."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from time import perf_counter

import torch

from vosfm.data.video import Image, Video
from vosfm.metrics.cost import TrackingCost
from vosfm.tracker import Result, Tracker


def measured(tracker: Tracker, video: Video, cost: TrackingCost) -> Iterator[Result]:
    """Track a video, and tell at its end what that cost.

    Counted is the wall clock, as papers count frames per second, from a frame's pixels to its
    masks: neither reading files nor what the caller does with the masks. It says something only of
    a machine that nothing else runs on.

    Args:
        tracker: whose stream has not begun.
        video: with its prompts.
        cost: gets to know.
    """
    reading = tracking = 0.0
    tracked = 0

    def frames() -> Iterator[Image]:
        nonlocal reading
        source = video.frames()
        while True:
            begin = perf_counter()
            frame = next(source, None)
            reading += perf_counter() - begin
            if frame is None:
                return
            yield frame

    results = tracker.track(frames(), video.prompts())
    while True:
        begin = perf_counter()
        result = next(results, None)
        tracking += perf_counter() - begin
        if result is None:
            break
        tracked += bool(result.object_ids)
        yield result
    cost.update(tracked, tracking - reading, tracker.evictions)


def forget_peak(device: torch.device) -> None:
    """Let the peak of memory begin anew, where a device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """The most memory in use, in MiB.

    Returns:
        Of a GPU, what its tensors took since `forget_peak`, those of a training around it included;
        elsewhere, what the process took since it began.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
