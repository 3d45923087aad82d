"""Maps of single objects, of the embedding and a mask that comes as soft as it was decoded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from vosfm.layers import check_chunk
from vosfm.mask_encoders.mask_encoder import MaskEncoder
from vosfm.ops.resizing import resize
from vosfm.types import Encoding, Features, Objects

_STRIDE = 16


class MemoryEncoder(MaskEncoder):
    """Adds a mask, brought down to stride 16, to the embedding, and mixes them.

    Objects know nothing of each other. What depends on the image alone is computed once. Void
    pixels belong to nobody.

    Args:
        embedding: channels of the encoder's embedding, and inside.
        width: channels of the encoding.
        scale: masks enter as `scale * probability + bias`.
        bias: see `scale`.
        layers: number of blocks.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if chunk is not positive.

    Source: SAM 2, section 4 (memory encoder), and the released code.
    """

    soft = True
    independent = True

    def __init__(
        self,
        embedding: int = 256,
        width: int = 64,
        scale: float = 20.0,
        bias: float = -10.0,
        layers: int = 2,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        check_chunk(chunk)
        self.width = width
        self.scale = scale
        self.bias = bias
        self.chunk = chunk
        steps: list[nn.Module] = []
        channels = 1
        for _ in range(_STRIDE.bit_length() - 1):
            # Halving the sides and quadrupling the channels keeps the numbers of a mask.
            steps += [
                nn.Conv2d(channels, 4 * channels, 3, 2, 1),
                LayerNorm2d(4 * channels),
                nn.GELU(),
            ]
            channels *= 4
        self.downsample = nn.Sequential(*steps, nn.Conv2d(channels, embedding, 1))
        self.enter = nn.Conv2d(embedding, embedding, 1)
        self.blocks = nn.Sequential(*(MixingBlock(embedding) for _ in range(layers)))
        self.exit = nn.Conv2d(embedding, width, 1)

    def forward(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None = None
    ) -> Encoding:
        embedding, count = features.embedding, objects.count
        size = (embedding.shape[-2], embedding.shape[-1])
        if not count:
            return Encoding(embedding.new_zeros(len(embedding), 0, self.width, *size))
        entered = self.enter(embedding).unsqueeze(1)
        parts = []
        for some in masks.split(self.chunk or count, 1):
            known = some.to(embedding.dtype)
            if void is not None:
                known = known * ~void[:, None]
            planes = (known * self.scale + self.bias).flatten(0, 1).unsqueeze(1)
            small = resize(self.downsample(planes), size, features.geometry.align_corners)
            mixed = self.blocks((entered + small.unflatten(0, some.shape[:2])).flatten(0, 1))
            parts.append(self.exit(mixed).unflatten(0, some.shape[:2]))
        return Encoding(parts[0] if len(parts) == 1 else torch.cat(parts, 1))


class MixingBlock(nn.Module):
    """Mix neighbours in each channel, then the channels of each token; a scaled residual.

    Args:
        width: channels.

    Source: ConvNeXt, Figure 4, as the fuser of SAM 2's memory encoder.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, maps: Tensor) -> Tensor:
        """Mix (n, width, h, w)."""
        tokens = self.norm(self.depthwise(maps)).permute(0, 2, 3, 1)
        mixed = self.contract(F.gelu(self.expand(tokens)))
        return maps + (self.gamma * mixed).permute(0, 3, 1, 2)
