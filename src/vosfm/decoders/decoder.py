"""What every decoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vosfm.types import Features, Objects, Readout


class Decoder(nn.Module, ABC):
    """Turns a readout into mask logits.

    Attributes:
        stride: of the logits.
    """

    stride: int

    @abstractmethod
    def forward(
        self, features: Features, readout: Readout, objects: Objects
    ) -> tuple[Tensor, Tensor | None]:
        """Decode.

        Args:
            features: of the frame.
            readout: of the frame.
            objects: the objects spoken of.

        Returns:
            Logits (B, O, K, h, w), and those of the background of each identity group
            (B, G, K, h, w) where the model learns one.
        """
