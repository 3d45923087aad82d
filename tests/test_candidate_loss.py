"""The loss of several scored candidates, by numbers that a hand can check."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vosfm
from vosfm.candidate_loss import CandidateLoss, focal_loss, intersection_over_union
from vosfm.losses import dice_of_masks
from vosfm.types import Clip, Geometry, Objects, Proposal, Readout

NOWHERE = -1024.0
"""What a decoder says of every pixel of an object that it does not see."""


def proposal_of(
    logits: Tensor,
    scores: Tensor | None = None,
    presence: Tensor | None = None,
    background: Tensor | None = None,
    alive: Tensor | None = None,
    identities: int | None = None,
    source: tuple[int, int] | None = None,
) -> Proposal:
    """Logits (B, O, K, h, w) of a frame that was read from memory."""
    batch, count = logits.shape[:2]
    size = source or (logits.shape[-2], logits.shape[-1])
    columns = torch.arange(count).expand(batch, -1)
    objects = Objects(
        columns + 1,
        torch.ones(batch, count, dtype=torch.bool) if alive is None else alive,
        columns,
        torch.zeros_like(columns),
        identities=identities,
    )
    return Proposal(
        objects,
        Geometry(size, size, size),
        logits,
        Readout(()),
        background,
        scores,
        presence=presence,
    )


def clip_of(masks: Tensor, void: Tensor | None = None) -> Clip:
    """Masks (B, T, O, H, W) with black frames."""
    batch, length, count = masks.shape[:3]
    frames = torch.zeros(batch, length, 3, *masks.shape[3:])
    return Clip(frames, masks, torch.ones(batch, count, dtype=torch.bool), void)


def loss_of(
    proposal: Proposal, masks: Tensor, void: Tensor | None = None, **weights: float
) -> float:
    """Of one frame, a number."""
    return float(CandidateLoss(**weights).frame(proposal, masks, void, 0.0).detach().mean())


HALF = torch.tensor([[[[True, True], [False, False]]]])
"""(1, 1, 2, 2), an object that fills the upper row."""

# A frame of 2 x 2 pixels, logits 0 everywhere: p = 1/2, the cross entropy of a pixel is ln 2.
FLAT_FOCAL = (0.25 + 0.25 + 0.75 + 0.75) / 4 * 0.5**2 * math.log(2)  # 0.0866
FLAT_DICE = 1 - (2 * 1 + 1) / (2 + 2 + 1)  # 0.4


def test_by_hand() -> None:
    """Two candidates: one says nothing, the other is right at odds of 3 to 1."""
    good = math.log(3) * torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    logits = torch.stack((torch.zeros(2, 2), good))[None, None]
    focal = (0.25 + 0.25 + 0.75 + 0.75) / 4 * 0.25**2 * math.log(4 / 3)
    dice = 1 - (2 * 1.5 + 1) / (2 + 2 + 1)
    assert loss_of(proposal_of(logits), HALF) == pytest.approx(20 * focal + dice)
    assert loss_of(proposal_of(logits), HALF, focal=7.0, dice=3.0) == pytest.approx(
        7 * focal + 3 * dice
    )
    # The first has no pixel above 0 and so an IoU of 0, the second one of 1.
    scored = proposal_of(logits, torch.tensor([[[0.3, 0.9]]]))
    assert loss_of(scored, HALF, focal=0.0, dice=0.0) == pytest.approx((0.3 + 0.1) / 2)
    seen = replace(scored, presence=torch.tensor([[math.log(4)]]))
    assert loss_of(seen, HALF) == pytest.approx(20 * focal + dice + 0.2 + math.log(5 / 4))
    assert loss_of(seen, HALF, quality=5.0, presence=2.0) == pytest.approx(
        20 * focal + dice + 5 * 0.2 + 2 * math.log(5 / 4)
    )


def test_one_candidate_without_scores() -> None:
    proposal = proposal_of(torch.zeros(1, 1, 1, 2, 2))
    assert loss_of(proposal, HALF) == pytest.approx(20 * FLAT_FOCAL + FLAT_DICE)
    scored = replace(proposal, scores=torch.tensor([[[0.75]]]))
    assert loss_of(scored, HALF) == pytest.approx(20 * FLAT_FOCAL + FLAT_DICE + 0.75)


def test_focal_loss_is_that_of_the_paper() -> None:
    odds, truth = 4 * torch.randn(3, 2, 6, 5).double(), torch.rand(3, 2, 6, 5) > 0.5
    known = torch.ones(1, 1, 6, 5, dtype=torch.bool)
    for gamma, alpha in ((2.0, 0.25), (0.5, 0.6), (0.0, 0.5)):
        p = torch.where(truth, odds.sigmoid(), 1 - odds.sigmoid())
        weight = torch.where(truth, alpha, 1 - alpha).double()
        expected = (-weight * (1 - p) ** gamma * p.log()).mean((-1, -2))
        torch.testing.assert_close(focal_loss(odds, truth, known, gamma, alpha), expected)


def test_only_the_best_mask_and_every_score_learn() -> None:
    """Of each object by itself; of equals, the first."""
    masks = torch.stack((HALF[0, 0], ~HALF[0, 0]))[None]
    sides = torch.tensor([1.0, -1.0]).repeat_interleave(2).view(2, 2)
    logits = torch.stack(
        (torch.stack((0 * sides, 2 * sides, sides)), torch.stack((-sides, sides, -sides)))
    )[None].requires_grad_()
    scores = torch.full((1, 2, 3), 0.6, requires_grad=True)
    proposal = proposal_of(logits, scores, torch.zeros(1, 2))
    CandidateLoss()(
        [proposal, proposal], clip_of(masks[:, None].expand(-1, 2, -1, -1, -1)), 0
    ).backward()
    assert logits.grad is not None
    assert scores.grad is not None
    learns = logits.grad.abs().flatten(3).sum(3) > 0
    assert learns.tolist() == [[[False, True, False], [True, False, False]]]
    assert (logits.grad[0, 0, 1] * sides < 0).all()
    # True intersections over union: 0, 1, 1 and 1, 0, 1; each object is half of the loss.
    assert scores.grad[0].tolist() == [
        pytest.approx([1 / 6, -1 / 6, -1 / 6]),
        pytest.approx([-1 / 6, 1 / 6, -1 / 6]),
    ]


def test_an_object_that_is_not_in_the_frame() -> None:
    """It counts among the objects, but only its presence is learned."""
    masks = torch.cat((HALF, torch.zeros_like(HALF)), 1)
    logits = torch.randn(1, 2, 3, 2, 2, requires_grad=True)
    scores, presence = torch.rand(1, 2, 3), torch.tensor([[1.0, -2.0]])
    proposal = proposal_of(logits, scores, presence)
    alone = proposal_of(logits[:, :1], scores[:, :1], presence[:, :1])
    total = CandidateLoss().frame(proposal, masks, None, 0.0).sum()
    expected = (loss_of(alone, HALF) + math.log1p(math.exp(-2.0))) / 2
    assert float(total.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(total, logits)
    assert gradient[0, 0].any()
    assert not gradient[0, 1].any()


def test_who_does_not_tell_presence_learns_to_show_nothing() -> None:
    logits = torch.zeros(1, 1, 2, 2, 2, requires_grad=True)
    proposal = proposal_of(logits, torch.zeros(1, 1, 2))
    total = CandidateLoss().frame(proposal, torch.zeros_like(HALF), None, 0.0).sum()
    assert float(total.detach()) == pytest.approx(20 * 0.75 * 0.25 * math.log(2) + 1 - 1 / 3)
    (gradient,) = torch.autograd.grad(total, logits)
    assert (gradient[0, 0, 0] > 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("truth", [HALF, torch.zeros_like(HALF)], ids=["there", "gone"])
def test_masks_that_say_nowhere_stay_finite(gamma: float, truth: Tensor) -> None:
    """Logits of -1024, as of an object that is taken for absent, rightly or not."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for fill in (NOWHERE, -NOWHERE):
            logits = torch.full((1, 1, 3, 2, 2), fill, dtype=dtype, requires_grad=True)
            scores = torch.full((1, 1, 3), 0.5, dtype=dtype, requires_grad=True)
            presence = torch.full((1, 1), -9.0, dtype=dtype, requires_grad=True)
            for told in (None, presence):
                proposal = proposal_of(logits, scores, told)
                total = CandidateLoss(gamma=gamma).frame(proposal, truth, None, 0.0).sum()
                leaves = [logits, scores] + ([] if told is None else [told])
                gradients = torch.autograd.grad(total, leaves)
                assert torch.isfinite(total)
                assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_what_is_void_does_not_matter() -> None:
    truth = torch.rand(2, 2, 6, 5) > 0.5
    void = torch.zeros(2, 6, 5, dtype=torch.bool)
    void[:, 4:] = True
    logits, scores, presence = torch.randn(2, 2, 3, 6, 5), torch.rand(2, 2, 3), torch.randn(2, 2)
    other, changed = truth.clone(), logits.clone()
    other[..., 4:, :] = ~truth[..., 4:, :]
    changed[..., 4:, :] *= -3
    first = loss_of(proposal_of(logits, scores, presence), truth, void)
    assert loss_of(proposal_of(changed, scores, presence), other, void) == pytest.approx(first)
    # The rest is as if there were no more, pixels of no truth are not among those averaged.
    cut = proposal_of(logits[..., :4, :], scores, presence)
    assert loss_of(cut, truth[..., :4, :]) == pytest.approx(first)
    nothing = torch.ones_like(void)
    told = F.softplus(presence).mean()
    assert loss_of(proposal_of(logits, scores, presence), truth, nothing) == pytest.approx(
        float(told)
    )


