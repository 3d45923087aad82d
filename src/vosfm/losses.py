"""What training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.ops.aggregation import log_odds
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

    Source: AOT, section 4.5 (bootstrapped cross entropy); STCN and XMem, the same.
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


def dice(shares: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each object, both of its terms raised by one pixel.

    Args:
        shares: (B, O, H, W), probabilities in [0, 1].
        target: (B, H, W) int64 classes, 0 the background and 1 + o object o; ignored pixels (255)
            are left out.

    Returns:
        (B, O) losses in [0, 1); 0 for an object that is nowhere and is seen nowhere.

    Source: the released STCN and XMem.
    """
    numbers = torch.arange(1, shares.shape[1] + 1, device=target.device)
    truth = target[:, None] == numbers[:, None, None]
    return dice_of_masks(shares * (target != IGNORE)[:, None], truth)


def dice_of_masks(shares: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each mask, both of its terms raised by one pixel.

    Args:
        shares: (..., H, W), probabilities in [0, 1]; 0 where there is no truth.
        truth: (..., H, W) bool, or of a shape that expands to that of the shares.

    Returns:
        (...) losses in [0, 1).

    Source: the released STCN and XMem; the released SAM 2, the same.
    """
    shares, truth = shares.flatten(-2), truth.flatten(-2)
    both = (shares * truth).sum(-1)
    return 1 - (2 * both + 1) / (shares.sum(-1) + truth.sum(-1) + 1)


class ClipLoss(nn.Module, ABC):
    """What a training minimises over the proposals of a clip."""

    @abstractmethod
    def frame(
        self, proposal: Proposal, masks: Tensor, void: Tensor | None, progress: float
    ) -> Tensor:
        """Losses of one frame.

        Args:
            proposal: of the frame.
            masks: (B, O, H, W) bool, the truth at the source size.
            void: (B, H, W) bool, pixels without a truth; or None.
            progress: of the training, in [0, 1].

        Returns:
            (B,) losses.
        """

    def frames(
        self, proposals: Sequence[Proposal], clip: Clip, progress: float
    ) -> dict[int, Tensor]:
        """Losses of the frames of a clip that a model looked at through its memory.

        Args:
            proposals: T of them, as `Segmenter.forward` gives them; that of a given frame has no
                readout where the model does not look at it again, and says nothing.
            clip: the truth.
            progress: of the training, in [0, 1].

        Returns:
            Place in the clip -> scalar, the mean over the samples.
        """
        void = [None] * len(proposals) if clip.void is None else clip.void.unbind(1)
        return {
            t: self.frame(proposal, clip.masks[:, t], void[t], progress).mean()
            for t, proposal in enumerate(proposals)
            if proposal.readout is not None
        }

    def later(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        """(n,) losses of the frames after the given one; arguments as of `frames`.

        Raises:
            InputError: if there is none.
        """
        losses = self.frames(proposals, clip, progress)
        losses.pop(0, None)
        return torch.stack(_some(losses))

    @abstractmethod
    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        """The loss of a clip, a scalar; arguments as of `frames`.

        Raises:
            InputError: if the clip shows no frame that counts.
        """


class ContestLoss(ClipLoss):
    """Objects and background compete for every pixel, of which the hardest count.

    Args:
        hardest: share of the pixels that the cross entropy keeps in the end; 1 for all of them.
        start: share of the training in which all pixels count.
        end: share of the training after which `hardest` is reached, falling linearly; beyond 1 it
            is never reached.

    Raises:
        ValueError: if a share is out of range.
    """

    def __init__(self, hardest: float, start: float, end: float) -> None:
        super().__init__()
        if not 0 < hardest <= 1:
            raise ValueError(f"hardest must lie in (0, 1], not {hardest}")
        if not 0 <= start <= end:
            raise ValueError(f"start must lie between 0 and end, not {start} with end {end}")
        self.hardest = hardest
        self.start = start
        self.end = end

    def share(self, progress: float) -> float:
        """Share of the pixels at a point of the training, progress in [0, 1]."""
        if progress < self.start:
            return 1.0
        passed, whole = progress - self.start, self.end - self.start
        done = min(1.0, passed / whole) if whole else 1.0
        return done * self.hardest + 1 - done

    @abstractmethod
    def measure(self, contest: Contest, share: float) -> Tensor:
        """(B,) losses of one contest, its cross entropy over a share of the pixels."""

    def frame(
        self, proposal: Proposal, masks: Tensor, void: Tensor | None, progress: float
    ) -> Tensor:
        """Losses of one frame, averaged over the contests that a sample has objects in."""
        share = self.share(progress)
        found = contests(proposal, masks, void)
        losses = torch.stack([self.measure(contest, share) for contest in found])
        taking_part = torch.stack([contest.members.any(1) for contest in found])
        return (losses * taking_part).sum(0) / taking_part.sum(0).clamp(min=1)


class SegmentationLoss(ContestLoss):
    """Half bootstrapped cross entropy, half soft Jaccard, over the frames of a clip.

    The frame whose masks were given counts too, where the model looks at it again, with a weight
    that fades from 1 to 0 over the training: what the model makes of a frame that is its own
    memory.

    Args:
        hardest: share of the pixels that the cross entropy keeps in the end.
        settled: share of the training after which it is reached, falling linearly from 1.

    Raises:
        ValueError: if a share is out of range.

    Source: AOT, section 4.5; the fading auxiliary loss of the released code.
    """

    def __init__(self, hardest: float = 0.15, settled: float = 0.5) -> None:
        super().__init__(hardest, 0.0, settled)

    def measure(self, contest: Contest, share: float) -> Tensor:
        entropy = bootstrapped_cross_entropy(contest.logits, contest.target, share)
        return 0.5 * entropy + 0.5 * soft_jaccard(contest.logits, contest.target)

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        losses = self.frames(proposals, clip, progress)
        given = losses.pop(0, None)
        if not losses and given is not None:
            return given
        later = torch.stack(_some(losses)).mean()
        return later if given is None else later + (1 - progress) * given


class MatchingLoss(ContestLoss):
    """Bootstrapped cross entropy plus Dice, summed over the frames of a clip but the given one.

    Models that decode every object by itself are compared by what soft aggregation makes of their
    objects. Objects that may overlap are each a contest with the background alone.

    Args:
        hardest: share of the pixels that the cross entropy keeps in the end; 1 for all of them.
        start: share of the training in which all pixels count.
        end: share of the training after which `hardest` is reached, falling linearly; beyond 1 it
            is never reached.

    Raises:
        ValueError: if a share is out of range.

    Source: the released STCN, XMem and MMPM; XMem takes iterations 20,000 and 70,000 of 150,000.
    """

    def __init__(self, hardest: float = 0.15, start: float = 0.13, end: float = 0.47) -> None:
        super().__init__(hardest, start, end)

    def measure(self, contest: Contest, share: float) -> Tensor:
        entropy = bootstrapped_cross_entropy(contest.logits, contest.target, share)
        each = dice(contest.logits.softmax(1)[:, 1:], contest.target)  # 0 of who is no member
        return entropy + each.sum(1) / contest.members.sum(1).clamp(min=1)

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        return self.later(proposals, clip, progress).sum()


def _some(losses: dict[int, Tensor]) -> list[Tensor]:
    if not losses:
        raise InputError("a clip shows no frame but the given one: its length must be 2 or more")
    return list(losses.values())


@dataclass(frozen=True)
class Contest:
    """A background and the objects that compete with it for every pixel.

    Attributes:
        logits: (B, 1 + n, H, W), background first.
        target: (B, H, W) int64, the winner; `IGNORE` where there is no truth.
        members: (B, n) bool, which of the objects a sample has in this contest.
        columns: the n places of its objects among those of the proposal.
    """

    logits: Tensor
    target: Tensor
    members: Tensor
    columns: list[int]


def contests(
    proposal: Proposal, masks: Tensor, void: Tensor | None, candidate: int = 0
) -> list[Contest]:
    """A proposal and its truth as one classification per background.

    Args:
        proposal: of a frame.
        masks: (B, O, H, W) bool, the truth at the source size.
        void: (B, H, W) bool, or None.
        candidate: which of those of every object and background.

    Returns:
        With learned backgrounds, a contest per identity group. Without, one of all objects where
        they exclude each other, and one per object where they may overlap.
    """
    objects = proposal.objects
    logits = restore(proposal.logits[:, :, candidate], proposal.geometry)
    found = []
    if proposal.background is not None:
        background = restore(proposal.background[:, :, candidate], proposal.geometry)
        for g in range(background.shape[1]):
            columns, inside = objects.members(g)
            scores = torch.cat((background[:, g : g + 1], logits[:, columns]), 1)
            members = inside & objects.alive[:, columns]
            found.append(_contest(scores, masks[:, columns], members, columns))
    else:
        shares = logits.float().sigmoid() * objects.alive.to(logits.device)[..., None, None]
        every = list(range(objects.count))
        for columns in [every] if objects.exclusive else [[o] for o in every]:
            scores = log_odds(shares[:, columns])
            members = objects.alive[:, columns]
            found.append(_contest(scores, masks[:, columns], members, columns))
    if void is None:
        return found
    return [replace(c, target=c.target.masked_fill(void, IGNORE)) for c in found]


def _contest(scores: Tensor, masks: Tensor, members: Tensor, columns: list[int]) -> Contest:
    """Logits (B, 1 + n, H, W) and masks (B, n, H, W), without those who are not members (B, n)."""
    members = members.to(scores.device)
    inside = members[..., None, None]
    logits = torch.cat((scores[:, :1], scores[:, 1:].masked_fill(~inside, _ABSENT)), 1)
    numbers = torch.arange(1, members.shape[1] + 1, device=masks.device)[:, None, None]
    nobody = torch.zeros(scores.shape[0], 1, *scores.shape[2:], dtype=torch.int64)
    target = torch.cat((nobody.to(masks.device), (masks & inside) * numbers), 1).amax(1)
    return Contest(logits, target, members, columns)
