"""Boxes and points on their way through models and trackers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from models import tiny, video
from torch import Tensor

import vosfm
from vosfm import Box, InputError, Points, Tracker
from vosfm.encoders import Encoder, SamViT
from vosfm.prompters import Prompter
from vosfm.types import Features

SIZE = (64, 96)
FRAMES = video(6, SIZE)


class Bright(Prompter):
    """Fills boxes where the frame, as its encoder or the model's prepares it, is bright."""

    def __init__(self, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.asked: list[Features] = []

    def forward(self, features: Features, given: Sequence[Box | Points]) -> Tensor:
        self.asked.append(features)
        height, width = features.geometry.content
        image = features.image[:, :, :height, :width].float().mean(1, keepdim=True)
        size = features.geometry.source
        bright = torch.nn.functional.interpolate(image, size, mode="bilinear")[0, 0]
        logits = torch.full((len(given), *size), -1.0)
        for index, box in enumerate(given):
            assert isinstance(box, Box)
            rows, columns = slice(int(box.y0), int(box.y1)), slice(int(box.x0), int(box.x1))
            logits[index, rows, columns] = bright[rows, columns] + 0.5
        return logits


def own_encoder() -> SamViT:
    return SamViT(64, 16, 1, 2, (0,), 3, 8).eval()


def found(prompter: Bright, box: Box) -> Tensor:
    """The mask that a prompter finds, asked directly."""
    frame = torch.from_numpy(FRAMES[0]).permute(2, 0, 1)[None].float() / 255
    encoder = prompter.encoder or tiny().encoder
    return prompter(encoder(frame), [box])[0] > 0


BOX = Box(8, 4, 50, 40)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("own", [True, False], ids=["its own encoder", "the model's encoder"])
def test_a_tracker_names_a_prompter(own: bool, precision: vosfm.tracker.Precision) -> None:
    """A box is as good as the mask that the prompter makes of it."""
    prompter = Bright(own_encoder() if own else None)
    mask = found(prompter, BOX)
    assert 0 < int(mask.sum()) < 42 * 36
    by_mask = Tracker(tiny(), precision=precision).track(FRAMES[:4], {0: {5: mask}})
    by_box = Tracker(tiny(), precision=precision, prompter=prompter).track(
        FRAMES[:4], {0: {5: BOX}}
    )
    for one, other in zip(by_mask, by_box, strict=True):
        assert one.object_ids == other.object_ids == (5,)
        assert np.array_equal(one.masks, other.masks)
    assert len(prompter.asked) == 2


def test_a_box_joins_while_others_are_tracked() -> None:
    prompter = Bright(own_encoder())
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[40:60, 60:90] = True
    tracker = Tracker(tiny(), prompter=prompter)
    results = list(tracker.track(FRAMES[:6], {0: {1: mask}, 3: {2: BOX}}))
    assert [r.object_ids for r in results] == [(1,)] * 3 + [(1, 2)] * 3
    assert results[3].masks[1].any()
    assert not (results[3].masks[1] & ~np.pad(np.ones((36, 42), bool), ((4, 24), (8, 46)))).any()
    assert len(prompter.asked) == 1


@pytest.mark.parametrize("how", ["plain", "fused", "augmented"])
def test_a_model_has_a_prompter(how: str) -> None:
    parts = tiny()
    prompter = Bright()
    segmenter = vosfm.Segmenter(
        parts.encoder, parts.mask_encoder, parts.memory, parts.decoder, prompter
    ).eval()
    mask = found(prompter, BOX)
    if how == "fused":
        segmenter = vosfm.fuse(segmenter)
    if how == "augmented":
        segmenter = vosfm.augment(segmenter, (1.0, 1.5), flip=True)
    result = next(Tracker(segmenter).track(FRAMES[:1], {0: {5: BOX}}))
    assert np.array_equal(result.masks[0], mask.numpy())
    assert result.object_ids == (5,)


def test_the_trackers_prompter_goes_before_the_models() -> None:
    parts, first, second = tiny(), Bright(), Bright(own_encoder())
    segmenter = vosfm.Segmenter(
        parts.encoder, parts.mask_encoder, parts.memory, parts.decoder, first
    )
    next(Tracker(segmenter, prompter=second).track(FRAMES[:1], {0: {5: BOX}}))
    assert len(second.asked) == 1
    assert not first.asked


def test_a_prompter_with_an_encoder_is_no_part_of_a_model() -> None:
    parts = tiny()
    with pytest.raises(InputError, match=r"give one with an encoder of its own to Tracker"):
        vosfm.Segmenter(
            parts.encoder, parts.mask_encoder, parts.memory, parts.decoder, Bright(own_encoder())
        )


def test_errors_name_the_frame() -> None:
    tracker = Tracker(tiny(), prompter=Bright(own_encoder()))
    mask = torch.ones(SIZE, dtype=torch.bool)
    with pytest.raises(InputError, match=r"frame 2, object 4: box .* leaves the frame"):
        list(tracker.track(FRAMES[:4], {0: {1: mask}, 2: {4: Box(0, 0, 97, 10)}}))
    with pytest.raises(InputError, match="frame 0, object 4: this model takes masks, not points"):
        list(Tracker(tiny()).track(FRAMES[:2], {0: {4: Points(((1.0, 1.0),), (1,))}}))
