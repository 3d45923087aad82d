"""Procedural scenes as videos to test on and as clips to train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vosfm.data.datasets import Clips, Videos, to_clip
from vosfm.data.procedural.difficulty import Absence, Difficulty
from vosfm.data.procedural.rendered import Rendered
from vosfm.data.procedural.scene import Scene
from vosfm.data.procedural.shapes import PARTS
from vosfm.data.video import Annotation, Image, Mask, Video
from vosfm.types import Clip, Size

_HELD_OUT, _TRAIN, _LEAPS = 0, 1, 2
"""First integer of every scene's seed: no training clip ever shows a scene of a video."""


def _count_parts(parts: bool | int) -> int:
    """Annotated parts per object.

    Raises:
        ValueError: if there are not so many.
    """
    count = PARTS if parts is True else int(parts)
    if not 0 <= count <= PARTS:
        raise ValueError(f"parts must be True, False or 0 to {PARTS} per object, not {parts}")
    return count


def _rows(objects: int, parts: int) -> list[int]:
    """Which masks of a scene are annotated: the wholes, then so many parts of each."""
    first = (objects + whole * PARTS for whole in range(objects))
    return [*range(objects), *(start + k for start in first for k in range(parts))]


class ProceduralVideo(Video):
    """A rendered video with true masks of every frame; equal arguments, equal pixels.

    A longer video begins with the shorter one of the same seed. Objects have the ids 1, 2, ...;
    parts follow: those of object 1, of object 2, ...

    Args:
        seed: of the scene, at least 0.
        length: number of frames.
        size: (H, W) of the frames.
        objects: number of objects.
        difficulty: a level in [0, 1], or every knob by itself.
        parts: annotated parts per object, at most 3; True for all, False for none. The frames
            are the same whatever is annotated.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        seed: int,
        length: int = 40,
        size: Size = (128, 224),
        objects: int = 3,
        difficulty: float | Difficulty = 0.5,
        parts: bool | int = False,
    ) -> None:
        if length < 1:
            raise ValueError(f"a video needs at least one frame, not {length}")
        self.name = f"procedural-{seed}"
        self.frame_names = tuple(f"{index:05d}" for index in range(length))
        self.size = (size[0], size[1])
        self._seed = seed
        self._objects = objects
        self._difficulty = (
            difficulty if isinstance(difficulty, Difficulty) else Difficulty.level(difficulty)
        )
        self._parts = _count_parts(parts)
        self._last: tuple[int, Image, NDArray[np.bool_]] | None = None

    @cached_property
    def _scene(self) -> Scene:
        return Scene((_HELD_OUT, self._seed), self.size, self._objects, self._difficulty)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is rendered: cheap to send to a worker."""
        kept = {name: value for name, value in vars(self).items() if name != "_scene"}
        return {**kept, "_last": None}

    def _at(self, index: int) -> tuple[Image, NDArray[np.bool_]]:
        """A frame and its masks; of the last one asked for, its annotation costs nothing."""
        if self._last is None or self._last[0] != index:
            self._last = (index, *self._scene.render(float(index)))
        return self._last[1:]

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The ids of all annotated objects, parts included."""
        return tuple(range(1, self._objects * (1 + self._parts) + 1))

    @property
    def wholes(self) -> dict[int, int]:
        """The id of each part -> the id of the object that it belongs to."""
        parts = self.object_ids[self._objects :]
        return {part: 1 + index // self._parts for index, part in enumerate(parts)}

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, rendered one by one."""
        for index in range(start, len(self)):
            yield self._at(index)[0]

    def annotated(self) -> tuple[int, ...]:
        """All frames."""
        return tuple(range(len(self)))

    def annotation(self, index: int) -> Annotation:
        """The visible masks of a frame; an object that is out of sight has an empty one."""
        masks = self._at(index)[1]
        return Annotation(self.object_ids, masks[_rows(self._objects, self._parts)])

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """The masks of frame 0, of all objects that can be seen in it."""
        first = self.annotation(0)
        rows = zip(first.object_ids, first.masks, strict=True)
        return {0: {i: mask for i, mask in rows if mask.any()}}