def test_a_padded_sample_is_as_if_alone() -> None:
    masks = torch.rand(2, 2, 4, 4) > 0.4
    logits, scores, presence = torch.randn(2, 2, 3, 4, 4), torch.rand(2, 2, 3), torch.randn(2, 2)
    alive = torch.tensor([[True, True], [True, False]])
    padded = loss_of(proposal_of(logits, scores, presence, alive=alive), masks)
    first = loss_of(proposal_of(logits[:1], scores[:1], presence[:1]), masks[:1])
    second = loss_of(proposal_of(logits[1:, :1], scores[1:, :1], presence[1:, :1]), masks[1:, :1])
    assert padded == pytest.approx((first + second) / 2)


def test_frames_are_averaged_and_the_given_one_left_out() -> None:
    masks = torch.rand(1, 3, 2, 4, 4) > 0.5
    clip = clip_of(masks)
    proposals = [proposal_of(torch.randn(1, 2, 3, 4, 4)) for _ in range(3)]
    loss = CandidateLoss()
    expected = sum(loss_of(proposals[t], masks[:, t]) for t in (1, 2)) / 2
    assert float(loss(proposals, clip, 0.0)) == pytest.approx(expected)
    assert float(loss(proposals, clip, 0.9)) == pytest.approx(expected)
    unread = [replace(proposals[0], readout=None), *proposals[1:]]
    assert float(loss(unread, clip, 0.0)) == pytest.approx(expected)
    with pytest.raises(vosfm.InputError, match="length"):
        loss(proposals[:1], clip_of(masks[:, :1]), 0.0)


