"""Cut videos into clips: by changes of the scene, a rate and a length."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scenedetect import ContentDetector, FrameTimecode

from vosfm.data.images import resize_image
from vosfm.data.video import Image, Video
from vosfm.errors import InputError

_WIDTH = 256
"""Of the frames that are compared; PySceneDetect reduces them as much."""


@dataclass(frozen=True)
class Cutting:
    """How videos become clips.

    A scene is cut into clips of `length` frames, one after the other. What is left at its end is a
    clip of its own if it has `min_length` frames, and else left out.

    Attributes:
        length: frames of a clip, at least 2.
        min_length: of the last clip of a scene, from 2 to `length`.
        fps: frames are taken at this rate, above 0; None for all. More than the video has are not
            made up.
        scene_threshold: a scene ends where the mean difference between two neighbouring frames in
            hue, saturation and brightness, each from 0 to 255 (hue: 180), reaches this; None for
            one scene a video, without a look at its frames.

    Raises:
        InputError: if a value is out of its range.
    """

    length: int = 10
    min_length: int = 5
    fps: float | None = None
    scene_threshold: float | None = 27.0

    def __post_init__(self) -> None:
        if self.length < 2:
            raise InputError(f"length is {self.length}: a clip has at least 2 frames")
        if not 2 <= self.min_length <= self.length:
            raise InputError(
                f"min-length is {self.min_length}: give 2 to {self.length}, the length of a clip"
            )
        if self.fps is not None and self.fps <= 0:
            raise InputError(f"fps is {self.fps:g}: give a rate above 0")
        if self.scene_threshold is not None and self.scene_threshold <= 0:
            raise InputError(f"scene-threshold is {self.scene_threshold:g}: give one above 0")


def cut(
    video: Video,
    cutting: Cutting,
    rate: float | None = None,
    among: Collection[int] | None = None,
) -> Iterator[tuple[int, ...]]:
    """Choose the frames of clips; frames are read one by one and two are held.

    Args:
        video: to cut.
        cutting: how.
        rate: frames a second of the video; needed where `cutting` has one.
        among: only frames of these numbers are taken; None for all.

    Yields:
        The numbers of the frames of one clip after the other, ascending, counted from 0.

    Raises:
        InputError: if the video breaks, or frames are to be taken at a rate and it has none.
    """
    step = 1.0
    if cutting.fps is not None:
        if rate is None:
            raise InputError(
                f"{video.name}: frames in a folder have no rate; collect them without --fps"
            )
        step = rate / cutting.fps
    if cutting.scene_threshold is None:
        starts: Iterable[bool] = (False for _ in range(len(video)))
    else:
        starts = scene_starts(video.frames(), cutting.scene_threshold)
    clip: list[int] = []
    taken = 0
    for index, starting in enumerate(starts):
        if starting:
            if len(clip) >= cutting.min_length:
                yield tuple(clip)
            clip = []
        # Frame rates such as 30000/1001 make no whole numbers of float products.
        if index + 1e-6 < taken * step:
            continue
        taken += 1
        if among is None or index in among:
            clip.append(index)
        if len(clip) == cutting.length:
            yield tuple(clip)
            clip = []
    if len(clip) >= cutting.min_length:
        yield tuple(clip)


def scene_starts(frames: Iterable[Image], threshold: float) -> Iterator[bool]:
    """Say of each frame whether a new scene starts with it; never with the first one.

    Args:
        frames: (H, W, 3) uint8 RGB each, of one size.
        threshold: see `Cutting.scene_threshold`.

    Source: PySceneDetect, ContentDetector with its default weights.
    """
    detector = ContentDetector(threshold=threshold, min_scene_len=0)
    for index, frame in enumerate(frames):
        height, width = frame.shape[:2]
        if width > _WIDTH:
            frame = resize_image(frame, (max(1, round(height * _WIDTH / width)), _WIDTH))
        pixels = np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        yield bool(detector.process_frame(FrameTimecode(index, fps=25.0), pixels))
