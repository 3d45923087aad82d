"""From the sizes of the world to the sizes that networks accept, and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm.types import Geometry, Size


def fit(source: Size, multiple: int, align_corners: bool, long_edge: int | None = None) -> Geometry:
    """Choose the size at which a network sees a frame.

    Args:
        source: (H, W) of the frame.
        multiple: the coarsest stride of the network.
        align_corners: round the sides to `multiple * k + 1`, else to `multiple * k`.
        long_edge: shrink the frame first until its longer side is at most this.

    Returns:
        The geometry; nothing is padded, the frame is stretched by less than half a stride.

    Source: the official AOT evaluation (MultiRestrictSize, MultiToTensor).
    """
    height, width = source
    scale = min(1.0, long_edge / max(height, width)) if long_edge else 1.0
    extra = int(align_corners)

    def nearest(side: int) -> int:
        scaled = int(side * scale)
        return max(1, round((scaled - extra) / multiple)) * multiple + extra

    prepared = (nearest(height), nearest(width))
    return Geometry(source, prepared, prepared, align_corners)


def resize(maps: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    """Resize (B, C, H, W) bilinearly; the tensor itself where it has that size already."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def resize_masks(masks: Tensor, size: Size) -> Tensor:
    """Resize masks (B, O, H, W) of any type to the nearest pixel, so that no new value appears."""
    if masks.shape[-2:] == size:
        return masks
    countable = masks if masks.is_floating_point() else masks.to(torch.uint8)
    return F.interpolate(countable, size=size, mode="nearest").to(masks.dtype)


def prepare(masks: Tensor, geometry: Geometry) -> Tensor:
    """Bring masks (B, O, H, W) from the source size to the prepared image, padding with 0.

    Masks that have the prepared size already are taken as they are.
    """
    if masks.shape[-2:] == geometry.prepared:
        return masks
    content = resize_masks(masks, geometry.content)
    (height, width), (top, left) = geometry.prepared, geometry.content
    return F.pad(content, (0, width - left, 0, height - top))


def restore(maps: Tensor, geometry: Geometry, size: Size | None = None) -> Tensor:
    """Bring decoded maps (B, C, h, w) of a prepared image to a size of the source frame.

    Args:
        maps: at any stride of the prepared image.
        geometry: of the frame.
        size: of the result; None for the source size.

    Returns:
        (B, C, *size).
    """
    size = size or geometry.source
    if size == geometry.prepared:
        return resize(maps, size, geometry.align_corners)
    if geometry.content != geometry.prepared:
        maps = resize(maps, geometry.prepared, geometry.align_corners)
        maps = maps[..., : geometry.content[0], : geometry.content[1]]
    return resize(maps, size, geometry.align_corners)
