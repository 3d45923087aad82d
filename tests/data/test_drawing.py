"""Overlays."""

from __future__ import annotations

import numpy as np
import pytest

from vosfm.data import overlay, palette


def _masks() -> np.ndarray:
    masks = np.zeros((3, 40, 60), dtype=np.bool_)
    masks[0, 5:25, 5:25] = True
    masks[1, 15:35, 15:35] = True
    return masks


def test_tints_overlap_and_contours_show() -> None:
    frame = np.full((40, 60, 3), 100, dtype=np.uint8)
    before = frame.copy()
    drawn = overlay(frame, _masks(), [1, 9, 3], alpha=0.4)
    np.testing.assert_array_equal(frame, before)
    np.testing.assert_array_equal(drawn[2, 50], frame[2, 50])
    first, second = palette()[1].astype(float), palette()[9].astype(float)
    np.testing.assert_allclose(drawn[10, 10], 60 + 0.4 * first, atol=1)
    np.testing.assert_allclose(drawn[30, 30], 60 + 0.4 * second, atol=1)
    np.testing.assert_allclose(drawn[20, 20], 0.6 * (60 + 0.4 * first) + 0.4 * second, atol=1)
    # The contour of the first object shows inside of the second, which lies on top.
    np.testing.assert_array_equal(drawn[24, 20], first.astype(int) // 2 + 127)
    assert drawn.dtype == np.uint8


def test_nothing_to_draw() -> None:
    frame = np.zeros((40, 60, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(frame, np.zeros((0, 40, 60), np.bool_), []), frame)


def test_views_of_larger_arrays() -> None:
    frame = np.zeros((60, 40, 3), dtype=np.uint8).transpose(1, 0, 2)
    masks = np.repeat(_masks(), 2, axis=2)[..., ::2]
    assert overlay(frame, masks, [1, 2, 300]).any()


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        overlay(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 9, 8), np.bool_), [1])
    with pytest.raises(ValueError, match="2 objects"):
        overlay(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8), np.bool_), [1, 2])
