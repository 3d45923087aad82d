"""Thin-plate splines: through their control points, and bent no more than these ask for."""

from __future__ import annotations

import numpy as np

from vosfm.data.thin_plate import bend


def test_control_points_move_as_asked() -> None:
    moves = np.random.default_rng(0).normal(scale=0.02, size=(4, 4, 2))
    field = bend(moves, (120, 180))
    assert field.shape == (120, 180, 2)
    rows, columns = [0, 40, 80, 119], [0, 60, 120, 179]
    # Points of the grid lie at corners of pixels, half a pixel from their middles.
    np.testing.assert_allclose(field[np.ix_(rows, columns)], moves * (180, 120), atol=0.25)


def test_what_needs_no_bending_is_not_bent() -> None:
    y, x = np.mgrid[:4, :4] / 3
    moves = np.stack([0.1 * x - 0.2 * y + 0.3, 0.05 * x + 0.4 * y - 0.1], axis=-1)
    height, width = 30, 50
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
    flat = np.stack([0.1 * x - 0.2 * y + 0.3, 0.05 * x + 0.4 * y - 0.1], axis=-1)
    np.testing.assert_allclose(bend(moves, (height, width)), flat * (width, height), atol=1e-3)


def test_bent_as_a_thin_plate() -> None:
    """Between the control points, a plate of least energy is biharmonic."""
    moves = np.random.default_rng(1).normal(scale=0.02, size=(4, 4, 2))
    field = bend(moves, (90, 90)).astype(np.float64)
    fourth, second = np.array([1, -4, 6, -4, 1]), np.array([0, 1, -2, 1, 0])
    along = np.zeros((5, 5))
    along[2] = fourth
    both = along + along.T + 2 * np.outer(second, second)
    for row in (15, 45, 75):
        for column in (15, 45, 75):
            around = field[row - 6 : row + 7 : 3, column - 6 : column + 7 : 3]
            terms = [np.einsum("ij,ijk->k", k, around) for k in (both, along, along.T)]
            assert np.linalg.norm(terms[0]) < 0.1 * np.linalg.norm(terms[1:])
