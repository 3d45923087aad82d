"""Linear layers with a ReLU between each two."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.ModuleList):
    """A perceptron; its layers are its items.

    Args:
        widths: channels that enter, those in between, and those that leave.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))

    def forward(self, tokens: Tensor) -> Tensor:
        """From (..., widths[0]) to (..., widths[-1])."""
        first, *others = self
        tokens = first(tokens)
        for layer in others:
            tokens = layer(F.relu(tokens))
        return tokens