def test_masks_are_judged_at_the_size_of_the_source() -> None:
    masks = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    masks[..., :3, :] = True
    logits = torch.randn(1, 1, 2, 4, 4)
    large = F.interpolate(logits[:, 0], (8, 8), mode="bilinear")[:, None]
    scores = torch.rand(1, 1, 2)
    small = loss_of(proposal_of(logits, scores, source=(8, 8)), masks)
    assert small == pytest.approx(loss_of(proposal_of(large, scores), masks))


@pytest.mark.parametrize("identities", [3, 2])
def test_objects_of_a_group_compete(identities: int) -> None:
    """The share of an object in the softmax of its group is the probability of its mask.

    The second sample keeps its objects in other groups than the first.
    """
    masks = torch.rand(2, 3, 4, 5) > 0.5
    groups = -(-3 // identities)
    logits, background = torch.randn(2, 3, 2, 4, 5), torch.randn(2, groups, 2, 4, 5)
    alive = torch.tensor([[True, True, True], [True, True, False]])
    slot = torch.tensor([[0, 1, 2], [2, 1, 0]])
    proposal = proposal_of(logits, None, None, background, alive, identities)
    proposal = replace(proposal, objects=replace(proposal.objects, slot=slot))
    expected = []
    for b, count in enumerate((3, 2)):
        each = []
        for o in range(count):
            g = int(slot[b, o]) // identities
            mine = [i for i in range(count) if int(slot[b, i]) // identities == g]
            wrong = []
            for k in range(2):
                rivals = [background[b, g, k], *(logits[b, i, k] for i in mine)]
                p = torch.stack(rivals).softmax(0)[1 + mine.index(o)]
                truth = masks[b, o]
                right = torch.where(truth, p, 1 - p)
                focal = (-torch.where(truth, 0.25, 0.75) * (1 - right) ** 2 * right.log()).mean()
                dice = 1 - (2 * p[truth].sum() + 1) / (p.sum() + truth.sum() + 1)
                wrong.append(float(20 * focal + dice))
            each.append(min(wrong))
        expected.append(sum(each) / count)
    assert loss_of(proposal, masks) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_parts() -> None:
    masks = torch.tensor([[[True, True], [False, False]], [[False, False], [False, False]]])
    truth = HALF[0, 0].T
    assert intersection_over_union(masks, truth).tolist() == [pytest.approx(1 / 3), 0.0]
    assert intersection_over_union(masks[1], masks[1]) == 0
    assert dice_of_masks(masks.float(), truth).tolist() == pytest.approx([1 - 3 / 5, 1 - 1 / 3])


@pytest.mark.parametrize("name", ["focal", "dice", "quality", "presence", "gamma", "alpha"])
def test_weights_that_make_no_sense(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        CandidateLoss(**{name: -0.1})
    with pytest.raises(ValueError, match="alpha"):
        CandidateLoss(alpha=1.5)
