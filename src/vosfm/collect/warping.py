"""Flow and warp: where the masks of one frame are in the next, and where the flow can be trusted.

Masks are warped by `vosfm.flow.pull`: backward, with the flow from the later frame to the earlier.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Mask


def cycle_error(there: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far every pixel ends from its start when it goes to the other frame and back.

    The way back is read between pixels, bilinearly; from outside the frame it is zero.

    Args:
        there: (H, W, 2) flow from a frame to another.
        back: (H, W, 2) flow from that one to the first.

    Returns:
        (H, W) in pixels.

    Source: the released data engine of MUG-VOS, its test of cycle consistency.
    """
    height, width = there.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x += there[..., 0]
    y += there[..., 1]
    # Channel by channel: OpenCV interpolates exactly between pixels of one channel only.
    missed = [
        there[..., axis] + cv2.remap(np.ascontiguousarray(back[..., axis]), x, y, cv2.INTER_LINEAR)
        for axis in (0, 1)
    ]
    return np.asarray(np.hypot(*missed), np.float32)


def trusted(there: NDArray[np.float32], back: NDArray[np.float32], bound: float) -> Mask:
    """(H, W) pixels of a frame that come back closer than `bound` pixels; see `cycle_error`."""
    return cycle_error(there, back) < bound
