"""Masks drawn over frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vosfm.data.masks import palette
from vosfm.data.video import Image, Mask


def overlay(frame: Image, masks: Mask, object_ids: Sequence[int], alpha: float = 0.5) -> Image:
    """Tint objects in the colors of the DAVIS palette and draw their contours.

    Where masks overlap their tints lie over each other, the last one on top; all contours show.

    Args:
        frame: (H, W, 3) uint8 RGB, not changed.
        masks: (O, H, W) bool.
        object_ids: of the masks; ids of 256 and above repeat the colors.
        alpha: strength of the tint, in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if masks.shape[1:] != frame.shape[:2] or len(masks) != len(object_ids):
        raise ValueError(
            f"masks {masks.shape} of {len(object_ids)} objects do not fit a frame {frame.shape}"
        )
    drawn = frame.copy()
    thickness = 1 + min(frame.shape[:2]) // 720
    outlines = []
    for mask, object_id in zip(masks, object_ids, strict=True):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        if width == 0:
            continue
        color = palette()[1 + (object_id - 1) % 255]
        box = (slice(y, y + height), slice(x, x + width))
        inside = np.ascontiguousarray(mask[box]).view(np.uint8)
        plain = np.full((height, width, 3), color, dtype=np.uint8)
        tinted = cv2.addWeighted(drawn[box], 1 - alpha, plain, alpha, 0)
        cv2.copyTo(tinted, inside, drawn[box])
        contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        outlines.append((contours, color))
    for contours, color in outlines:
        bright = (color.astype(int) // 2 + 127).tolist()
        cv2.drawContours(drawn, contours, -1, bright, thickness)
    return drawn
