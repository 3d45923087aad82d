"""What the data engine asks of a promptable segmenter: candidates for points, stability and all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Image, Mask


@dataclass(frozen=True)
class Candidates:
    """What a promptable segmenter makes of Q queries, K masks of each.

    Attributes:
        masks: (Q, K, H, W) bool, of the image's size.
        quality: (Q, K), what it thinks of each mask: the IoU that it expects, about [0, 1].
        stability: (Q, K), IoU of the mask at a threshold raised and one lowered by the offset, in
            [0, 1]; 1 where a segmenter has no logits.
    """

    masks: Mask
    quality: NDArray[np.float32]
    stability: NDArray[np.float32]


class PromptedSegmenter(ABC):
    """From points in one image to masks; it looks at an image once and answers many queries."""

    @abstractmethod
    def look(self, image: Image, frame: int) -> None:
        """Take an image in; queries are of it until the next one.

        Args:
            image: (H, W, 3) uint8 RGB.
            frame: its place in the clip, from 0; only an oracle needs it.
        """

    @abstractmethod
    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        """Answer queries about the image.

        Args:
            points: (Q, P, 2) as x and y in pixels of the image; each query has P points, all of
                them inside what is meant.
            offset: of the logits between the two thresholds of the stability and zero.
        """

    def at_image_size(self) -> PromptedSegmenter:
        """The same segmenter, its stability measured on logits of the image's size.

        Others are measured as they are decoded, on fewer pixels. The two differ a little, and the
        released data engine uses both: this one for its first frame.
        """
        return self


class Proposer(ABC):
    """Masks of everything in the first frame of a clip."""

    @abstractmethod
    def propose(self, image: Image) -> Mask:
        """Find masks of all granularities.

        Args:
            image: (H, W, 3) uint8 RGB, the first frame.

        Returns:
            (N, H, W) bool, N >= 0; they may overlap.
        """
