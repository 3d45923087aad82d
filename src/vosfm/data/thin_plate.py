"""Smooth bending of a picture by thin-plate splines."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vosfm.types import Size

Field = NDArray[np.float32]
"""(H, W, 2), for every pixel how far away (x, y) it is looked up, in pixels."""


def bend(moves: NDArray[np.float64], size: Size) -> Field:
    """Spread the moves of a few control points over a picture, bending it as little as possible.

    Args:
        moves: (n, n, 2), of points on an even n x n grid whose outermost points are the corners of
            the picture; (x, y) each, as shares of its width and height.
        size: (H, W) of the picture.

    Returns:
        The field of minimal bending energy that has these moves at the control points.

    Source: Bookstein, Principal warps, 1989.
    """
    height, width = size
    field = _influence(len(moves), size) @ moves.reshape(-1, 2)
    return (field * (width, height)).reshape(height, width, 2).astype(np.float32)


@lru_cache(maxsize=2)  # the size is that of all clips of a training
def _influence(count: int, size: Size) -> NDArray[np.float32]:
    """(H * W, count ** 2), how much each control point has to say at each pixel's middle."""
    height, width = size
    grid = np.linspace(0, 1, count)
    controls = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    bent, flat = _terms(controls, controls), _flat(controls)
    system = np.block([[bent, flat], [flat.T, np.zeros((3, 3))]])
    # Of the weights that a unit move of each control point has.
    weights = np.linalg.inv(system)[:, : len(controls)]
    rows, columns = ((np.arange(side) + 0.5) / side for side in (height, width))
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    influence = np.hstack([_terms(points, controls), _flat(points)]) @ weights
    return influence.astype(np.float32)


def _terms(points: NDArray[np.float64], controls: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, C), the kernel r ** 2 log r ** 2 between points (P, 2) and controls (C, 2)."""
    squares = ((points[:, None] - controls) ** 2).sum(axis=-1)
    return squares * np.log(np.maximum(squares, np.finfo(np.float64).tiny))


def _flat(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, 3), the terms that bend nothing."""
    return np.column_stack([np.ones(len(points)), points])
