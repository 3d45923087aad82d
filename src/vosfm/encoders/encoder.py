"""What every encoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vosfm.types import Features, Geometry, Size


class Encoder(nn.Module, ABC):
    """Turns frames into features, and knows how frames must look for that.

    Attributes:
        channels: stride -> channels of that level of the pyramid.
        width: channels of the embedding.
        stride: of the embedding.
    """

    channels: Mapping[int, int]
    width: int
    stride: int
    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @abstractmethod
    def geometry(self, source: Size) -> Geometry:
        """How a frame of this size is resized and padded."""

    @abstractmethod
    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        """Resize, normalise and pad frames (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """The pyramid and the embedding of a prepared image."""

    def forward(self, images: Tensor) -> Features:
        """Encode frames.

        Args:
            images: (B, 3, H, W) in [0, 1], RGB, at the source size.

        Returns:
            The features, B frames of them.
        """
        geometry = self.geometry((images.shape[-2], images.shape[-1]))
        image = self.prepare(images, geometry)
        pyramid, embedding = self.extract(image)
        return Features(image, pyramid, embedding, geometry)