class ProceduralVideos(Videos):
    """Held-out procedural videos, one per seed.

    Args:
        seeds: one video each; never seen in training, whatever seeds that uses.
        length: number of frames of each.
        size: (H, W) of the frames.
        objects: number of objects of each.
        difficulty: a level in [0, 1], or every knob by itself.
        parts: annotated parts per object, at most 3; True for all, False for none.
    """

    def __init__(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        length: int = 40,
        size: Size = (128, 224),
        objects: int = 3,
        difficulty: float | Difficulty = 0.5,
        parts: bool | int = False,
    ) -> None:
        self._seeds = tuple(seeds)
        self._arguments = (length, size, objects, difficulty, parts)

    def __len__(self) -> int:
        """Number of seeds."""
        return len(self._seeds)

    def __getitem__(self, index: int) -> ProceduralVideo:
        """The video of a seed; a new one each time, so that no rendered textures pile up."""
        return ProceduralVideo(self._seeds[index], *self._arguments)


class ProceduralClips(Clips):
    """Rendered training clips, another scene for every (seed, epoch, index).

    Args:
        length: T, frames of a clip.
        size: (H, W) of the frames.
        objects: a clip shows between 1 and so many objects.
        difficulty: each clip draws a level between these two, in [0, 1].
        max_gap: consecutive frames of a clip are 1 to so many time steps apart, unless they leap.
        parts: annotated parts per object, at most 3; True for all, False for none.
        clips: clips of one epoch.
        seed: of everything.
        longest_leap: a leap takes up to so many time steps; at least `max_gap`, or 0 for no leaps.
        leaps: share of the steps between frames that are leaps, in [0, 1].
        absence: how objects disappear for long; with leaps, clips show them gone and back again.
        folder: where clips are kept as soon as they are rendered, about 0.1 MB for 3 frames of
            100 x 100 pixels, so that trainings on the same clips render them once; None for no
            such folder.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        length: int = 5,
        size: Size = (128, 128),
        objects: int = 3,
        difficulty: tuple[float, float] = (0.1, 0.6),
        max_gap: int = 3,
        parts: bool | int = False,
        clips: int = 1000,
        seed: int = 0,
        longest_leap: int = 0,
        leaps: float = 0.5,
        absence: Absence | None = None,
        folder: str | None = None,
    ) -> None:
        for name, value in (("length", length), ("objects", objects), ("max_gap", max_gap)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if longest_leap and longest_leap < max_gap:
            raise ValueError(f"longest_leap is {longest_leap}, below max_gap, {max_gap}")
        if not 0.0 <= leaps <= 1.0:
            raise ValueError(f"leaps must lie in [0, 1], not {leaps}")
        for level in difficulty:
            Difficulty.level(level)
        self.length = length
        self.size = (size[0], size[1])
        self.objects = objects
        self.difficulty = difficulty
        self.max_gap = max_gap
        self.longest_leap = longest_leap
        self.leaps = leaps
        self.absence = absence
        self.parts = _count_parts(parts)
        self.clips = clips
        self.seed = seed
        motion = (max_gap, longest_leap, leaps, absence)
        shown = (length, self.size, objects, tuple(difficulty), self.parts, seed)
        self._rendered = None if folder is None else Rendered(folder, (*shown, *motion))

    def __len__(self) -> int:
        """Clips of one epoch."""
        return self.clips

    def sample(self, epoch: int, index: int) -> Clip:
        """The clip `index` of an epoch, as a batch of one."""
        if self._rendered is None:
            return self._render(epoch, index)
        return self._rendered.clip(epoch, index, self._render)

    def _render(self, epoch: int, index: int) -> Clip:
        seed = (_TRAIN, self.seed, epoch, index)
        rng = np.random.default_rng(seed)
        objects = int(rng.integers(1, self.objects + 1))
        level = Difficulty.level(float(rng.uniform(*self.difficulty)))
        gaps = rng.integers(1, self.max_gap + 1, self.length)
        if self.longest_leap:
            chance = np.random.default_rng((_LEAPS, *seed[1:]))
            far = chance.integers(self.max_gap, self.longest_leap + 1, self.length)
            gaps = np.where(chance.random(self.length) < self.leaps, far, gaps)
        scene = Scene(seed, self.size, objects, replace(level, absence=self.absence))
        rows = _rows(objects, self.parts)
        frames, masks = [], []
        for time in np.cumsum(gaps) - gaps[0]:
            frame, every = scene.render(float(time))
            frames.append(frame)
            masks.append(every[rows])
        stacked = np.stack(masks)
        seen = stacked[0].any(axis=(1, 2))
        return to_clip(frames, stacked[:, seen], f"procedural-clip-{epoch}-{index}")
