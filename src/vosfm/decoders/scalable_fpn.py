"""A feature pyramid that takes the readout of any depth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vosfm.decoders.fpn import FPN, ConvNorm

Entering = Literal["all", "last"]
"""What enters a `ScalableFPN`."""


class ScalableFPN(FPN):
    """An FPN with an entrance for each depth, that shares everything behind it.

    The released tracker lets identities that nobody has compete for pixels, and win some. To do as
    it does, expect objects that never come: `segmenter.start(size, object_ids=list(range(1, 11)))`
    and masks of fewer.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the deepest readout; one of n maps enters by the n-th
            entrance.
        skips: channels of the pyramid at each stride, coarsest last.
        width: channels at stride 16; half of it at strides 8 and 4.
        identities: objects per group.
        entering: "all", the embedding and every map of the readout; "last", the last map alone
            (AOST with shared layers).

    Raises:
        ValueError: if `entering` is neither.

    Source: AOST, section 4; the layout of the released code.
    """

    def __init__(
        self,
        embedding: int = 256,
        readouts: tuple[int, ...] = (256, 256, 256),
        skips: tuple[int, int, int] = (24, 32, 96),
        width: int = 256,
        identities: int = 10,
        entering: Entering = "all",
    ) -> None:
        if entering not in ("all", "last"):
            raise ValueError(f"entering must be all or last, not {entering!r}")
        super().__init__(embedding, readouts, skips, width, identities)
        self.depths = tuple(range(1, len(readouts) + 1))
        self.entering = entering
        self.enter = nn.ModuleList()
        for depth in self.depths:
            channels = (
                sum(readouts[:depth]) + embedding if entering == "all" else readouts[depth - 1]
            )
            entrance = ConvNorm(channels, width, 1)
            nn.init.xavier_uniform_(entrance.conv.weight)
            self.enter.append(entrance)

    def _enter(self, embedding: Tensor, seen: list[Tensor]) -> Tensor:
        assert isinstance(self.enter, nn.ModuleList)
        entering = torch.cat((embedding, *seen), 1) if self.entering == "all" else seen[-1]
        joined: Tensor = self.enter[len(seen) - 1](entering)
        return joined
