"""How deep each frame is read: always alike, or as deep as the time allows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import perf_counter

from vosfm.errors import InputError
from vosfm.segmenter import check_depth

Clock = Callable[[], float]
"""Tells the time, in seconds from any beginning."""


class DepthRule(ABC):
    """Says at which depth of the model each tracked frame is read, and keeps count.

    Frames that something is given with are read at full depth, and do not count.

    Args:
        clock: what frames are timed by.

    Attributes:
        frames: depth -> how many frames were read at it, the shallowest first.
        seconds: depth -> how long these frames took together.
    """

    def __init__(self, clock: Clock = perf_counter) -> None:
        self.clock = clock
        self.frames: dict[int, int] = {}
        self.seconds: dict[int, float] = {}

    @abstractmethod
    def check(self, depths: Sequence[int]) -> None:
        """Check that a model can follow the rule.

        Args:
            depths: of the model, ascending.

        Raises:
            InputError: if it cannot.
        """

    @abstractmethod
    def choose(self, depths: Sequence[int]) -> int:
        """The depth of the next frame.

        Args:
            depths: of the model, ascending.
        """

    def took(self, depth: int, seconds: float) -> None:
        """Learn how long a frame took.

        Args:
            depth: at which it was read.
            seconds: from its pixels to what is remembered of it.
        """
        known = sorted({*self.frames, depth})
        self.frames = {d: self.frames.get(d, 0) + (d == depth) for d in known}
        self.seconds[depth] = self.seconds.get(depth, 0.0) + seconds

    @property
    def fps(self) -> float | None:
        """Frames per second so far, all that is not the model's work left out; None before any."""
        total = sum(self.seconds.values())
        return sum(self.frames.values()) / total if total > 0 else None

    def summary(self) -> str:
        """One sentence of what was done."""
        if self.fps is None:
            return "no frame was tracked"
        told = ", ".join(f"{count} at depth {depth}" for depth, count in self.frames.items())
        return f"{self.fps:.2f} frames/s of tracking alone; frames tracked: {told}"


class FixedDepth(DepthRule):
    """Reads every frame at the same depth.

    Args:
        depth: of the model.
        clock: what frames are timed by.
    """

    def __init__(self, depth: int, clock: Clock = perf_counter) -> None:
        super().__init__(clock)
        self.depth = depth

    def check(self, depths: Sequence[int]) -> None:
        check_depth(self.depth, depths)

    def choose(self, depths: Sequence[int]) -> int:
        return self.depth


class Pace(DepthRule):
    """Reads every frame as deep as a number of frames per second allows.

    It keeps an estimate of what a frame takes at each depth, and takes the deepest one that fits;
    depths that were never tried count as if they did. Where none fits, it takes the least. Now and
    then it tries the next deeper one again, so that it recovers when the machine becomes free, but
    no sooner than the frames between have saved what that takes. It holds for a machine, not for a
    stream: what it learned is not saved with one, and several trackers may follow one pace in turn.

    Args:
        target_fps: frames per second that tracking alone shall reach on average; reading and
            writing of files is not counted.
        smoothing: weight of the newest frame in the estimate, in (0, 1]. An estimate that is older
            than 1 / smoothing frames is not moved, but replaced.
        retry: least number of frames between two tries of a depth that did not fit; it never waits
            longer than ten times that.
        clock: what frames are timed by.

    Raises:
        InputError: if an argument is out of range.

    Example:
        >>> pace = Pace(target_fps=10)
        >>> for _ in range(4):
        ...     depth = pace.choose((1, 2, 3))
        ...     pace.took(depth, 0.04 * depth)  # seconds
        >>> pace.frames
        {2: 3, 3: 1}
    """

    def __init__(
        self,
        target_fps: float,
        smoothing: float = 0.2,
        retry: int = 30,
        clock: Clock = perf_counter,
    ) -> None:
        super().__init__(clock)
        if not (target_fps > 0 and math.isfinite(target_fps)):
            raise InputError(f"target_fps is {target_fps}: give a number above 0")
        if not 0 < smoothing <= 1:
            raise InputError(f"smoothing is {smoothing}: give a number in (0, 1]")
        if retry < 1:
            raise InputError(f"retry is {retry}: give at least 1")
        self.target_fps = target_fps
        self.smoothing = smoothing
        self.retry = retry
        self.estimate: dict[int, float] = {}
        self._seen: dict[int, int] = {}  # depth -> number of the last frame read at it
        self._least = 0  # depth of the model
        self._waited = 0  # frames since one was read at a depth that did not fit

    def check(self, depths: Sequence[int]) -> None:
        if len(depths) < 2:
            raise InputError(
                f"a target of {self.target_fps:g} frames/s needs a model of several depths, this "
                f"one has depth {depths[0]} alone: leave the target out, or choose one like aost"
            )

    def choose(self, depths: Sequence[int]) -> int:
        self._least = depths[0]
        fitting = [depth for depth in depths if self._fits(depth)]
        if not fitting:
            return depths[0]
        deepest = fitting[-1]
        deeper = [depth for depth in depths if depth > deepest]
        if deeper and self._waited >= self._wait(deepest, deeper[0]):
            return deeper[0]
        return deepest

    def took(self, depth: int, seconds: float) -> None:
        super().took(depth, seconds)
        now = sum(self.frames.values())
        before, age = self.estimate.get(depth), now - self._seen.get(depth, now)
        if before is None or age > 1 / self.smoothing:
            before = seconds
        self.estimate[depth] = before + self.smoothing * (seconds - before)
        self._seen[depth] = now
        self._waited = self._waited + 1 if self._fits(depth) else 0

    def summary(self) -> str:
        reached = self.fps
        if reached is None:
            return super().summary()
        wanted = f"the target of {self.target_fps:g}"
        if reached >= self.target_fps:
            return f"{super().summary()}; {wanted} was held"
        told = f"{super().summary()}; {wanted} was missed"
        least = self._least
        if least in self.frames and self.seconds[least] * self.target_fps > self.frames[least]:
            alone = self.frames[least] / self.seconds[least]
            told += f": even depth {least} came to {alone:.2f} frames/s only"
        return told

    @property
    def _budget(self) -> float:
        return 1 / self.target_fps

    def _fits(self, depth: int) -> bool:
        return self.estimate.get(depth, 0.0) <= self._budget

    def _wait(self, depth: int, deeper: int) -> float:
        """Frames of one depth that save the time that a try of a deeper one takes beyond it."""
        now = self.estimate.get(depth, 0.0)
        saved = self._budget - now
        # What was measured when the machine was busy is old; n layers never take more than n times
        # as long as one.
        cost = min(self.estimate[deeper], now * deeper / depth)
        needed = (cost - self._budget) / saved if saved > 0 else math.inf
        return min(max(self.retry, needed), 10 * self.retry)
