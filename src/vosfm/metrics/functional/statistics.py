"""What is told of an object's scores over time: recall, decay, stability."""

import numpy as np

from vosfm.metrics.functional.arrays import Array, in_kind, to_numpy


def recall(scores: Array, threshold: float = 0.5) -> Array:
    """Measure in what fraction of its frames an object scores above a threshold.

    Args:
        scores: (..., T) J or F of every counted frame.
        threshold: a frame must score more than it.

    Returns:
        (...) float64 in [0, 1], of the kind that scores is; NaN without frames.

    Source: DAVIS (Perazzi et al., CVPR 2016), Sec. 4.1, object recall.

    Example:
        >>> import numpy as np
        >>> float(recall(np.array([0.9, 0.6, 0.5, 0.1])))
        0.5
    """
    values = to_numpy(scores).astype(np.float64)
    above = values > threshold
    if not values.shape[-1]:
        return in_kind(np.full(values.shape[:-1], np.nan), scores)
    return in_kind(above.mean(axis=-1), scores)


def decay(scores: Array, bins: int = 4, official: bool = False) -> Array:
    """Measure how much an object's scores drop from the first to the last part of its frames.

    The frames are split at ``bins + 1`` points, evenly spaced and rounded to frames; a part holds
    both of its end points.

    Args:
        scores: (..., T) J or F of every counted frame, in the order of time.
        bins: parts that the frames are split into; the first is compared with the last.
        official: keep the split points in 8 bits, as the DAVIS tool does (under NumPy 2). They
            wrap around from 256 frames on, so that other frames are compared, or none (NaN).
            Published numbers of long sequences may carry this.

    Returns:
        (...) float64 in [-1, 1], of the kind that scores is; NaN without frames.

    Raises:
        ValueError: for bins < 1.

    Source: DAVIS (Perazzi et al., CVPR 2016), Sec. 4.1, performance decay.

    Example:
        >>> import numpy as np
        >>> falling = np.linspace(1.0, 0.0, 300)
        >>> round(float(decay(falling)), 6)
        0.749164
        >>> float(decay(falling, official=True))
        nan
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}: give at least 1")
    values = to_numpy(scores).astype(np.float64)
    if not values.shape[-1]:
        return in_kind(np.full(values.shape[:-1], np.nan), scores)
    points = np.round(np.linspace(1, values.shape[-1], bins + 1) + 1e-10).astype(np.int64) - 1
    starts, stops = points[:-1], points[1:] + 1
    if official:
        starts, stops = starts % 256, stops % 256
    first = values[..., starts[0] : stops[0]]
    last = values[..., starts[-1] : stops[-1]]
    if not first.shape[-1] or not last.shape[-1]:
        return in_kind(np.full(values.shape[:-1], np.nan), scores)
    return in_kind(first.mean(axis=-1) - last.mean(axis=-1), scores)


def stability(scores: Array, official: bool = False) -> Array:
    """Measure V, how much an object's scores vary over time; lower is steadier.

    Args:
        scores: (..., T) mean of J and F of every counted frame.
        official: round the variance to four decimals first, as the LVOS tool does.

    Returns:
        (...) float64 in [0, 0.5], of the kind that scores is; NaN without frames.

    Source: LVOS (Hong et al.), Eq. 1: the standard deviation of the per-frame scores.

    Example:
        >>> import numpy as np
        >>> float(stability(np.array([1.0, 0.0, 1.0, 0.0])))
        0.5
    """
    values = to_numpy(scores).astype(np.float64)
    if not values.shape[-1]:
        return in_kind(np.full(values.shape[:-1], np.nan), scores)
    variance = values.var(axis=-1)
    return in_kind(np.sqrt(variance.round(4) if official else variance), scores)
