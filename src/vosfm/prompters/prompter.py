"""What every prompter promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from vosfm.encoders import Encoder
from vosfm.types import Box, Features, Points


class Prompter(nn.Module, ABC):
    """Turns boxes and points into masks, of one frame and without any memory.

    Attributes:
        encoder: whose features it reads; None for those of the model that it is a part of.
    """

    encoder: Encoder | None

    @abstractmethod
    def forward(self, features: Features, given: Sequence[Box | Points]) -> Tensor:
        """Find what is meant.

        Args:
            features: of one frame, made by `encoder`, or by the model's where that is None.
            given: a box or points for each object, in pixels of the source frame.

        Returns:
            (P, H, W) logits at the source size, one mask for each of what is given; above 0
            inside.

        Raises:
            InputError: if the features are not of the kind that it was made for.
        """
