"""From stride 16 to 4 for every object by itself, with the image's skips."""

from __future__ import annotations

from torch import Tensor, nn

from vosfm.decoders.per_object import PerObject
from vosfm.layers import ResidualBlock
from vosfm.ops.resizing import resize
from vosfm.types import Features


class Upsampling(PerObject):
    """Fuses the readout with the embedding and climbs to stride 4; skips join at 8 and 4.

    Where there is a hidden state, what was seen at strides 16, 8 and 4 and the logits move it on.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout, the hidden state last.
        skips: channels of the pyramid at strides 4 and 8.
        width: channels at stride 16; half of it at strides 8 and 4.
        hidden: channels of the hidden state; None where there is none, and all maps of the
            readout are of the memory (STCN).
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if the hidden state is not the last map of the readout, or chunk is not
            positive; in forward, if the readout has other maps.

    Source: XMem, section 3.5 (decoder), the layout of the released code; STCN without the state.
    """

    stride = 4

    def __init__(
        self,
        embedding: int = 1024,
        readouts: tuple[int, ...] = (512, 64),
        skips: tuple[int, int] = (256, 512),
        width: int = 512,
        hidden: int | None = 64,
        chunk: int | None = None,
    ) -> None:
        half = width // 2
        super().__init__(embedding, readouts, width, (width, half, half), hidden, chunk)
        self.skips = dict(zip((4, 8), skips, strict=True))
        self.skip8 = nn.Conv2d(skips[1], width, 3, padding=1)
        self.skip4 = nn.Conv2d(skips[0], half, 3, padding=1)
        self.refine8 = ResidualBlock(width, half)
        self.refine4 = ResidualBlock(half, half)

    def share(self, features: Features) -> tuple[Tensor, ...]:
        return self.skip8(features.pyramid[8]), self.skip4(features.pyramid[4])

    def decode(
        self, fused: Tensor, shared: tuple[Tensor, ...], align_corners: bool
    ) -> tuple[Tensor, ...]:
        scales = [fused]
        for skip, refine in zip(shared, (self.refine8, self.refine4), strict=True):
            size = (skip.shape[-2], skip.shape[-1])
            maps = resize(scales[-1].flatten(0, 1), size, align_corners)
            maps = maps.unflatten(0, fused.shape[:2]) + skip.unsqueeze(1)
            scales.append(refine(maps.flatten(0, 1)).unflatten(0, fused.shape[:2]))
        return tuple(scales)
