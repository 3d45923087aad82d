"""PerSAM-F: PerSAM, and two numbers learned from the one mask that is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from vosfm.losses import dice_of_masks
from vosfm.peers.peer import Mask
from vosfm.peers.persam import PerSam, Pooling, Prompt, Target
from vosfm.peers.sam import Answer
from vosfm.prompters import Prompter
from vosfm.types import Features

VIDEO_F: dict[str, Any] = {"margin": 10, "steps": 800, "lr": 4e-4}
"""Arguments of `PerSamF` as its authors segment videos."""


class PerSamF(PerSam):
    """Learns in the first frame how large a part of what SAM sees there is meant.

    SAM answers an unclear prompt with three masks, of a part, a whole, or more. They are added up,
    weighted; two of the weights are learned on the frame that the object is given with, and the
    third makes them sum to 1. In other frames their sum is the first answer, whose box already
    prompts the first refinement.

    Args:
        prompter: as of `PerSam`.
        exclusive: as of `PerSam`.
        positives: as of `PerSam`.
        negatives: as of `PerSam`.
        pooling: as of `PerSam`.
        margin: as of `PerSam`.
        steps: of the learning.
        lr: learning rate, which falls to 0 along a cosine.

    Raises:
        InputError: if the prompter is no SAM, or has no encoder.
        ValueError: if an argument is out of range.

    Source: PerSAM (Zhang et al., 2023), section 3.3; the released persam_f and, for `VIDEO_F`,
        persam_video_f.
    """

    def __init__(
        self,
        prompter: Prompter,
        exclusive: bool = True,
        positives: int = 1,
        negatives: int = 0,
        pooling: Pooling = "mean and max",
        margin: int | None = None,
        steps: int = 1000,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(prompter, exclusive, positives, negatives, pooling, False, False, margin)
        if steps < 1 or not lr > 0:
            raise ValueError(f"steps {steps}, lr {lr}: give at least 1, and more than 0")
        self.steps = steps
        self.lr = lr

    def begin(self, view: Features, mask: Mask, object_id: int) -> Target:
        target = super().begin(view, mask, object_id)
        logits = self._sam.restore(self._three(view, self._prompt(view, target)), view)
        return replace(target, weights=learn(logits, torch.from_numpy(mask), self.steps, self.lr))

    def _first(self, view: Features, target: Target, prompt: Prompt) -> Tensor:
        assert target.weights is not None
        return torch.einsum("k,khw->hw", target.weights, self._three(view, prompt))

    def _refine(self, view: Features, logits: Tensor, prompt: Prompt) -> Answer:
        answer = self._boxed(view, logits, prompt)
        return self._boxed(view, answer.logits[answer.best], prompt)

    def _three(self, view: Features, prompt: Prompt) -> Tensor:
        """(3, h, w) logits of the first answer."""
        answer = self._sam.ask(view, prompt.points, prompt.labels, prompt.box, several=True)
        return answer.logits


def learn(logits: Tensor, mask: Tensor, steps: int, lr: float) -> Tensor:
    """Find the weights whose sum of three masks is most like a true one.

    Args:
        logits: (3, H, W).
        mask: (H, W) bool, the truth.
        steps: of AdamW.
        lr: its highest learning rate.

    Returns:
        (3,), on the device of the logits; they sum to 1, but each may be any number.

    Source: PerSAM, section 3.3; Dice and focal loss, as the released persam_f has them.
    """
    with torch.inference_mode(False), torch.enable_grad():
        scales, truth = logits.detach().clone().float(), mask.to(logits.device).clone()
        last = torch.full((2,), 1 / 3, device=logits.device, requires_grad=True)
        optimizer = torch.optim.AdamW([last], lr=lr, eps=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            summed = torch.einsum("k,khw->hw", _whole(last), scales)
            focal = sigmoid_focal_loss(summed, truth.float(), 0.25, 2.0, reduction="mean")
            loss = dice_of_masks(summed.sigmoid(), truth) + focal
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return _whole(last).detach()


def _whole(last: Tensor) -> Tensor:
    """Three weights that sum to 1, of which the last two are given."""
    return torch.cat((1 - last.sum(0, keepdim=True), last))
