"""Logits at the stride of the embedding, for every object by itself."""

from __future__ import annotations

from torch import Tensor

from vosfm.decoders.per_object import PerObject
from vosfm.types import Features


class SingleScale(PerObject):
    """Fuses the readout with the embedding and predicts logits from that, at stride 16.

    Where there is a hidden state, the fused map and the logits move it on.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout, the hidden state last.
        width: channels of the fused map.
        hidden: channels of the hidden state; None where there is none, and all maps of the
            readout are of the memory.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if the hidden state is not the last map of the readout, or chunk is not
            positive; in forward, if the readout has other maps.

    Source: MMPM, as released; the paper draws a decoder with skips instead.
    """

    stride = 16

    def __init__(
        self,
        embedding: int = 256,
        readouts: tuple[int, ...] = (512, 64),
        width: int = 512,
        hidden: int | None = 64,
        chunk: int | None = None,
    ) -> None:
        super().__init__(embedding, readouts, width, (width,), hidden, chunk)

    def share(self, features: Features) -> tuple[Tensor, ...]:
        return ()

    def decode(
        self, fused: Tensor, shared: tuple[Tensor, ...], align_corners: bool
    ) -> tuple[Tensor, ...]:
        return (fused,)
