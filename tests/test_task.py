"""Optimisation, averaging, and a model that learns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import goldens
import lightning as L
import pytest
import torch
from models import layered, tiny
from torch.utils.data import DataLoader

import vosfm
from vosfm.callbacks import EMA
from vosfm.data import ProceduralClips, ProceduralVideo, collate
from vosfm.losses import MatchingLoss
from vosfm.metrics import VideoSegmentation
from vosfm.optimisation import parameter_groups
from vosfm.schedules import Steps
from vosfm.task import SegmentationTask, score
from vosfm.tracker import Result


def test_groups_hold_every_parameter_once() -> None:
    segmenter = vosfm.build("aot_t", encoder={"frozen_stages": 2})
    groups = parameter_groups(segmenter, weight_decay=0.07)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in segmenter.parameters() if p.requires_grad)
    frozen = [n for n, p in segmenter.named_parameters() if not p.requires_grad]
    assert {n.split(".")[2] for n in frozen} == {"conv_stem", "bn1", "blocks"}
    assert {n.split(".")[3] for n in frozen if ".blocks." in n} == {"0", "1"}
    decaying = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in segmenter.named_parameters():
        if name.endswith("bias") or "relative_value" in name or name == "decoder.exit.weight":
            assert id(parameter) not in decaying
    assert id(segmenter.memory.reader.blocks[0].to_value.weight) in decaying


def rates(task: SegmentationTask, steps: int, seen: list[int]) -> torch.Tensor:
    """(seen, 2) learning rates of the rest and of the encoder, at these of the steps."""
    task._trainer = SimpleNamespace(estimated_stepping_batches=steps)  # type: ignore[assignment]
    configured = task.configure_optimizers()
    schedule = configured["lr_scheduler"]["scheduler"]
    of_group = dict(
        zip(
            [group["encoder"] for group in configured["optimizer"].param_groups],
            [lambda step, f=f: task.lr * f(step) for f in schedule.lr_lambdas],
            strict=True,
        )
    )
    rows = [[of_group[encoder](step) for encoder in (False, True)] for step in seen]
    return torch.tensor(rows, dtype=torch.float64)


def test_learning_rates_equal_the_released_ones() -> None:
    golden = goldens.load("aot_schedules")
    hyper = golden.hyper
    task = SegmentationTask(tiny(), lr=hyper["base_lr"], lowest_lr=hyper["min_lr"])
    ours = rates(task, hyper["total_steps"], hyper["lr_at"])
    torch.testing.assert_close(ours, golden.outputs["group_lr"][:, :2], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("milestones", [(), (0.5, 0.8)])
def test_learning_rates_in_steps(milestones: tuple[float, ...]) -> None:
    schedule = Steps(milestones, factor=0.1)
    task = SegmentationTask(tiny(), lr=1e-3, lowest_lr=0.0, encoder_lr=0.5, schedule=schedule)
    ours = rates(task, 20, list(range(20)))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(20 * m) for m in milestones], 0.1)
    for rate in ours:
        torch.testing.assert_close(
            rate, optimizer.param_groups[0]["lr"] * rate.new_tensor([1, 0.5])
        )
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("arguments", [{"milestones": (1.5,)}, {"factor": -1.0}])
def test_bad_steps(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Steps(**arguments)


def test_average_equals_the_released_one() -> None:
    golden = goldens.load("aot_schedules")
    ema = EMA(horizon=0.1)
    ema._highest = 1 - 1 / (0.1 * golden.hyper["total_steps"])
    parameters = golden.inputs["params"]
    shadow, history = parameters[0].clone(), {}
    for update in range(1, len(parameters)):
        shadow = ema._average(shadow, parameters[update], update)
        history[update] = shadow.clone()
    golden.check("ema_shadow", torch.stack([history[t] for t in golden.hyper["ema_at"]]))


def fit(task: SegmentationTask, folder: Path, steps: int) -> L.Trainer:
    clips = ProceduralClips(length=2, size=(64, 64), objects=2, clips=2, difficulty=(0.0, 0.1))
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(clips, batch_size=2, collate_fn=collate))
    return trainer


def test_a_model_learns_a_clip(tmp_path: Path) -> None:
    task = SegmentationTask(tiny(), lr=5e-3, encoder_lr=1.0, own_predictions=1.0)
    losses = []
    task.log = lambda name, value, **_: losses.append(float(value))  # type: ignore[assignment,misc]
    fit(task, tmp_path, 40)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_training_starts_from_weights(tmp_path: Path) -> None:
    torch.save(tiny(seed=3).state_dict(), tmp_path / "weights.pth")
    task = SegmentationTask(tiny(), weights=str(tmp_path / "weights.pth"))
    theirs = tiny(seed=3).state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in task.segmenter.state_dict().items())


@pytest.mark.parametrize("exclusive", [True, False])
def test_videos_whose_objects_overlap(exclusive: bool) -> None:
    video = ProceduralVideo(0, 3, (64, 64), objects=2, parts=True)
    task = SegmentationTask(tiny(), exclusive=exclusive)
    if exclusive:
        with pytest.raises(vosfm.InputError, match="masks overlap"):
            task._score(video, "val")
        return
    task._score(video, "val")
    rows = task.scores["val"].per_object()
    assert {object_id for _, object_id in rows} == set(video.prompts()[0])


def test_a_step_without_a_video_scores_nothing() -> None:
    task = SegmentationTask(tiny())
    video = ProceduralVideo(3, length=3, size=(64, 64))
    task.validation_step(video, 0)
    metric = task.scores["val"]
    assert isinstance(metric, VideoSegmentation)
    before = metric.so_far()
    task.validation_step(None, 1)
    assert metric.so_far() == before
    task.test_step(None, 0)
    assert not task.scores["test"].keys


def test_the_truth_scores_one_and_nothing_scores_nothing() -> None:
    video = ProceduralVideo(1, 5, (64, 64), objects=2)
    for full in (True, False):
        metric = VideoSegmentation("davis2017")
        results = []
        for index in range(5):
            truth = video.annotation(index)
            assert truth is not None
            kept = len(truth.object_ids) if full else 0
            results.append(
                Result(index, truth.object_ids[:kept], truth.masks[:kept], torch.ones(kept).numpy())
            )
        score(metric, video, results)
        value = float(metric.compute()["J"])
        assert value == 1 if full else value < 0.5


@pytest.mark.parametrize("own_predictions", [0.0, 1.0])
def test_the_mask_encoder_rests_while_own_masks_are_remembered(
    own_predictions: float, tmp_path: Path
) -> None:
    segmenter = tiny()
    before = [p.detach().clone() for p in segmenter.mask_encoder.parameters()]
    task = SegmentationTask(segmenter, lr=1e-2, own_predictions=own_predictions)
    task.log = lambda *_, **__: None  # type: ignore[assignment,misc]
    fit(task, tmp_path, 3)
    moved = [
        not torch.equal(p, b)
        for p, b in zip(segmenter.mask_encoder.parameters(), before, strict=True)
    ]
    assert all(moved) if own_predictions else not any(moved)


def test_a_soft_mask_encoder_learns_from_its_own_masks(tmp_path: Path) -> None:
    segmenter = vosfm.build("stcn_tiny")
    assert segmenter.mask_encoder.soft
    before = [p.detach().clone() for p in segmenter.mask_encoder.parameters()]
    task = SegmentationTask(segmenter, lr=1e-2, own_predictions=0.0, loss=MatchingLoss())
    task.log = lambda *_, **__: None  # type: ignore[assignment,misc]
    fit(task, tmp_path, 2)
    assert all(
        not torch.equal(p, b)
        for p, b in zip(segmenter.mask_encoder.parameters(), before, strict=True)
        if p.dim() > 1  # norms of fresh residual blocks have no gradient yet
    )


def test_videos_are_tracked_at_a_depth() -> None:
    segmenter, video = layered(), ProceduralVideo(0, length=3, size=(64, 64))
    found = {
        depth: [r.masks for r in SegmentationTask(segmenter, depth=depth).predict_step(video, 0)]
        for depth in (None, 1, 3)
    }
    alone = vosfm.Tracker(segmenter, depth=1).track(video.frames(), video.prompts())
    assert all((a == b.masks).all() for a, b in zip(found[1], alone, strict=True))
    assert all((a == b).all() for a, b in zip(found[3], found[None], strict=True))
    assert any((a != b).any() for a, b in zip(found[1], found[3], strict=True))
    with pytest.raises(vosfm.InputError, match="depth 4: this model runs at depth 1 or 2 or 3"):
        SegmentationTask(segmenter, depth=4)
