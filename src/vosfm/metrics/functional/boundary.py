"""Boundary accuracy F, alone and together with J in one pass."""

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vosfm.metrics.functional import bits
from vosfm.metrics.functional.arrays import Array, in_kind, to_mask, to_masks


def boundary_f(
    pred: Array, target: Array, void: Array | None = None, tolerance: float = 0.008
) -> Array:
    """Measure boundary accuracy F, the F-measure of boundary pixels matched within a tolerance.

    A boundary pixel is matched if a boundary pixel of the other mask lies within the disk of the
    tolerance around it. Precision is over the boundary of pred, recall over that of target.

    Args:
        pred: (..., H, W) bool.
        target: (..., H, W) bool.
        void: (..., H, W) bool, taken out of both masks before their boundaries are drawn;
            broadcast over leading dimensions.
        tolerance: below 1 a fraction of the image diagonal, rounded up to pixels; else whole
            pixels.

    Returns:
        (...) float64 in [0, 1], of the kind that pred is; 1 where neither mask has a boundary, 0
        where only one has. A mask that fills the frame has none.

    Raises:
        TypeError: for floating masks.
        ValueError: if the shapes differ, or for a tolerance that is negative or above 1 and not
            whole.

    Source: DAVIS (Perazzi et al., CVPR 2016), Sec. 4.1; the tolerance, the boundaries and the
        empty cases are those of the DAVIS 2017 evaluation.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((40, 40), dtype=bool)
        >>> target[10:30, 10:30] = True
        >>> float(boundary_f(np.roll(target, 1, axis=1), target))
        1.0
        >>> float(boundary_f(np.roll(target, 8, axis=1), target)) < 0.5
        True
    """
    _, f = _region_and_boundary(*to_masks(pred, target, void), tolerance)
    return in_kind(f, pred)


def region_and_boundary(
    pred: Array, target: Array, void: Array | None = None, tolerance: float = 0.008
) -> tuple[Array, Array]:
    """Measure J and F of the same masks in one pass over them.

    Args:
        pred: (..., H, W) bool.
        target: (..., H, W) bool.
        void: as in `boundary_f`.
        tolerance: as in `boundary_f`.

    Returns:
        What `jaccard` and `boundary_f` return.

    Raises:
        TypeError: for floating masks.
        ValueError: as `boundary_f`.

    Example:
        >>> import numpy as np
        >>> mask = np.eye(5, dtype=bool)
        >>> j, f = region_and_boundary(mask, mask)
        >>> float(j), float(f)
        (1.0, 1.0)
    """
    j, f = _region_and_boundary(*to_masks(pred, target, void), tolerance)
    return in_kind(j, pred), in_kind(f, pred)


def boundaries(mask: Array) -> Array:
    """Draw the boundary of a mask, one pixel wide.

    A boundary pixel differs from its right, lower or lower right neighbour. Over the right and
    the lower edge of the frame, the edge repeats.

    Args:
        mask: (..., H, W) bool.

    Returns:
        (..., H, W) bool, of the kind that mask is.

    Raises:
        TypeError: for a floating mask.
        ValueError: for fewer than two dimensions.

    Source: DAVIS 2017 evaluation, after the Berkeley boundary maps.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((4, 4), dtype=bool)
        >>> mask[1:3, 1:3] = True
        >>> boundaries(mask).astype(int)
        array([[1, 1, 1, 0],
               [1, 0, 1, 0],
               [1, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    inside = to_mask("mask", mask)
    edge = np.zeros_like(inside)
    edge[..., :, :-1] |= inside[..., :, :-1] ^ inside[..., :, 1:]
    edge[..., :-1, :] |= inside[..., :-1, :] ^ inside[..., 1:, :]
    edge[..., :-1, :-1] |= inside[..., :-1, :-1] ^ inside[..., 1:, 1:]
    return in_kind(edge, mask)


def tolerance_radius(height: int, width: int, tolerance: float = 0.008) -> int:
    """Turn the tolerance of F into whole pixels.

    Args:
        height: of the frame.
        width: of the frame.
        tolerance: below 1 a fraction of the diagonal, rounded up; else whole pixels.

    Returns:
        The radius of the disk, >= 0.

    Raises:
        ValueError: for a tolerance that is negative, or above 1 and not whole.

    Example:
        >>> tolerance_radius(480, 854)
        8
    """
    if tolerance < 0 or (tolerance >= 1 and tolerance != int(tolerance)):
        raise ValueError(f"tolerance is {tolerance}: give a fraction below 1, or whole pixels")
    if tolerance >= 1:
        return int(tolerance)
    return ceil(tolerance * sqrt(height * height + width * width))


def _region_and_boundary(
    pred: NDArray[np.bool_], target: NDArray[np.bool_], tolerance: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    height, width = pred.shape[-2:]
    radius = tolerance_radius(height, width, tolerance)
    pairs = zip(pred.reshape(-1, height, width), target.reshape(-1, height, width), strict=True)
    scores = np.array([_pair(a, b, radius) for a, b in pairs], dtype=np.float64).reshape(-1, 2)
    leading = pred.shape[:-2]
    return scores[:, 0].reshape(leading), scores[:, 1].reshape(leading)


def _pair(pred: NDArray[np.bool_], target: NDArray[np.bool_], radius: int) -> tuple[float, float]:
    """Score one pair of (H, W) masks: J and F."""
    window, a, b = bits.pack(pred, target, radius)
    union = (a | b).bit_count()
    if not union:
        return 1.0, 1.0
    j = (a & b).bit_count() / union
    a_edge, b_edge = bits.boundaries(a, window), bits.boundaries(b, window)
    if not a_edge or not b_edge:
        return j, float(a_edge == b_edge)
    a_matched = (a_edge & bits.dilate(b_edge, window, radius)).bit_count()
    b_matched = (b_edge & bits.dilate(a_edge, window, radius)).bit_count()
    precision = a_matched / a_edge.bit_count()
    recall = b_matched / b_edge.bit_count()
    if not precision + recall:
        return j, 0.0
    return j, 2 * precision * recall / (precision + recall)
