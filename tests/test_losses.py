"""Losses and schedules against the released codes, and what must hold for any model."""

from __future__ import annotations

import goldens
import pytest
import torch

import vosfm
from vosfm.checkpoints import aot
from vosfm.losses import (
    IGNORE,
    ClipLoss,
    MatchingLoss,
    SegmentationLoss,
    bootstrapped_cross_entropy,
    dice,
    soft_jaccard,
)
from vosfm.scalable_loss import ScalableLoss
from vosfm.schedules import ema_decay, polynomial
from vosfm.types import Clip, Geometry, Objects, Proposal, Readout


def test_losses() -> None:
    golden = goldens.load("aot_losses")
    logits, label = golden.inputs["logits"], golden.inputs["label"].long()[None]
    loss = SegmentationLoss()
    shares = [loss.share(step / 100_000) for step in golden.hyper["steps"]]
    entropy = torch.stack([bootstrapped_cross_entropy(logits, label, s) for s in shares])[:, 0]
    jaccard = soft_jaccard(logits, label)
    golden.check("ce", entropy)
    golden.check("sj", jaccard)
    golden.check("total", 0.5 * entropy + 0.5 * jaccard)


@pytest.mark.parametrize("iteration", [5, 40, 100])
def test_losses_of_xmem(iteration: int) -> None:
    golden = goldens.load("losses", system="mmpm")
    params = golden.params
    start, end = (params[name] / 100 for name in ("start_warm", "end_warm"))
    share = MatchingLoss(params["top_p"], start, end).share(iteration / 100)
    golden.check(f"p_it{iteration}", torch.tensor([share]))
    total = torch.zeros(1)
    for t in (1, 2):
        logits, masks = golden.inputs[f"logits_{t}"], golden.inputs[f"masks_{t}"]
        truth = golden.inputs["cls_gt"][:, t, 0]
        entropy = torch.cat(
            [
                bootstrapped_cross_entropy(logits[b : b + 1, : 1 + n], truth[b : b + 1], share)
                for b, n in enumerate(params["num_objects"])
            ]
        ).mean()[None]
        overlap = dice(masks, truth).mean()[None]
        golden.check(f"ce_loss_{t}_it{iteration}", entropy)
        golden.check(f"dice_loss_{t}_it{iteration}", overlap)
        total = total + entropy + overlap
    golden.check(f"total_loss_it{iteration}", total)


SIZE = (12, 14)


def clip_of(masks: torch.Tensor, void: torch.Tensor | None = None) -> Clip:
    """Masks (B, T, O, H, W) with black frames."""
    batch, length = masks.shape[:2]
    present = torch.ones(batch, masks.shape[2], dtype=torch.bool)
    return Clip(torch.zeros(batch, length, 3, *SIZE), masks, present, void)


def proposal_of(
    logits: torch.Tensor, exclusive: bool, alive: torch.Tensor | None = None, read: bool = True
) -> Proposal:
    """Logits (B, O, H, W) of a model that decodes every object by itself."""
    batch, count = logits.shape[:2]
    if alive is None:
        alive = torch.ones(batch, count, dtype=torch.bool)
    columns = torch.arange(count).expand(batch, -1)
    objects = Objects(columns + 1, alive, columns, torch.zeros_like(columns), exclusive)
    place = Geometry(SIZE, SIZE, SIZE)
    return Proposal(objects, place, logits.unsqueeze(2), Readout(()) if read else None)


def disjoint(batch: int = 2, length: int = 3, objects: int = 2) -> torch.Tensor:
    labels = torch.randint(0, objects + 1, (batch, length, 1, *SIZE))
    return labels == torch.arange(1, objects + 1)[:, None, None]


def test_objects_seen_one_by_one_compete_as_in_xmem() -> None:
    """The whole loss from the logits of single objects, by the formulas of the golden."""
    masks = disjoint()
    logits = 3 * torch.randn(3, 2, 2, *SIZE)
    loss = MatchingLoss(start=0.2, end=0.7)
    ours = loss([proposal_of(x, True) for x in logits], clip_of(masks), 0.4)
    expected = torch.zeros(())
    for t in (1, 2):
        seen = logits[t].sigmoid()
        both = torch.cat(((1 - seen).prod(1, keepdim=True), seen), 1).clamp(1e-7, 1 - 1e-7)
        scores = (both / (1 - both)).log()
        label = (masks[:, t] * torch.tensor([1, 2])[:, None, None]).amax(1)
        hardest = int(SIZE[0] * SIZE[1] * (0.15 + 0.85 * 0.6))
        for b in range(2):
            each = -scores[b].log_softmax(0).gather(0, label[b][None]).flatten()
            expected += each.sort().values[-hardest:].mean() / 2
            for o in range(2):
                m, g = scores.softmax(1)[b, 1 + o], masks[b, t, o].float()
                expected += (1 - (2 * (m * g).sum() + 1) / (m.sum() + g.sum() + 1)) / 4
    torch.testing.assert_close(ours, expected)


