"""Region similarity J."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vosfm.metrics.functional.arrays import Array, in_kind, to_masks


def jaccard(pred: Array, target: Array, void: Array | None = None) -> Array:
    """Measure region similarity J, the intersection over union of two masks.

    Args:
        pred: (..., H, W) bool.
        target: (..., H, W) bool.
        void: (..., H, W) bool, pixels that count for nothing; broadcast over leading dimensions.

    Returns:
        (...) float64 in [0, 1], of the kind that pred is; 1 where both masks are empty.

    Raises:
        TypeError: for floating masks.
        ValueError: if the shapes differ.

    Source: DAVIS (Perazzi et al., CVPR 2016), Sec. 4.1.

    Example:
        >>> import numpy as np
        >>> pred = np.array([[1, 1, 0], [1, 1, 0]], dtype=bool)
        >>> target = np.array([[0, 1, 1], [0, 1, 1]], dtype=bool)
        >>> float(jaccard(pred, target))
        0.3333333333333333
        >>> import torch
        >>> jaccard(torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, dtype=torch.bool))
        tensor([1., 1.], dtype=torch.float64)
    """
    a, b = to_masks(pred, target, void)
    return in_kind(_ratio(_area(a & b), _area(a | b)), pred)


def _area(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the pixels of (..., H, W) masks by their bits, eight at a time."""
    pixels = masks.shape[-2] * masks.shape[-1]
    packed = np.packbits(masks.reshape(*masks.shape[:-2], pixels), axis=-1)
    return np.asarray(np.bitwise_count(packed).sum(axis=-1), dtype=np.int64)


def _ratio(intersection: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[Any]:
    return np.divide(intersection, union, out=np.ones(union.shape), where=union > 0)
