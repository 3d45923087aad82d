"""Losses and schedules against the released AOT, and what must hold for any model."""

from __future__ import annotations

import goldens
import pytest
import torch

import vosfm
from vosfm.checkpoints import aot
from vosfm.losses import SegmentationLoss, bootstrapped_cross_entropy, soft_jaccard
from vosfm.schedules import ema_decay, polynomial
from vosfm.types import Clip


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


def test_train_step() -> None:
    """One batch of AOT-L, forward and backward, with shuffled identities."""
    golden = goldens.load("aot_train_step")
    hyper = golden.hyper
    segmenter = vosfm.build("aot_l")
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
    loss = SegmentationLoss()
    progress = hyper["step"] / 100_000
    frame_losses = torch.stack(
        [
            loss.frame(p, clip.masks[:, t], labels[:, t] == 255, loss.share(progress))
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
