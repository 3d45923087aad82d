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
        candidates: K, how many masks it can tell for the same points; with `every` if more than
            one.
    """

    encoder: Encoder | None
    candidates: int = 1

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

    def every(self, features: Features, points: Tensor) -> tuple[Tensor, Tensor]:
        """Find all that may be meant by points, for many prompts at once.

        Args:
            features: as of `forward`.
            points: (Q, P, 2), x and y in pixels of the source frame: Q prompts of P points, all
                inside of what is meant.

        Returns:
            Logits (Q, K, h, w) as they are decoded, of the whole prepared image and at any stride
            of it; and (Q, K), how good it takes each mask to be: the IoU it expects, about [0, 1].

        Raises:
            InputError: if the features are not of the kind that it was made for.
        """
        raise NotImplementedError(f"{type(self).__name__} tells one mask of what is given")
