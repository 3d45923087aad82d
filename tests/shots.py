"""Clips of disks whose images tell where their masks must be."""

from __future__ import annotations

import numpy as np

from vosfm.data.transforms import Shot


def disks(height: int = 120, width: int = 160, count: int = 3, length: int = 3) -> Shot:
    """Overlapping disks; mask k is where the image's channel k is bright."""
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.stack(
        [
            np.hypot(x - width * (0.35 + 0.12 * k), y - height * (0.6 - 0.1 * k)) < height / 4
            for k in range(count)
        ]
    )
    frame = np.moveaxis(masks[:3] * np.uint8(255), 0, -1).copy()
    return Shot((frame,) * length, np.stack([masks] * length))


def disagreement(shot: Shot) -> float:
    """Share of pixels where mask and image disagree, per pixel of outline."""
    bright = np.moveaxis(np.stack(shot.frames), -1, 1) > 127
    edges = (shot.masks[..., 1:] != shot.masks[..., :-1]).sum()
    return float((bright != shot.masks).sum() / edges)


def offset(shot: Shot) -> float:
    """Largest distance between the middles of a mask and of its bright pixels."""
    bright = np.moveaxis(np.stack(shot.frames), -1, 1) > 127
    middles = [
        [np.argwhere(m).mean(axis=0) for m in pair]
        for pair in zip(
            bright.reshape(-1, *bright.shape[2:]), np.concatenate(shot.masks), strict=True
        )
        if pair[0].sum() > 300
    ]
    return max(float(np.linalg.norm(a - b)) for a, b in middles)
