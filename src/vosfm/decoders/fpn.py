"""A feature pyramid that climbs from stride 16 to 4."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.decoders.decoder import Decoder
from vosfm.ops.resizing import resize
from vosfm.types import Decoded, Features, Objects, Readout


class FPN(Decoder):
    """Reads the embedding and every map of the readout; skips join at strides 16, 8 and 4.

    What depends on the image alone is computed once and shared by all identity groups.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout.
        skips: channels of the pyramid at each stride, coarsest last.
        width: channels at stride 16; half of it at strides 8 and 4.
        identities: objects per group.

    Source: AOT, section 4.4; the layout of the released code.
    """

    def __init__(
        self,
        embedding: int = 256,
        readouts: tuple[int, ...] = (256, 256, 256),
        skips: tuple[int, int, int] = (24, 32, 96),
        width: int = 256,
        identities: int = 10,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.readouts = tuple(readouts)
        self.skips = dict(zip((4, 8, 16), skips, strict=True))
        self.stride = 4
        self.identities = identities
        half = width // 2
        self.enter: nn.Module = ConvNorm(embedding + sum(readouts), width, 1)
        self.skip4 = nn.Conv2d(skips[0], half, 1)
        self.skip8 = nn.Conv2d(skips[1], width, 1)
        self.skip16 = nn.Conv2d(skips[2], width, 1)
        self.refine16 = ConvNorm(width, width, 3)
        self.refine8 = ConvNorm(width, half, 3)
        self.refine4 = ConvNorm(half, half, 3)
        self.exit = nn.Conv2d(half, identities + 1, 1)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        batch, rows = readout.maps[-1].shape[:2]

        def per_row(maps: Tensor) -> Tensor:
            """(B, C, h, w) of the image -> (B*R, C, h, w)."""
            return maps.unsqueeze(1).expand(-1, rows, -1, -1, -1).flatten(0, 1)

        corners = features.geometry.align_corners
        pyramid = features.pyramid
        seen = [m.expand(-1, rows, -1, -1, -1).flatten(0, 1) for m in readout.maps]
        maps = self._enter(per_row(features.embedding), seen)
        maps = self.refine16(maps + per_row(self.skip16(pyramid[16])))
        for stride, skip, refine in (
            (8, self.skip8, self.refine8),
            (4, self.skip4, self.refine4),
        ):
            level = pyramid[stride]
            size = (level.shape[-2], level.shape[-1])
            maps = refine(resize(maps, size, corners) + per_row(skip(level)))
        channels = self.exit(maps).unflatten(0, (batch, rows))  # (B, G, 1 + n, h, w)
        background, foreground = channels[:, :, :1], channels[:, :, 1:].flatten(1, 2)
        slot = objects.slot.to(foreground.device)[..., None, None]
        logits = foreground.gather(1, slot.expand(-1, -1, *foreground.shape[2:]))
        return Decoded(logits.unsqueeze(2), background)

    def _enter(self, embedding: Tensor, seen: list[Tensor]) -> Tensor:
        """Join the embedding and the maps of the readout, (B*R, C, h, w) each."""
        joined: Tensor = self.enter(torch.cat((embedding, *seen), 1))
        return joined


class ConvNorm(nn.Module):
    """Convolution, group normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(maps)))
