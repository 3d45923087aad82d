"""Supervision of every depth: weights, and what it comes to of a model with one depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import goldens
import pytest
import torch
from torch import Tensor

import vosfm
from vosfm.losses import ClipLoss, MatchingLoss, SegmentationLoss
from vosfm.scalable_loss import ScalableLoss
from vosfm.types import Clip, Geometry, Objects, Proposal, Readout

SIZE = (12, 14)
CLIP = Clip(
    torch.zeros(1, 3, 3, *SIZE),
    torch.arange(3 * 2 * SIZE[0] * SIZE[1]).view(1, 3, 2, *SIZE) % 5 == 0,
    torch.ones(1, 2, dtype=torch.bool),
)


class Told(ClipLoss):
    """Says of a proposal the number that it was made with."""

    def frame(
        self, proposal: Proposal, masks: Tensor, void: Tensor | None, progress: float
    ) -> Tensor:
        return proposal.logits.flatten()[:1]

    def forward(self, proposals: Sequence[Proposal], clip: Clip, progress: float) -> Tensor:
        return torch.stack([p.logits.flatten()[0] for p in proposals]).sum()


def proposal(logits: Tensor, read: bool = True) -> Proposal:
    """Of two objects that a model decodes by themselves."""
    columns = torch.arange(2)[None]
    objects = Objects(columns + 1, torch.ones(1, 2, dtype=torch.bool), columns, 0 * columns)
    place = Geometry(SIZE, SIZE, SIZE)
    return Proposal(objects, place, logits.unsqueeze(2), Readout(()) if read else None)


def number(value: float) -> Proposal:
    return proposal(torch.full((1, 2, *SIZE), value))


def deep(*values: float) -> Proposal:
    """With shallower ones beside it, the shallowest first."""
    *shallower, whole = map(number, values)
    return replace(whole, auxiliary=tuple(shallower))


def test_against_the_released_code() -> None:
    golden = goldens.load("aot_losses")
    losses = golden.inputs["layer_losses"].double()
    ours = [
        ScalableLoss(Told()).frame(deep(*losses[: n + 1].tolist()), CLIP.masks[:, 0], None, 0.0)
        for n in range(3)
    ]
    golden.check("scalable", torch.cat(ours))


def test_weights_by_hand() -> None:
    loss = ScalableLoss(Told(), alpha=3.0)
    frames = [deep(1.0, 5.0), deep(2.0, 10.0)]
    assert loss.frame(frames[0], CLIP.masks[:, 0], None, 0.0).item() == (1 + 3 * 5) / 4
    assert loss(frames, CLIP, 0.0).item() == pytest.approx((1 + 2 + 3 * (5 + 10)) / 4)


@pytest.mark.parametrize("inner", [SegmentationLoss(), MatchingLoss()])
def test_of_one_depth_it_is_the_loss_within(inner: ClipLoss) -> None:
    torch.manual_seed(0)
    proposals = [proposal(torch.randn(1, 2, *SIZE)) for _ in range(3)]
    assert torch.equal(ScalableLoss(inner)(proposals, CLIP, 0.3), inner(proposals, CLIP, 0.3))


@pytest.mark.parametrize("inner", [SegmentationLoss(), MatchingLoss()])
def test_a_clip_whose_given_frame_was_not_read(inner: ClipLoss) -> None:
    """It says nothing at any depth; the others count as their means over depths."""
    torch.manual_seed(0)
    shallow = [proposal(torch.randn(1, 2, *SIZE)) for _ in range(2)]
    whole = [replace(proposal(torch.randn(1, 2, *SIZE)), auxiliary=(p,)) for p in shallow]
    given = proposal(torch.randn(1, 2, *SIZE), read=False)
    ours = ScalableLoss(inner)([given, *whole], CLIP, 0.3)
    parts = [inner([given, *each], CLIP, 0.3) for each in (shallow, whole)]
    torch.testing.assert_close(ours, (parts[0] + 2 * parts[1]) / 3)


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_a_wrong_alpha(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0"):
        ScalableLoss(alpha=alpha)


@pytest.mark.parametrize("shared", ["none", "matching", "all"])
def test_every_parameter_of_an_aost_learns(shared: str) -> None:
    torch.manual_seed(0)
    segmenter = vosfm.build("aost_nano", memory={"reader": {"shared": shared}}).train()
    frames = torch.rand(2, 4, 3, 65, 49)
    masks = torch.zeros(2, 4, 2, 65, 49, dtype=torch.bool)
    masks[:, :, 0, 8:40, 4:30] = True
    masks[:, :, 1, 44:60, 10:40] = True
    clip = Clip(frames, masks, torch.ones(2, 2, dtype=torch.bool))
    proposals = segmenter(clip, shuffle=[0, 1])
    assert [len(p.auxiliary) for p in proposals] == [2, 2, 2, 2]
    ScalableLoss()(proposals, clip, 0.1).backward()
    learning = {n: p for n, p in segmenter.named_parameters() if p.requires_grad}
    assert not [name for name, parameter in learning.items() if parameter.grad is None]
    # Fresh blocks of a ResNet end in zeros, behind which nothing moves in the first step.
    ours = {n: p for n, p in learning.items() if not n.startswith("encoder.backbone.")}
    assert not [name for name, parameter in ours.items() if not bool(parameter.grad.any())]
    segmenter.zero_grad()
    SegmentationLoss()(segmenter(clip, shuffle=[0, 1]), clip, 0.1).backward()
    assert segmenter.decoder.enter[0].conv.weight.grad is None, "nobody supervises depth 1"
