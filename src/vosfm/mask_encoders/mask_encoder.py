"""What every mask encoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vosfm.types import Encoding, Features, Objects


class MaskEncoder(nn.Module, ABC):
    """Turns the masks of a frame into maps, one per row.

    Attributes:
        width: channels of the encoding.
        identities: how many objects share one row; None where every object has a row of its own.
        soft: whether it encodes probabilities, and lets gradients through to them; otherwise every
            pixel is somebody's or nobody's.
        independent: whether the mask of an object enters as it was decoded, before objects compete
            for pixels.
    """

    width: int
    identities: int | None = None
    soft: bool = False
    independent: bool = False

    @abstractmethod
    def forward(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None = None
    ) -> Encoding:
        """Encode masks.

        Args:
            features: of the same frame.
            masks: (B, O, H, W) at the prepared size, probabilities in [0, 1] or bool.
            objects: whose masks they are.
            void: (B, H, W) bool, pixels without a truth; or None.

        Returns:
            The encoding, (B, R, C, h, w).
        """
