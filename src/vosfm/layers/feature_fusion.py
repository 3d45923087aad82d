"""What an image shows and what is known of each object in it, in one map per object."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.layers.shared_convolution import convolve_image, convolve_rows


class ImageShare(NamedTuple):
    """What an image adds to the fusion, the same for every row.

    Attributes:
        first: (B, C, h, w), to the first convolution.
        skip: (B, C, h, w), to the skip connection.
    """

    first: Tensor
    skip: Tensor


class FeatureFusion(nn.Module):
    """Joins an image's map with a map per row: residual block, attention, residual block.

    Args:
        image: channels of the image's map.
        rows: channels of the rows' maps.
        width: channels in between.
        out: channels of the result.

    Source: XMem, the feature fusion block of value encoder and decoder (section 3.5); attention
    as in CBAM.
    """

    def __init__(self, image: int, rows: int, width: int, out: int) -> None:
        super().__init__()
        self.enter = ResidualBlock(image + rows, width)
        self.attention = CBAM(width)
        self.exit = ResidualBlock(width, out)

    def forward(self, image: Tensor, rows: Tensor) -> Tensor:
        """Fuse.

        Args:
            image: (B, Ci, h, w).
            rows: (B, R, Cr, h, w).

        Returns:
            (B, R, out, h, w).
        """
        return self.complete(self.share(image), rows)

    def share(self, image: Tensor) -> ImageShare:
        """What the image (B, Ci, h, w) adds; rows can then be completed a few at a time."""
        first = convolve_image(self.enter.conv1, F.relu(image))
        skip = image if self.enter.skip is None else convolve_image(self.enter.skip, image)
        return ImageShare(first, skip)

    def complete(self, share: ImageShare, rows: Tensor) -> Tensor:
        """Fuse rows (B, R, Cr, h, w) with what the image adds: (B, R, out, h, w)."""
        shape = rows.shape[:2]
        first = convolve_rows(self.enter.conv1, share.first, F.relu(rows))
        maps = self.enter.conv2(F.relu(first.flatten(0, 1), inplace=True))
        if self.enter.skip is None:
            image = share.skip.unsqueeze(1).expand(-1, shape[1], -1, -1, -1)
            skip = torch.cat((image, rows), 2)
        else:
            skip = convolve_rows(self.enter.skip, share.skip, rows)
        maps = maps + skip.flatten(0, 1)
        return self.exit(maps + self.attention(maps)).unflatten(0, shape)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, beside a skip connection.

    The skip connection is a 3x3 convolution where the number of channels changes.

    Args:
        inputs: channels of the maps.
        outputs: channels of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = None if inputs == outputs else nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """From (N, inputs, h, w) to (N, outputs, h, w)."""
        out = self.conv2(F.relu(self.conv1(F.relu(maps)), inplace=True))
        return out + (maps if self.skip is None else self.skip(maps))


class CBAM(nn.Module):
    """Attention to channels, then to places.

    Args:
        channels: of the maps.
        reduction: how many times fewer channels the perceptron between them has, at least one.

    Source: CBAM: Convolutional Block Attention Module, section 3.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, narrow)
        self.excite = nn.Linear(narrow, channels)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh (N, C, h, w); the shape stays."""
        pooled = torch.stack((maps.mean((-2, -1)), maps.amax((-2, -1))))
        channels = self.excite(F.relu(self.squeeze(pooled))).sum(0).sigmoid()
        maps = maps * channels[..., None, None]
        outline = torch.cat((maps.amax(1, keepdim=True), maps.mean(1, keepdim=True)), 1)
        return maps * self.spatial(outline).sigmoid()
