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


def enclose(source: Size, multiple: int, short_edge: int | None = None) -> Geometry:
    """Choose the size at which a network sees a frame that is padded on all sides.

    Args:
        source: (H, W) of the frame.
        multiple: the coarsest stride of the network; the sides become multiples of it.
        short_edge: shrink the frame first until its shorter side is at most this.

    Returns:
        The geometry; the frame lies in the middle.

    Source: the official XMem evaluation (pad_divide_by).
    """
    scale = min(1.0, short_edge / min(source)) if short_edge else 1.0
    height, width = (max(1, round(side * scale)) for side in source)
    tall, wide = (-(-side // multiple) * multiple for side in (height, width))
    offset = ((tall - height) // 2, (wide - width) // 2)
    return Geometry(source, (height, width), (tall, wide), offset=offset)


def resize(maps: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    """Resize (B, C, H, W) bilinearly; the tensor itself where it has that size already."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(show_layout(maps), size=size, mode="bilinear", align_corners=align_corners)


def shrink(maps: Tensor, size: Size) -> Tensor:
    """Average (B, C, H, W) to a smaller size; the tensor itself where it has that size already."""
    if maps.shape[-2:] == size:
        return maps
    return F.adaptive_avg_pool2d(show_layout(maps), size)


def show_layout(maps: Tensor) -> Tensor:
    """The same maps (B, C, H, W), with strides that tell operators how they are laid out.

    A batch of one that is a view may have a stride that hides that its pixels lie one by one:
    operators then rearrange them.
    """
    if maps.shape[0] != 1 or not maps.is_contiguous(memory_format=torch.channels_last):
        return maps
    return maps[0].permute(1, 2, 0)[None].permute(0, 3, 1, 2)


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
    return pad(resize_masks(masks, geometry.content), geometry)


def pad(maps: Tensor, geometry: Geometry) -> Tensor:
    """Lay maps (B, C, *content) into the prepared image, 0 around them."""
    (top, left), (height, width) = geometry.offset, geometry.content
    below, right = geometry.prepared[0] - top - height, geometry.prepared[1] - left - width
    return F.pad(maps, (left, right, top, below))


def to_prepared(xy: Tensor, geometry: Geometry) -> Tensor:
    """Bring places (..., 2), x and y in pixels of the source frame, to the prepared image."""
    (tall, wide), (height, width) = geometry.source, geometry.content
    top, left = geometry.offset
    return xy * xy.new_tensor((width / wide, height / tall)) + xy.new_tensor((left, top))


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
        (top, left), (height, width) = geometry.offset, geometry.content
        maps = maps[..., top : top + height, left : left + width]
    return resize(maps, size, geometry.align_corners)
