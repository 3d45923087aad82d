"""Convolutions over an image's maps and an object's: what the image adds is computed once.

A convolution of cat(image, row) is the sum of one of the image and one of the row. Where many
rows see one image, its share is the same for all of them.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def convolve_image(conv: nn.Conv2d, image: Tensor) -> Tensor:
    """What the image adds to a convolution of cat(image, row), the bias included.

    Args:
        conv: over the channels of both, those of the image first.
        image: (B, Ci, h, w).

    Returns:
        (B, C, h', w'), for `convolve_rows`.
    """
    weight = conv.weight[:, : image.shape[1]]
    return F.conv2d(image, weight, conv.bias, conv.stride, conv.padding, conv.dilation)


def convolve_rows(conv: nn.Conv2d, share: Tensor, rows: Tensor) -> Tensor:
    """The convolution of cat(image, row) for every row.

    Args:
        conv: as for `convolve_image`.
        share: (B, C, h', w'), what the image adds.
        rows: (B, R, Cr, h, w).

    Returns:
        (B, R, C, h', w').
    """
    weight = conv.weight[:, -rows.shape[2] :]
    maps = F.conv2d(rows.flatten(0, 1), weight, None, conv.stride, conv.padding, conv.dilation)
    maps = maps.unflatten(0, rows.shape[:2])
    maps += share.unsqueeze(1)
    return maps
