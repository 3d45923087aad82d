"""What training minimises where a model proposes several masks and scores them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm.losses import ClipLoss, contests, dice_of_masks
from vosfm.ops.resizing import restore
from vosfm.types import Clip, Proposal


def focal_loss(odds: Tensor, truth: Tensor, known: Tensor, gamma: float, alpha: float) -> Tensor:
    """Cross entropy of each mask, in which pixels count less the surer they are right.

    Args:
        odds: (..., H, W), logits of being inside; however large, gradients stay finite.
        truth: (..., H, W) bool, or of a shape that expands to that of the odds.
        known: likewise, the pixels that the mean is taken over.
        gamma: at least 0; the loss of a pixel of probability p is weighted by (1 - p)^gamma.
        alpha: weight of the pixels inside, in [0, 1]; those outside have 1 - alpha.

    Returns:
        (...) losses; 0 where no pixel is known.

    Source: Focal Loss for Dense Object Detection, Eq. 5.
    """
    signed = torch.where(truth, odds, -odds)
    # (1 - p)^gamma as an exponential: a power has no finite derivative at 0 where gamma is below 1.
    losses = F.softplus(-signed) * (-gamma * F.softplus(signed)).exp()
    losses = losses * torch.where(truth, alpha, 1 - alpha) * known
    return losses.flatten(-2).sum(-1) / known.flatten(-2).sum(-1).clamp(min=1)


def intersection_over_union(masks: Tensor, truth: Tensor) -> Tensor:
    """(...) shares in [0, 1] of masks and truth (..., H, W), both bool; 0 where both are empty."""
    both = (masks & truth).flatten(-2).sum(-1)
    either = (masks | truth).flatten(-2).sum(-1)
    return both / either.clamp(min=1)


class CandidateLoss(ClipLoss):
    """Focal and Dice loss of the best candidate, and how well quality and presence are told.

    The candidate whose mask has the lowest loss is trained alone, while the qualities of all are
    compared with the true intersections over union. Where a model tells whether an object is in the
    frame, nothing else is learned from frames that it is not in; where it does not, its masks are
    to be empty there. Every object is judged by itself, against all that it is not, and counts as
    much as any other of its sample. The given frame says nothing.

    Args:
        focal: weight of the focal loss, a mean over pixels.
        dice: weight of the Dice loss.
        quality: weight of the absolute error of the scores, a mean over candidates; of no effect
            without scores.
        presence: weight of the cross entropy of the presence; of no effect without it.
        gamma: see `focal_loss`.
        alpha: see `focal_loss`.

    Raises:
        ValueError: if a weight or gamma is negative, or alpha out of range.

    Source: SAM 2, appendix D.2, and the released fine-tuning; there, all objects of a batch count
        alike, and the frames of a clip are summed.
    """

    def __init__(
        self,
        focal: float = 20.0,
        dice: float = 1.0,
        quality: float = 1.0,
        presence: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 0.25,
    ) -> None:
        super().__init__()
        for name, value in (
            ("focal", focal),
            ("dice", dice),
            ("quality", quality),
            ("presence", presence),
            ("gamma", gamma),
        ):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, as {value} is")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], not {alpha}")
        self.focal = focal
        self.dice = dice
        self.quality = quality
        self.presence = presence
        self.gamma = gamma
        self.alpha = alpha

    def frame(
        self, proposal: Proposal, masks: Tensor, void: Tensor | None, progress: float
    ) -> Tensor:
        """Losses of one frame, means over the objects of a sample; `progress` changes nothing."""
        odds = _odds(proposal, masks)  # (B, O, K, H, W)
        known = torch.ones_like(odds[:, :1, :1], dtype=torch.bool)
        if void is not None:
            known = ~void[:, None, None]
        truth = masks[:, :, None] & known
        shares = odds.sigmoid() * known
        wrong = self.focal * focal_loss(odds, truth, known, self.gamma, self.alpha)
        wrong = wrong + self.dice * dice_of_masks(shares, truth)
        losses = wrong.min(2).values
        if proposal.scores is not None:
            actual = intersection_over_union((odds > 0) & known, truth)
            losses = losses + self.quality * (proposal.scores.float() - actual).abs().mean(2)
        alive = proposal.objects.alive.to(losses.device)
        if proposal.presence is not None:
            there = truth.flatten(2).any(2).float()
            told = F.binary_cross_entropy_with_logits(
                proposal.presence.float(), there, reduction="none"
            )
            losses = losses * there + self.presence * told
        return (losses * alive).sum(1) / alive.sum(1).clamp(min=1)

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        return self.later(proposals, clip, progress).mean()


def _odds(proposal: Proposal, masks: Tensor) -> Tensor:
    """(B, O, K, H, W) logits of each object against all that it is not, at the source size.

    Objects that were seen one by one have them. In a group they compete with its background and
    with each other.
    """
    count = proposal.logits.shape[1:3]
    if proposal.background is None:
        restored = restore(proposal.logits.flatten(1, 2).float(), proposal.geometry)
        return restored.unflatten(1, count)
    odds = torch.zeros(masks.shape[0], *count, *masks.shape[2:], device=masks.device)
    for k in range(count[1]):
        for contest in contests(proposal, masks, None, k):
            logits = contest.logits.float()
            for n, column in enumerate(contest.columns, 1):
                others = torch.cat((logits[:, :n], logits[:, n + 1 :]), 1).logsumexp(1)
                member = contest.members[:, n - 1, None, None]
                odds[:, column, k] += (logits[:, n] - others) * member
    return odds
