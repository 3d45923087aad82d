"""Sample: points that say which thing a mask is of."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Mask

Points = NDArray[np.float32]
"""(P, 2) as x and y, in pixels."""

_MOST = 2048
"""Pixels that are clustered at most; more do not move the centres by what matters to a prompt."""

_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.5)


def places(mask: Mask) -> Points:
    """The pixels of a mask (H, W) as points (N, 2), row after row."""
    y, x = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return np.stack((x, y), axis=1).astype(np.float32)


def carried(points: Points, flow: NDArray[np.float32]) -> Points:
    """Where pixels of a frame are in the next one; those that leave it are left out.

    Args:
        points: (N, 2) pixels of the frame.
        flow: (H, W, 2) into the next frame.

    Returns:
        (M, 2), M <= N, in the same order, inside the frame.
    """
    x, y = points.astype(np.intp).T
    moved = points + flow[y, x]
    last = np.array((flow.shape[1] - 1, flow.shape[0] - 1), np.float32)
    return moved[((moved >= 0) & (moved <= last)).all(axis=1)]


def sample(
    among: Points, count: int, sampling: Literal["random", "kmeans"], rng: np.random.Generator
) -> Points:
    """Draw points of a query.

    Args:
        among: (N, 2), N >= 1, the places of a mask.
        count: how many to draw.
        sampling: "random": different places; "kmeans": the centres of clusters of places, which
            lie apart from each other but, in a mask that is not convex, may lie outside it.
        rng: the chance; with k-means, of the places that are clustered and of the first centres.

    Returns:
        (min(count, N), 2); all places where they are no more than `count`.
    """
    if len(among) <= count:
        return among
    if sampling == "random":
        return among[rng.choice(len(among), count, replace=False)]
    if len(among) > _MOST:
        among = among[rng.choice(len(among), _MOST, replace=False)]
    # Labels of our own: OpenCV's own start would depend on its global generator.
    far = _spread(among, count, rng)
    labels = far.argmin(axis=1).astype(np.int32)
    flags = cv2.KMEANS_USE_INITIAL_LABELS
    _, _, centres = cv2.kmeans(among, count, labels[:, None], _STOP, 1, flags)
    return np.asarray(centres, np.float32)


def _spread(among: Points, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Squared distances (N, count) to first centres, each drawn far from those before.

    Source: Arthur and Vassilvitskii, k-means++.
    """
    far = np.full((len(among), count), np.inf, np.float32)
    chosen = int(rng.integers(len(among)))
    for k in range(count):
        far[:, k] = np.square(among - among[chosen]).sum(axis=1)
        # Above zero: points that the flow brought together have nothing far from them.
        nearest = far.min(axis=1).astype(np.float64) + 1e-9
        chosen = int(rng.choice(len(among), p=nearest / nearest.sum()))
    return far
