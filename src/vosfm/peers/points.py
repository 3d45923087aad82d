"""Points that stand for a mask, and how they move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.collect.sampling import places
from vosfm.collect.warping import cycle_error
from vosfm.flow import DIS, Flow
from vosfm.peers.peer import Image, Mask

Points = NDArray[np.float32]
"""(P, 2) as x and y, in pixels."""

Choice = Literal["kmedoids", "shi-tomasi", "random", "mixed"]
"""How points are chosen: pixels in the middle of clusters, corners of the image, any pixels, or
some of each."""

_MOST = 1800  # pixels that are clustered at most
_CORNERS_WITHIN = (0.06, 0.02, 0.01)  # of the mask's diagonal, by which its edge is left alone


@dataclass(frozen=True)
class Moved:
    """Where points are in a frame.

    Attributes:
        points: (P, 2); where one is not visible, a guess.
        visible: (P,) bool.
    """

    points: Points
    visible: NDArray[np.bool_]


class PointTracker(ABC):
    """Follows points from frame to frame. It keeps nothing: all that it may look at is given to it.

    Attributes:
        window: frames that it looks at, the new one included; at least 2.
    """

    window: int = 2

    @abstractmethod
    def __call__(self, frames: Sequence[Image], past: Sequence[Moved]) -> Moved:
        """Follow points into a frame.

        Args:
            frames: T + 1 of them, T < `window`, the new one last.
            past: where the same points were in the T frames before, the oldest first. Of points
                that are followed for fewer frames, T is as small as that.
        """


class FlowPoints(PointTracker):
    """Follows points along the optical flow, read between pixels.

    A point is visible as long as the flow leads it back to where it came from, and it is within the
    frame. Once it is not, it is lost: nobody knows where it would come back.

    Args:
        flow: between neighbouring frames; None for `vosfm.flow.DIS`, which needs no weights.
        error: pixels by which a point may miss its start on the way back; None not to look back.

    Raises:
        ValueError: if the error is not above 0.

    Source: SAM-PT, section 4 (RAFT as a point tracker), where a point within the frame is visible;
        the way back as in MUG-VOS's data engine, with its 3 pixels.
    """

    def __init__(self, flow: Flow | None = None, error: float | None = 3.0) -> None:
        if error is not None and not error > 0:
            raise ValueError(f"error is {error}: give more than 0, or None")
        self._flow = flow or DIS()
        self.error = error

    def __call__(self, frames: Sequence[Image], past: Sequence[Moved]) -> Moved:
        before, (first, second) = past[-1], frames[-2:]
        there = self._flow(first, second)
        points = before.points + _read(there, before.points)
        height, width = there.shape[:2]
        visible = before.visible & ((points >= 0) & (points <= (width - 1, height - 1))).all(1)
        if self.error is not None:
            missed = cycle_error(there, self._flow(second, first))
            visible &= _read(missed[..., None], before.points)[:, 0] < self.error
        return Moved(points, visible)


def choose(mask: Mask, image: Image, count: int, how: Choice, rng: np.random.Generator) -> Points:
    """Choose points of a mask.

    Args:
        mask: (H, W).
        image: (H, W, 3) that it is of.
        count: how many.
        how: see `Choice`. Of a mixture a quarter are medoids, a third corners.
        rng: the chance.

    Returns:
        (P, 2), pixels of the mask, P <= count: all of its pixels where it has no more.

    Raises:
        ValueError: if there is no such choice.

    Source: SAM-PT, section 3.2 and appendix; its released query_points.
    """
    if how not in get_args(Choice):
        raise ValueError(f"points are chosen by one of {get_args(Choice)}, not {how!r}")
    among = places(mask)
    if len(among) <= count or count == 0:
        return among[:count]
    if how == "random":
        return among[rng.choice(len(among), count, replace=False)]
    if how == "kmedoids":
        return medoids(among, count, rng)
    if how == "shi-tomasi":
        found = _corners(mask, image, count)
        return np.concatenate((found, medoids(among, count - len(found), rng)))
    few = count // 4, count // 3
    parts = (
        choose(mask, image, few[0], "kmedoids", rng),
        choose(mask, image, few[1], "shi-tomasi", rng),
        choose(mask, image, count - sum(few), "random", rng),
    )
    return np.concatenate(parts)


def medoids(among: Points, count: int, rng: np.random.Generator) -> Points:
    """Points such that all others lie as near to one of them as may be.

    Args:
        among: (N, 2), N >= count; of more than 1800, so many are drawn.
        count: k.
        rng: the chance: what is drawn, and where clusters begin.

    Returns:
        (k, 2) of them.

    Source: k-medoids by alternation (Park and Jun, 2009), begun as k-means++ is.
    """
    if count == 0:
        return among[:0]
    if len(among) > _MOST:
        among = among[rng.choice(len(among), _MOST, replace=False)]
    apart = np.linalg.norm(among[:, None] - among, axis=2)
    centres = [int(rng.integers(len(among)))]
    while len(centres) < count:
        weight = np.square(apart[centres].min(0))
        centres.append(int(rng.choice(len(among), p=weight / weight.sum())))
    for _ in range(100):
        owner = apart[centres].argmin(0)
        moved = []
        for row in range(count):
            own = np.flatnonzero(owner == row)
            moved.append(int(own[apart[np.ix_(own, own)].sum(1).argmin()]))
        if moved == centres:
            break
        centres = moved
    return among[centres]


def _corners(mask: Mask, image: Image, count: int) -> Points:
    """At most `count` corners (P, 2) of an image inside a mask, away from its edge."""
    _, _, wide, high = cv2.boundingRect(mask.astype(np.uint8))
    diagonal = float(np.hypot(wide - 1, high - 1))
    within = mask.astype(np.uint8)
    for share in _CORNERS_WITHIN:
        side = int(diagonal * share)
        eroded = np.asarray(cv2.erode(within, np.ones((max(1, side),) * 2)), np.uint8)
        if np.count_nonzero(eroded) >= 10:
            within = eroded
            break
    found = cv2.goodFeaturesToTrack(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        maxCorners=count,
        qualityLevel=0.001,
        minDistance=diagonal / count,
        mask=within,
        blockSize=3,
    )
    return np.asarray(() if found is None else found, np.float32).reshape(-1, 2)


def _read(maps: NDArray[np.float32], points: Points) -> NDArray[np.float32]:
    """Read maps (H, W, C) between pixels at points (P, 2) -> (P, C); the nearest edge outside."""
    height, width = maps.shape[:2]
    x = np.clip(points[:, 0], 0, width - 1)
    y = np.clip(points[:, 1], 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[:, None], (y - top)[:, None]
    upper = maps[top, left] * (1 - across) + maps[top, right] * across
    lower = maps[below, left] * (1 - across) + maps[below, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
