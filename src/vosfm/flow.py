"""Dense optical flow."""

from __future__ import annotations

from abc import ABC, abstractmethod

import cv2
import numpy as np
from numpy.typing import NDArray


class Flow(ABC):
    """Where the pixels of one frame are in another."""

    @abstractmethod
    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Follow every pixel of a frame into another.

        Args:
            source: (H, W, 3) RGB.
            target: (H, W, 3) RGB.

        Returns:
            (H, W, 2): pixel (x, y) of the source is at (x, y) + flow[y, x] in the target.
        """


class DIS(Flow):
    """Dense inverse search, medium preset: no weights needed.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search; OpenCV's implementation.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (source, target))
        flow = np.zeros((*source.shape[:2], 2), np.float32)
        return np.asarray(self._search.calc(first, second, flow), np.float32)


def pull(masks: NDArray[np.bool_], flow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Carry masks into a frame along the flow that leads back out of it.

    Args:
        masks: (O, H, W) of the earlier frame.
        flow: (H, W, 2) from the later frame to the earlier one.

    Returns:
        (O, H, W) of the later frame; what comes from outside the earlier one is False.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack(
        [
            cv2.remap(mask.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
            > 0.5
            for mask in masks
        ]
    )