LOSSES = (SegmentationLoss(), MatchingLoss())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_tracks_that_overlap_are_learned_as_if_alone(loss: ClipLoss) -> None:
    masks = torch.rand(2, 2, 3, *SIZE) > 0.5
    assert (masks.sum(2) > 1).any()
    logits = torch.randn(2, 2, 3, *SIZE)
    both = loss([proposal_of(x, False) for x in logits], clip_of(masks), 0.5)
    alone = [
        loss(
            [proposal_of(x[:, o : o + 1], True) for x in logits],
            clip_of(masks[:, :, o : o + 1]),
            0.5,
        )
        for o in range(3)
    ]
    torch.testing.assert_close(both, torch.stack(alone).mean())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_padded_sample_is_as_if_alone(loss: ClipLoss, exclusive: bool) -> None:
    masks = disjoint(batch=2, length=2)
    masks[1, :, 1] = False
    logits = torch.randn(2, 2, 2, *SIZE)
    alive = torch.tensor([[True, True], [True, False]])
    padded = loss([proposal_of(x, exclusive, alive) for x in logits], clip_of(masks), 0.3)
    first = loss([proposal_of(x[:1], exclusive) for x in logits], clip_of(masks[:1]), 0.3)
    second = loss(
        [proposal_of(x[1:, :1], exclusive) for x in logits], clip_of(masks[1:, :, :1]), 0.3
    )
    torch.testing.assert_close(padded, (first + second) / 2)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("exclusive", [True, False])
def test_what_is_void_does_not_matter(loss: ClipLoss, exclusive: bool) -> None:
    masks = disjoint(length=2)
    void = torch.zeros(2, 2, *SIZE, dtype=torch.bool)
    void[:, :, 4:8] = True
    other = masks.clone()
    other[:, :, :, 4:8] = disjoint(length=2)[:, :, :, 4:8]
    logits = torch.randn(2, 2, 2, *SIZE)
    changed = logits.clone()
    changed[..., 4:8, :] = torch.randn(2, 2, 2, 4, SIZE[1])
    first, second = (
        loss([proposal_of(x, exclusive) for x in seen], clip_of(truth, void), 0.3)
        for seen, truth in ((logits, masks), (changed, other))
    )
    torch.testing.assert_close(first, second)


def test_given_frames() -> None:
    masks = disjoint()
    logits = torch.randn(3, 2, 2, *SIZE)
    read = [proposal_of(x, True) for x in logits]
    unread = [proposal_of(logits[0], True, read=False), *read[1:]]
    later = [SegmentationLoss()(read[t : t + 1], clip_of(masks[:, t : t + 1]), 0.3) for t in (1, 2)]
    given = SegmentationLoss()(read[:1], clip_of(masks[:, :1]), 0.3)
    mean = torch.stack(later).mean()
    torch.testing.assert_close(SegmentationLoss()(unread, clip_of(masks), 0.3), mean)
    torch.testing.assert_close(SegmentationLoss()(read, clip_of(masks), 0.3), mean + 0.7 * given)
    matching = [MatchingLoss()(some, clip_of(masks), 0.3) for some in (read, unread)]
    torch.testing.assert_close(*matching)
    pairs = [MatchingLoss()([unread[0], read[t]], clip_of(masks[:, [0, t]]), 0.3) for t in (1, 2)]
    torch.testing.assert_close(matching[0], pairs[0] + pairs[1])
    for loss in LOSSES:
        with pytest.raises(vosfm.InputError, match="length"):
            loss(unread[:1], clip_of(masks[:, :1]), 0.3)


def test_dice_of_what_is_known() -> None:
    target = torch.zeros(1, *SIZE, dtype=torch.int64)
    target[0, :4], target[0, 4:6] = 1, IGNORE
    shares = torch.zeros(1, 3, *SIZE)
    shares[0, 0, :6] = 1  # right, and beyond doubt where nothing is known
    shares[0, 1, 8:10] = 1  # seen, but nowhere
    assert dice(shares, target).tolist() == [[0.0, pytest.approx(1 - 1 / 29), 0.0]]


