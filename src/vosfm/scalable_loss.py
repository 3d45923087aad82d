"""What training minimises where a model is supervised at every depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vosfm.losses import ClipLoss, SegmentationLoss
from vosfm.types import Clip, Proposal


class ScalableLoss(ClipLoss):
    """The mean of the losses at depths 1 to n, of which that of depth k has weight alpha^(k-1).

    A proposal without shallower ones beside it, such as those of a model with one depth, has the
    loss that it would have alone.

    Args:
        loss: of one depth; None for `SegmentationLoss`.
        alpha: how much more a depth counts than the one before it; above 0.

    Raises:
        ValueError: if alpha is not above 0.

    Source: AOST, section 4 (scalable supervision); alpha is 2 in the released code.
    """

    def __init__(self, loss: ClipLoss | None = None, alpha: float = 2.0) -> None:
        super().__init__()
        if alpha <= 0:
            raise ValueError(f"alpha must be above 0, not {alpha}")
        self.loss = loss or SegmentationLoss()
        self.alpha = alpha

    def frame(
        self, proposal: Proposal, masks: Tensor, void: Tensor | None, progress: float
    ) -> Tensor:
        depths = (*proposal.auxiliary, proposal)
        return self._weighted([self.loss.frame(p, masks, void, progress) for p in depths])

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        shallower = max(len(proposal.auxiliary) for proposal in proposals)
        clips = [
            [p.auxiliary[index] if p.auxiliary else p for p in proposals]
            for index in range(shallower)
        ]
        return self._weighted([self.loss(each, clip, progress) for each in (*clips, proposals)])

    def _weighted(self, losses: list[Tensor]) -> Tensor:
        """The mean of the losses of the depths, the shallowest first."""
        weights = [self.alpha**index for index in range(len(losses))]
        weighted = [weight * loss for weight, loss in zip(weights, losses, strict=True)]
        return torch.stack(weighted).sum(0) / sum(weights)
