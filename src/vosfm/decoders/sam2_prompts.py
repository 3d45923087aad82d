"""Points, boxes and masks as SAM's decoder takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from vosfm.ops.resizing import pad, to_prepared
from vosfm.types import Box, Decoded, Features, Geometry, Points, Size

OUTSIDE, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""Labels of points; those outside of the image only fill up."""


class PromptEncoder(nn.Module):
    """Embeds points by their place and label, boxes by two corners, masks by convolutions.

    Args:
        width: channels of the embeddings, even.
        hidden: channels of the masks before the last convolution, a multiple of 4.

    Source: Segment Anything, appendix A, "prompt encoder"; SAM 2 as released.
    """

    gaussian: Tensor

    def __init__(self, width: int = 256, hidden: int = 16) -> None:
        super().__init__()
        self.register_buffer("gaussian", torch.randn(2, width // 2))
        self.points = nn.Parameter(torch.randn(4, width))
        self.outside = nn.Parameter(torch.randn(width))
        self.downsample = nn.Sequential(
            nn.Conv2d(1, hidden // 4, 2, 2),
            LayerNorm2d(hidden // 4),
            nn.GELU(),
            nn.Conv2d(hidden // 4, hidden, 2, 2),
            LayerNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, width, 1),
        )
        self.no_mask = nn.Parameter(torch.randn(width))

    def positions(self, xy: Tensor) -> Tensor:
        """Embed places (..., 2), x and y in [0, 1] of the image: (..., width) in [-1, 1]."""
        with torch.autocast(xy.device.type, enabled=False):  # bfloat16 blurs positions
            angles = 2 * math.pi * ((2 * xy.float() - 1) @ self.gaussian.float())
            return torch.cat((angles.sin(), angles.cos()), -1)

    def grid(self, size: Size) -> Tensor:
        """Embed the tokens of a map: (h, w, width)."""
        rows, columns = (
            (torch.arange(side, device=self.gaussian.device) + 0.5) / side for side in size
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return self.positions(torch.stack((x, y), -1))

    def embed_points(self, xy: Tensor, labels: Tensor, size: Size) -> Tensor:
        """Embed points.

        Args:
            xy: (..., P, 2), x and y in pixels of an image, 0 at the centre of the first.
            labels: (..., P) int, -1 to 3.
            size: (H, W) of the image.

        Returns:
            (..., P, width).
        """
        height, width = size
        places = self.positions((xy + 0.5) / xy.new_tensor((width, height)))
        known = places + self.points[labels.clamp(min=0)]
        return torch.where((labels == OUTSIDE)[..., None], self.outside, known)

    def embed_masks(self, logits: Tensor) -> Tensor:
        """Embed logits (B, O, 4h, 4w) of masks: (B, O, width, h, w)."""
        return self.downsample(logits.flatten(0, 1).unsqueeze(1)).unflatten(0, logits.shape[:2])

    def embed_drawn(self, drawn: Sequence[Box | Points], geometry: Geometry) -> Tensor:
        """Embed boxes and points of O objects, P of each: (1, O, P + 1, width), one fills up."""
        given, device = [as_points(one) for one in drawn], self.points.device
        xy = torch.tensor([[*places, (0.0, 0.0)] for places, _ in given], device=device)
        labels = torch.tensor([[*labels, OUTSIDE] for _, labels in given], device=device)
        return self.embed_points(to_prepared(xy, geometry), labels, geometry.prepared)[None]

    def without_points(self, batch: int, count: int) -> Tensor:
        """The embedding (B, O, 2, width) of no points: one in their place, and one that fills up.

        The released models were trained with both.
        """
        return self.outside.expand(batch, count, 2, -1)

    def without_masks(self, batch: int, count: int) -> Tensor:
        """The embedding (B, O, width, 1, 1) of no masks."""
        return self.no_mask[:, None, None].expand(batch, count, -1, -1, -1)


def as_points(drawn: Box | Points) -> tuple[tuple[tuple[float, float], ...], tuple[int, ...]]:
    """Places (x, y) and labels of what was drawn; those of a box are its corners, and first."""
    if isinstance(drawn, Box):
        return ((drawn.x0, drawn.y0), (drawn.x1, drawn.y1)), (TOP_LEFT, BOTTOM_RIGHT)
    if drawn.box is None:
        return drawn.xy, drawn.labels
    corners, labels = as_points(drawn.box)
    return (*corners, *drawn.xy), (*labels, *drawn.labels)


def nothing(features: Features, count: int, width: int) -> Decoded:
    """Three candidates for each of `count` objects of which nothing is said yet, all 0."""
    batch, _, rows, columns = features.embedding.shape

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(batch, count, *shape, device=features.embedding.device)

    return Decoded(
        zeros(3, 4 * rows, 4 * columns),
        scores=zeros(3),
        presence=zeros(),
        candidates={"pointer": zeros(3, width)},
    )


def best_of(decoded: Decoded, columns: list[int]) -> Tensor:
    """Logits (B, O, h, w) of the best candidates of some objects."""
    assert decoded.scores is not None
    best = decoded.scores[:, columns].argmax(2)[..., None, None, None]
    return decoded.logits[:, columns].take_along_dim(best, 2)[:, :, 0]


def smooth(maps: Tensor, size: Size) -> Tensor:
    """Resize maps (B, O, H, W) bilinearly, averaged where they shrink."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", antialias=True)


def prepare_masks(masks: Tensor, geometry: Geometry) -> Tensor:
    """Masks (B, O, H, W) bool in the prepared image, 0.0 or 1.0."""
    masks = masks.float()
    if masks.shape[-2:] == geometry.prepared:
        return masks
    return pad((smooth(masks, geometry.content) >= 0.5).float(), geometry)


def overlay(base: Decoded, columns: list[int], some: Decoded, taken: Tensor) -> Decoded:
    """What was decoded of all objects, with something else for those of the columns.

    Args:
        base: of all objects.
        columns: of those that change.
        some: of those of the columns.
        taken: (B, columns) bool, which of them; others stay.
    """
    index = torch.tensor(columns, device=base.logits.device)
    taken = taken.to(base.logits.device)

    def lay(old: Tensor, new: Tensor) -> Tensor:
        which = taken[(...,) + (None,) * (old.dim() - 2)]
        kept = torch.where(which, new.to(old.dtype), old.index_select(1, index))
        return old.index_copy(1, index, kept)

    assert base.scores is not None
    assert base.presence is not None
    assert some.scores is not None
    assert some.presence is not None
    return replace(
        base,
        logits=lay(base.logits, some.logits),
        scores=lay(base.scores, some.scores),
        presence=lay(base.presence, some.presence),
        candidates={
            name: lay(leaf, some.candidates[name]) for name, leaf in base.candidates.items()
        },
    )