@pytest.mark.parametrize("progress", [0.0, 0.13, 0.3, 0.47, 1.0])
def test_share_of_the_pixels(progress: float) -> None:
    expected = {0.0: 1.0, 0.13: 1.0, 0.3: 0.575, 0.47: 0.15, 1.0: 0.15}
    assert MatchingLoss().share(progress) == pytest.approx(expected[progress])
    assert MatchingLoss(0.15, 1 / 3, 7 / 6).share(1.0) == pytest.approx(0.32)
    assert SegmentationLoss(0.2, settled=0.0).share(progress) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="start"):
        MatchingLoss(start=0.5, end=0.4)
    with pytest.raises(ValueError, match="hardest"):
        MatchingLoss(hardest=0.0)


def test_schedules() -> None:
    golden = goldens.load("aot_schedules")
    hyper = golden.hyper
    decay = 1 - 1 / (0.1 * hyper["total_steps"])
    golden.check(
        "ema_decay",
        torch.tensor([ema_decay(t, decay) for t in hyper["ema_at"]], dtype=torch.float64),
    )
    lowest = hyper["min_lr"]
    rates = [
        polynomial(step, hyper["total_steps"], hyper["base_lr"], lowest, hyper["power"])
        for step in hyper["lr_at"]
    ]
    golden_rates = golden.outputs["group_lr"]
    torch.testing.assert_close(
        torch.tensor(rates, dtype=torch.float64), golden_rates[:, 0], rtol=1e-6, atol=1e-12
    )
    encoder = [(rate - lowest) * 0.1 + lowest for rate in rates]
    torch.testing.assert_close(
        torch.tensor(encoder, dtype=torch.float64), golden_rates[:, 1], rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(
    ("case", "name", "loss"),
    [
        ("aot_train_step", "aot_l", SegmentationLoss()),
        ("aost_train_step", "aost", ScalableLoss()),
    ],
)
def test_train_step(case: str, name: str, loss: ClipLoss) -> None:
    """One batch, forward and backward, with shuffled identities."""
    golden = goldens.load(case)
    hyper = golden.hyper
    segmenter = vosfm.build(name)
    vosfm.checkpoints.load_official(segmenter, golden.weights())
    for block in segmenter.memory.reader.blocks:
        block.drop_path.probability = 0.0
    segmenter.train()
    segmenter.encoder.eval()
    batch, objects = hyper["batch_size"], max(hyper["obj_nums"])
    frames = golden.inputs["frames"].unflatten(0, (-1, batch)).transpose(0, 1)  # (B, T, H, W, 3)
    labels = golden.inputs["masks"].unflatten(0, (-1, batch)).transpose(0, 1)
    masks = torch.stack([labels == o for o in range(1, objects + 1)], 2)
    present = torch.tensor([[o < n for o in range(objects)] for n in hyper["obj_nums"]])
    clip = Clip(frames.permute(0, 1, 4, 2, 3).float() / 255, masks, present, labels == 255)
    permutation = golden.inputs["permutation"][:, 1:] - 1

    def enrol(clip: Clip, identities: int | None, shuffle: object) -> object:
        return vosfm.types.Objects(
            torch.arange(1, objects + 1).expand(batch, -1),
            present,
            permutation[:, :objects],
            torch.zeros(batch, objects, dtype=torch.int64),
            identities=identities,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vosfm.identification.enrol", enrol)
        feed = "prediction" if hyper["use_prev_pred"] else "truth"
        proposals = segmenter(clip, feed=feed)
    progress = hyper["step"] / 100_000
    frame_losses = torch.stack(
        [
            loss.frame(p, clip.masks[:, t], labels[:, t] == 255, progress)
            for t, p in enumerate(proposals)
        ]
    )
    golden.check("frame_losses", frame_losses.detach())
    total = loss(proposals, clip, progress)
    golden.check("loss", total.detach()[None])
    total.backward()
    golden.check("grad.decoder.conv_out.weight", segmenter.decoder.exit.weight.grad.flatten(1))
    norms = gradients_by_official_name(segmenter, golden)
    golden.check("grad_l2_norms", norms)


def gradients_by_official_name(segmenter: vosfm.Segmenter, golden: goldens.Golden) -> torch.Tensor:
    """Gradient norms in the order of the golden, found through the translation of key names."""
    parameters = dict(segmenter.named_parameters())
    weights = golden.weights()
    # Translation keeps the order of the keys; the unused parameter has no counterpart.
    official = [key for key in weights if key != "LSTT.mask_token"]
    ours = dict(zip(official, aot.translate(weights), strict=True))
    keys = golden.info["grad_norm_keys"]
    return torch.stack([parameters[ours[key]].grad.norm().double() for key in keys])
