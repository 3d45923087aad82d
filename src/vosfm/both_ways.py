"""Objects tracked forward and backward from the frame in which they are first given.

A tracker runs forward. A pass over the same video seen backward, with what was first given of each
object, finds it in the frames before; its masks are laid under those of the pass forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vosfm.data.backward import Backward
from vosfm.data.results import FrameMasks, ResultFolder
from vosfm.data.video import Mask, Video
from vosfm.prompts import Given
from vosfm.tracker import Prompts

STREAM = "stream.safetensors"
"""The tracker's state in a folder of results, while there are frames left."""

STREAM_BACKWARD = "backward.safetensors"
"""The same, of the pass backward."""


class Masks(Protocol):
    """Where the masks of a pass go."""

    @property
    def path(self) -> Path: ...
    def write(self, result: FrameMasks) -> None: ...


@dataclass(frozen=True)
class Pass:
    """One way through a video.

    Attributes:
        name: of the pass.
        video: in the order in which it is tracked.
        prompts: what is given, by the frames of that order.
        masks: where the masks go, by the frames of that order.
        stream: file of the tracker's state, while there are frames left.
    """

    name: str
    video: Video
    prompts: Prompts
    masks: Masks
    stream: str


def forward_pass(video: Video, prompts: Prompts, results: ResultFolder) -> Pass:
    """Through all frames, with all that is given.

    Args:
        video: to be tracked.
        prompts: frame index -> object id -> what is given of it.
        results: where the masks go.
    """
    return Pass("forward", video, prompts, results, STREAM)


def backward_pass(video: Video, prompts: Prompts, results: ResultFolder) -> Pass | None:
    """From the first prompt of each object to frame 0.

    What is given of an object later, as a correction, is left to the pass forward.

    Args:
        video: to be tracked.
        prompts: frame index -> object id -> what is given of it.
        results: of the pass forward, which is finished.

    Returns:
        The pass; None if every object is given in frame 0.
    """
    first = first_frames(prompts)
    last = max(first.values(), default=0)
    if last == 0:
        return None
    turned: dict[int, dict[int, Given]] = {}
    for object_id, frame in first.items():
        if frame > 0:
            turned.setdefault(last - frame, {})[object_id] = prompts[frame][object_id]
    masks = MasksBefore(results, first, last)
    return Pass("backward", Backward(video, last), turned, masks, STREAM_BACKWARD)


def first_frames(prompts: Prompts) -> dict[int, int]:
    """Object id -> the frame in which something is first given of it."""
    first: dict[int, int] = {}
    for frame, given in sorted(prompts.items()):
        for object_id in given:
            first.setdefault(object_id, frame)
    return first


def first_masks(video: Video) -> dict[int, dict[int, Mask]]:
    """The mask of every object in the first frame that shows it, which need not be frame 0.

    Args:
        video: with masks.

    Returns:
        Frame index -> object id -> (H, W) bool mask.

    Raises:
        InputError: as the video's annotations.
    """
    given: dict[int, dict[int, Mask]] = {}
    known: set[int] = set()
    for index in sorted(video.annotated()):
        annotation = video.annotation(index)
        assert annotation is not None
        for object_id, mask in zip(annotation.object_ids, annotation.masks, strict=True):
            if object_id not in known and mask.any():
                given.setdefault(index, {})[object_id] = mask
                known.add(object_id)
    return given


class MasksBefore:
    """Lays masks that were tracked backward under those that were tracked forward.

    In a frame, an object has masks of one direction alone: backward before its first prompt,
    forward from there on. Where objects exclude each other, a pixel that both directions claim
    stays with the object that was tracked forward. Writing a frame twice is as good as once.

    Args:
        results: of the pass forward, which is finished.
        first: object id -> the frame of its first prompt.
        last: the frame at which the pass backward began.
    """

    def __init__(self, results: ResultFolder, first: Mapping[int, int], last: int) -> None:
        self._results = results
        self._first = first
        self._last = last

    @property
    def path(self) -> Path:
        """The folder of the results."""
        return self._results.path

    def write(self, result: FrameMasks) -> None:
        """Write the masks of a frame of the pass backward, where they lie before a first prompt.

        Raises:
            InputError: as `vosfm.data.results.ResultFolder`.
        """
        frame = self._last - result.frame
        found = zip(result.object_ids, result.masks, strict=True)
        masks = {i: mask for i, mask in found if self._first[i] > frame}
        if not self._results.overlap:
            written = self._results.read(frame)
            for object_id, mask in zip(written.object_ids, written.masks, strict=True):
                if self._first[object_id] > frame:
                    continue  # of an earlier attempt at this pass
                masks = {i: other & ~mask for i, other in masks.items() if i != object_id}
                masks[object_id] = mask
        if masks:
            self._results.write(_FrameMasks(frame, tuple(masks), np.stack(list(masks.values()))))


@dataclass(frozen=True)
class _FrameMasks:
    frame: int
    object_ids: tuple[int, ...]
    masks: Mask
