"""What every decoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from vosfm.types import Decoded, Features, Objects, Readout


class Decoder(nn.Module, ABC):
    """Turns a readout into mask logits.

    Attributes:
        embedding: channels of the encoder's embedding that it takes.
        readouts: channels of each map of the readout that it takes.
        skips: stride -> channels, the levels of the encoder's pyramid that it takes.
        stride: of the logits.
        identities: how many objects of a row it tells apart; None if a row is one object.
        updates: whether it moves a hidden state on, `Decoded.carry["hidden"]`.
    """

    embedding: int
    readouts: tuple[int, ...]
    skips: Mapping[int, int]
    stride: int
    identities: int | None = None
    updates: bool = False

    @abstractmethod
    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        """Decode.

        Args:
            features: of the frame.
            readout: of the frame.
            objects: the objects spoken of.

        Returns:
            Logits (B, O, K, h, w), and what else the decoder knows.
        """
