"""What is alike in all networks that answer points with logits."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.collect.prompting import Candidates, PromptedSegmenter
from vosfm.data.video import Image
from vosfm.ops.resizing import restore
from vosfm.types import Features

_AT_ONCE = 2**24
"""Pixels of prepared images in which logits are restored at once, 64 MB of them."""


class PromptedNetwork(PromptedSegmenter):
    """A network that encodes an image once, and decodes logits of it for a batch of queries.

    Masks come to the image's size a few at a time: beside the masks of all queries, a byte for
    each of their pixels, what takes memory is the decoding of one batch.

    Args:
        device: where its weights are.
        count: K, how many masks it makes of each query.
        batch: how many queries are decoded at once.

    Raises:
        ValueError: if the batch is empty.
    """

    def __init__(self, device: torch.device, count: int, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch}: give at least 1")
        self._device = device
        self._count = count
        self._batch = batch
        self._fine = False
        self._features: Features | None = None

    @abstractmethod
    def encode(self, images: Tensor) -> Features:
        """Encode an image (1, 3, H, W) in [0, 1]."""

    @abstractmethod
    def decode(self, features: Features, points: Tensor) -> tuple[Tensor, Tensor]:
        """Answer queries.

        Args:
            features: of the image.
            points: (Q, P, 2), x and y in pixels of the image.

        Returns:
            Logits (Q, K, h, w) of the whole prepared image, and quality (Q, K).
        """

    @torch.inference_mode()
    def look(self, image: Image, frame: int) -> None:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        self._features = self.encode(pixels.permute(2, 0, 1)[None].float() / 255)

    @torch.inference_mode()
    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        if self._features is None:
            raise ValueError("no image to answer about: look at one first")
        queries = torch.from_numpy(np.ascontiguousarray(points, np.float32)).to(self._device)
        shape = (len(queries), self._count)
        masks = np.empty((*shape, *self._features.geometry.source), np.bool_)
        quality, stable = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for first in range(0, len(queries), self._batch):
            some = slice(first, first + self._batch)
            logits, believed = self.decode(self._features, queries[some])
            quality[some] = believed.float().cpu().numpy()
            masks[some], stable[some] = self._restored(logits.float(), self._features, offset)
        return Candidates(masks, quality, stable)

    def at_image_size(self) -> Self:
        finer = copy(self)
        finer._fine = True
        return finer

    def _restored(
        self, logits: Tensor, features: Features, offset: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Masks (Q, K, H, W) of logits (Q, K, h, w), and stability (Q, K)."""
        height, width = features.geometry.prepared
        masks, measured = [], []
        for low in logits.flatten(0, 1).split(max(1, _AT_ONCE // (height * width))):
            full = restore(low[:, None], features.geometry)[:, 0]
            masks.append((full > 0).cpu().numpy())
            measured.append(stability(full if self._fine else low, offset).cpu().numpy())
        shape = logits.shape[:2]
        return np.concatenate(masks).reshape(*shape, *masks[0].shape[1:]), np.concatenate(
            measured
        ).reshape(shape)


def stability(logits: Tensor, offset: float) -> Tensor:
    """How little masks change with the threshold of their logits.

    Args:
        logits: (..., H, W).
        offset: how far above and below 0 they are cut.

    Returns:
        (...) in [0, 1], the IoU of the two masks; 0 where both are empty.

    Source: Segment Anything, section 5, "fully automatic stage", and appendix B.
    """
    inside, around = ((logits > cut).sum((-2, -1)) for cut in (offset, -offset))
    return inside / around.clamp(min=1)
