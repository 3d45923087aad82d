"""What training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.ops.resizing import restore
from vosfm.types import Clip, Proposal

IGNORE = 255
"""The class index of pixels without a truth."""

_ABSENT = -1e10  # logit of classes that a sample does not have


def bootstrapped_cross_entropy(logits: Tensor, target: Tensor, share: float) -> Tensor:
    """Cross entropy over the hardest pixels of each sample.

    Args:
        logits: (B, C, H, W).
        target: (B, H, W) int64 classes; ignored pixels (255) have loss 0 but are counted.
        share: of the pixels that enter the mean, in (0, 1].

    Returns:
        (B,) losses.

    Source: AOT, section 4.5 (bootstrapped cross entropy).
    """
    losses = F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE).flatten(1)
    return losses.topk(max(1, int(share * losses.shape[1])), 1, sorted=False).values.mean(1)


def soft_jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft intersection over union, averaged over the classes that are present.

    Args:
        logits: (B, C, H, W).
        target: (B, H, W) int64 classes; ignored pixels (255) are left out.

    Returns:
        (B,) losses in [0, 1].

    Source: AOT, section 4.5 (soft Jaccard loss).
    """
    known = target != IGNORE
    truth = F.one_hot(target.masked_fill(~known, 0), logits.shape[1]).movedim(-1, 1)
    truth = (truth * known[:, None]).flatten(2).to(logits.dtype)
    shares = (logits.softmax(1) * known[:, None]).flatten(2)
    both = (truth * shares).sum(2)
    either = (truth + shares).sum(2) - both
    present = truth.any(2)
    losses = (1 - both / (either + 1e-6)) * present
    return losses.sum(1) / present.sum(1).clamp(min=1)


class SegmentationLoss(nn.Module):
    """Half bootstrapped cross entropy, half soft Jaccard, over the frames of a clip.

    The frame whose masks were given counts too, with a weight that fades from 1 to 0 over the
    training: what the model makes of a frame that is its own memory.

    Args:
        hardest: share of the pixels that the cross entropy keeps in the end.
        settled: share of the training after which it is reached, falling linearly from 1.

    Source: AOT, section 4.5; the fading auxiliary loss of the released code.
    """

    def __init__(self, hardest: float = 0.15, settled: float = 0.5) -> None:
        super().__init__()
        self.hardest = hardest
        self.settled = settled

    def share(self, progress: float) -> float:
        """Share of the pixels at a point of the training, progress in [0, 1]."""
        done = min(1.0, progress / self.settled) if self.settled else 1.0
        return done * self.hardest + 1 - done

    def frame(self, proposal: Proposal, masks: Tensor, void: Tensor | None, share: float) -> Tensor:
        """Losses of one frame.

        Args:
            proposal: of the frame.
            masks: (B, O, H, W) bool, the truth at the source size.
            void: (B, H, W) bool, pixels without a truth; or None.
            share: of the pixels that the cross entropy keeps.

        Returns:
            (B,) losses, averaged over identity groups.
        """
        groups = classes(proposal, masks, void)
        losses = [
            0.5 * bootstrapped_cross_entropy(logits, target, share)
            + 0.5 * soft_jaccard(logits, target)
            for logits, target in groups
        ]
        return torch.stack(losses).mean(0)

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        """The loss of a clip.

        Args:
            proposals: T of them, as `Segmenter.forward` gives them.
            clip: the truth.
            progress: of the training, in [0, 1].

        Returns:
            A scalar.
        """
        share = self.share(progress)
        losses = torch.stack(
            [
                self.frame(
                    proposal,
                    clip.masks[:, t],
                    None if clip.void is None else clip.void[:, t],
                    share,
                )
                for t, proposal in enumerate(proposals)
            ]
        )
        given = losses[0].mean()
        if len(proposals) == 1:
            return given
        return losses[1:].mean() + (1 - progress) * given


def classes(proposal: Proposal, masks: Tensor, void: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """A proposal and its truth as one classification per identity group.

    Args:
        proposal: of a frame, with a learned background.
        masks: (B, O, H, W) bool, the truth at the source size.
        void: (B, H, W) bool, or None.

    Returns:
        For each group: logits (B, 1 + members, H, W), background first, and classes (B, H, W).

    Raises:
        ValueError: if the model learns no background.
    """
    if proposal.background is None:
        raise ValueError("a model without a learned background has no classes to compare")
    objects = proposal.objects
    logits = restore(proposal.logits[:, :, 0], proposal.geometry)
    background = restore(proposal.background[:, :, 0], proposal.geometry)
    result = []
    for g in range(background.shape[1]):
        columns, inside = objects.members(g)
        inside = (inside & objects.alive[:, columns]).to(logits.device)[..., None, None]
        member_logits = logits[:, columns].masked_fill(~inside, _ABSENT)
        member_masks = masks[:, columns] & inside
        numbers = torch.arange(1, inside.shape[1] + 1, device=masks.device)[:, None, None]
        target = (member_masks * numbers).amax(1) if inside.shape[1] else masks[:, 0].long() * 0
        if void is not None:
            target = target.masked_fill(void, IGNORE)
        result.append((torch.cat((background[:, g : g + 1], member_logits), 1), target))
    return result
