"""A map per object, of the image with its mask drawn on it."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vosfm.layers import FeatureFusion, check_chunk
from vosfm.mask_encoders.mask_encoder import MaskEncoder
from vosfm.ops.resizing import resize
from vosfm.types import Encoding, Features, Objects

PLANES = 2
"""What an object adds to the image: its own mask, and the sum of the others'."""


class ValueEncoder(MaskEncoder):
    """Shows a network the image, an object's mask and the others', and fuses in the embedding.

    Masks are taken as probabilities, and gradients flow through them. Objects that are not alive
    and void pixels are 0. What depends on the image alone is computed once.

    Args:
        channels: of the network's maps.
        embedding: channels of the encoder's embedding.
        width: channels of the encoding.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if chunk is not positive.

    Source: STCN and XMem, the value encoder.
    """

    soft = True

    def __init__(self, channels: int, embedding: int, width: int, chunk: int | None = None) -> None:
        super().__init__()
        check_chunk(chunk)
        self.width = width
        self.chunk = chunk
        self.fuse = FeatureFusion(embedding, channels, width, width)

    @abstractmethod
    def share(self, features: Features) -> Tensor:
        """What the image adds to the network's first convolution: (B, C, h, w)."""

    @abstractmethod
    def network(self, share: Tensor, planes: Tensor) -> Tensor:
        """Look at objects.

        Args:
            share: of the image.
            planes: (B, R, 2, H, W) in [0, 1], an object's own mask and the sum of the others'.

        Returns:
            (B, R, channels, h, w).
        """

    def forward(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None = None
    ) -> Encoding:
        embedding, count = features.embedding, objects.count
        size = (embedding.shape[-2], embedding.shape[-1])
        if not count:
            return Encoding(embedding.new_zeros(embedding.shape[0], 0, self.width, *size))
        masks = _visible(masks, objects, void)
        share, embedded = self.share(features), self.fuse.share(embedding)
        everybody = masks.sum(1, keepdim=True)
        parts = []
        for own in masks.split(self.chunk or count, 1):
            others = (everybody - own).clamp(0, 1)
            maps = self.network(share, torch.stack((own, others), 2).to(features.image.dtype))
            maps = resize(maps.flatten(0, 1), size, features.geometry.align_corners)
            parts.append(self.fuse.complete(embedded, maps.unflatten(0, own.shape[:2])))
        return Encoding(parts[0] if len(parts) == 1 else torch.cat(parts, 1))


def _visible(masks: Tensor, objects: Objects, void: Tensor | None) -> Tensor:
    """(B, O, H, W) float32, 0 where nobody knows or there is nobody."""
    masks = masks.float()
    if void is not None:
        masks = masks * ~void[:, None]
    if not bool(objects.alive.all()):
        masks = masks * objects.alive.to(masks.device)[..., None, None]
    return masks


def with_planes(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution of an image, made to see an object's planes beside it.

    The weights for the image stay; those for the planes are orthogonal, as XMem and MMPM have it.
    """
    wide = nn.Conv2d(
        conv.in_channels + PLANES,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
        bias=conv.bias is not None,
    )
    planes = conv.weight.new_empty(conv.out_channels, PLANES, *conv.kernel_size)
    with torch.no_grad():
        wide.weight.copy_(torch.cat((conv.weight, nn.init.orthogonal_(planes)), 1))
        if wide.bias is not None and conv.bias is not None:
            wide.bias.copy_(conv.bias)
    return wide
