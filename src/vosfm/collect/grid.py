"""Masks of everything in an image, by asking at every place."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import masks_to_boxes, nms

from vosfm.collect.prompting import PromptedSegmenter, Proposer
from vosfm.data.video import Image, Mask

_BATCH = 64
"""Points that are asked about at once: what does not pass is forgotten before the next ones."""


class Grid(Proposer):
    """Asks about single points on a regular grid, and keeps what is good, stable and seen once.

    Masks are told apart by their boxes, as it is done in SAM's automatic mask generation at its
    defaults: one look at the whole image, and no island or hole is mended. Empty masks are left
    out, whatever the thresholds.

    Args:
        segmenter: what is asked. Its stability is measured at the image's size, see
            `PromptedSegmenter.at_image_size`.
        points_per_side: of the grid; they lie in the middle of its cells.
        quality: only masks that are believed to be better are kept.
        stability: masks that are less stable are not kept.
        offset: of the logits, of the stability.
        overlap: of two masks whose boxes have a higher IoU, the one of lower quality is left out.

    Raises:
        ValueError: if there is no point.

    Source: Segment Anything, appendix B, "Automatic Mask Generation Details"; its released code.
    """

    def __init__(
        self,
        segmenter: PromptedSegmenter,
        points_per_side: int = 32,
        quality: float = 0.88,
        stability: float = 0.95,
        offset: float = 1.0,
        overlap: float = 0.7,
    ) -> None:
        if points_per_side < 1:
            raise ValueError(f"points_per_side is {points_per_side}: give at least 1")
        self._segmenter = segmenter.at_image_size()
        self.points_per_side = points_per_side
        self.quality = quality
        self.stability = stability
        self.offset = offset
        self.overlap = overlap

    def propose(self, image: Image) -> Mask:
        """Find masks of all granularities, see `Proposer.propose`; the best are first."""
        height, width = image.shape[:2]
        points = centres(self.points_per_side, (height, width))
        self._segmenter.look(image, 0)
        packed, boxes, quality = [], [], []
        for first in range(0, len(points), _BATCH):
            found = self._segmenter.candidates(points[first : first + _BATCH, None], self.offset)
            passed = (found.quality > self.quality) & (found.stability >= self.stability)
            masks, good = found.masks[passed], found.quality[passed]
            seen = masks.any((1, 2))
            masks = masks[seen]
            packed.append(np.packbits(masks, 2))
            boxes.append(masks_to_boxes(torch.from_numpy(masks)))
            quality.append(torch.from_numpy(good[seen]))
        kept = nms(torch.cat(boxes), torch.cat(quality), self.overlap).numpy()
        return np.unpackbits(np.concatenate(packed)[kept], 2, width).astype(np.bool_)


def centres(points_per_side: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Points in the middle of the cells of a grid.

    Args:
        points_per_side: n, the same for both sides.
        size: (H, W) of the image that the grid covers.

    Returns:
        (n * n, 2), x and y in pixels, row by row.
    """
    line = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(line * size[1], line * size[0])
    return np.stack((x, y), -1).reshape(-1, 2).astype(np.float32)
