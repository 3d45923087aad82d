"""SAM 2 as the data engine asks it: the answers of a tracker's first frame, all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import tiny
from numpy.typing import NDArray
from sams import frame

from vosfm import InputError, Points, Segmenter, Tracker, zoo
from vosfm.collect.prompted_model import PromptedModel

SIZE = (48, 72)


def sam2(multimask_points: int = 1) -> Segmenter:
    """Small, of random weights, that sees something everywhere."""
    torch.manual_seed(0)
    encoder = {"embed_dim": 16, "stages": [1, 1, 2, 1], "global_blocks": [3]}
    segmenter = zoo.build(
        "sam2_1_tiny",
        encoder={"image_size": [64, 96], **encoder},
        decoder={"multimask_points": multimask_points},
    )
    torch.nn.init.constant_(segmenter.decoder.presence_head[-1].bias, 10.0)
    for network in segmenter.decoder.hyper:
        torch.nn.init.normal_(network[-1].weight, std=1.0)
    return segmenter.eval()


def queries(count: int, points: int) -> NDArray[np.float32]:
    chance = np.random.default_rng(1)
    return (chance.random((count, points, 2)) * (SIZE[1], SIZE[0])).astype(np.float32)


def as_given(query: NDArray[np.float32]) -> Points:
    return Points(tuple((float(x), float(y)) for x, y in query), (1,) * len(query))


@pytest.mark.parametrize(("points", "multimask_points"), [(1, 1), (5, 1), (5, 5)])
def test_the_best_is_what_a_tracker_sees(points: int, multimask_points: int) -> None:
    segmenter, asked = sam2(multimask_points), queries(5, points)
    model = PromptedModel(segmenter, batch=3)
    model.look(frame(*SIZE), 0)
    found = model.candidates(asked, 0.1)
    assert found.masks.shape == (5, 3, *SIZE)
    best = found.quality.argmax(1)
    for row, query in enumerate(asked):
        tracker = Tracker(segmenter, exclusive=False)
        (result,) = tracker.track([frame(*SIZE)], {0: {1: as_given(query)}})
        mask = found.masks[row, best[row]]
        assert 0.02 < mask.mean() < 0.98
        assert (result.masks[0] != mask).mean() < 0.002


def test_candidates_differ_and_nobody_repeats_an_answer() -> None:
    for points, multimask_points, several in [(1, 1, True), (5, 1, False), (5, 5, True)]:
        model = PromptedModel(sam2(multimask_points))
        model.look(frame(*SIZE), 0)
        found = model.candidates(queries(4, points), 0.1)
        assert found.masks[:, 0].any((1, 2)).all()
        assert (found.masks[:, 1:].any((2, 3)) == several).all()
        assert ((found.quality[:, 1:] > 0) == several).all()
        assert ((found.stability[:, 1:] > 0) == several).all()
        assert (found.masks[:, 0] != found.masks[:, 1]).any((1, 2)).all()


def test_what_is_not_there_is_empty_and_not_stable() -> None:
    segmenter = sam2()
    torch.nn.init.constant_(segmenter.decoder.presence_head[-1].bias, -100.0)
    model = PromptedModel(segmenter)
    model.look(frame(*SIZE), 0)
    found = model.candidates(queries(2, 1))
    assert not found.masks.any()
    assert (found.stability == 0).all()


def test_models_that_cannot_be_asked() -> None:
    with pytest.raises(InputError, match=r"the model takes masks, .* or a prompter"):
        PromptedModel(tiny())
    segmenter = sam2()
    segmenter.decoder.candidates = 1
    with pytest.raises(InputError, match="Sam2Decoder tells one mask of the same points"):
        PromptedModel(segmenter)
