"""SAM 2 as a user meets it: prompts of every kind, in any frame, of objects that know no others."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from models import square, video

from vosfm import Box, InputError, Points, Result, Segmenter, Tracker, zoo
from vosfm.candidate_loss import CandidateLoss
from vosfm.search import MemoryTree
from vosfm.types import Clip

SMALL = {"embed_dim": 16, "stages": [1, 1, 2, 1], "global_blocks": [3]}
INSIDE = Points(((12.0, 9.0),), (1,))
OUTSIDE = Points(((60.0, 50.0),), (0,))


@pytest.fixture(scope="module")
def sam2() -> Segmenter:
    """Small, of random weights, on frames that are not square."""
    torch.manual_seed(0)
    return zoo.build("sam2_1_tiny", encoder={"image_size": [64, 96], **SMALL}).eval()


def track(
    segmenter: Segmenter, prompts: dict[int, Any], search: Any = None, exclusive: bool = False
) -> list[Result]:
    return list(Tracker(segmenter, search, exclusive).track(video(7), prompts))


@pytest.mark.parametrize("search", [None, MemoryTree(uncertainty_threshold=1e6)])
def test_an_object_does_not_know_of_others(sam2: Segmenter, search: Any) -> None:
    """Given at once, joining, given again: as if alone, up to the rounding of larger batches."""
    own: dict[int, dict[int, Any]] = {
        1: {0: square(0, 0), 4: INSIDE},
        2: {0: Box(20, 10, 70, 50)},
        3: {3: Points(((30.0, 30.0), (5.0, 5.0)), (1, 0))},
    }
    frames = {frame for given in own.values() for frame in given}
    together = {f: {i: given[f] for i, given in own.items() if f in given} for f in frames}
    results = track(sam2, together, search)
    for object_id, given in own.items():
        alone = track(sam2, {frame: {object_id: one} for frame, one in given.items()}, search)
        for ours, theirs in zip(results, alone, strict=True):
            if not theirs.object_ids:
                assert object_id not in ours.object_ids
                continue
            column = ours.object_ids.index(object_id)
            differing = ours.masks[column] != theirs.masks[0]
            assert differing.mean() < 0.002
            assert ours.scores[column] == pytest.approx(theirs.scores[0], abs=1e-3)


def test_objects_that_exclude_each_other_share_no_pixel(sam2: Segmenter) -> None:
    prompts = {0: {1: Box(0, 0, 60, 60), 2: Box(10, 10, 90, 60)}}
    alone = track(sam2, prompts)
    both = track(sam2, prompts, exclusive=True)
    assert any((result.masks.sum(0) > 1).any() for result in alone), "boxes overlap"
    for result, free in zip(both, alone, strict=True):
        assert not (result.masks.sum(0) > 1).any()
        assert (result.masks.any(0) == free.masks.any(0)).all()


def test_a_correction_is_made_on_top_of_what_was_tracked(sam2: Segmenter) -> None:
    first = {0: {1: square(0, 0)}}
    plain = track(sam2, first)
    corrected = track(sam2, first | {3: {1: OUTSIDE}})
    assert all((a.masks == b.masks).all() for a, b in zip(plain[:3], corrected[:3], strict=True))
    assert (plain[3].masks != corrected[3].masks).any()
    with pytest.raises(InputError, match="frame 0, object 1: no point lies inside"):
        track(sam2, {0: {1: OUTSIDE}})
    # The same points without a past are decoded otherwise: what was tracked is a part of them.
    both = Points((*INSIDE.xy, *OUTSIDE.xy), (1, 0))
    anew = track(sam2, {3: {1: both}})
    again = track(sam2, first | {3: {1: both}})
    assert (anew[3].masks != again[3].masks).any()


def test_a_box_with_points_is_more_than_the_box(sam2: Segmenter) -> None:
    box = Box(10, 10, 60, 50)
    (alone, *_), (both, *_) = (
        track(sam2, {0: {1: given}}) for given in (box, Points(OUTSIDE.xy, OUTSIDE.labels, box))
    )
    assert (alone.masks != both.masks).any()


def test_what_each_object_was_given_in_is_its_own(sam2: Segmenter) -> None:
    tracker = Tracker(sam2, exclusive=False)
    prompts = {0: {1: square(0, 0)}, 2: {2: square(30, 40)}, 4: {1: INSIDE}}
    list(tracker.track(video(7), prompts))
    assert tracker.state is not None
    prompted, recent = (tracker.state.banks[name] for name in ("prompted", "recent"))
    assert prompted.valid is not None
    times = [
        bank.time[0, row][bank.valid[0, row] if bank.valid is not None else slice(None)].tolist()
        for bank in (prompted, recent)
        for row in range(2)
    ]
    assert times == [[0, 4], [2], [1, 2, 3, 5, 6], [3, 4, 5, 6]]


def test_a_frame_is_encoded_once(sam2: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    extract = sam2.encoder.extract

    def watched(image: torch.Tensor) -> Any:
        seen.append(tuple(image.shape))
        return extract(image)

    monkeypatch.setattr(sam2.encoder, "extract", watched)
    search = MemoryTree(uncertainty_threshold=1e6)
    prompts = {0: {1: square(0, 0), 2: square(30, 40)}, 3: {1: INSIDE, 3: INSIDE}}
    track(sam2, prompts, search)
    assert seen == [(1, 3, 64, 96)] * 7


def test_a_limit_foresees_all_pathways(sam2: Segmenter) -> None:
    prompts = {0: {1: square(0, 0), 2: square(30, 40)}}
    search = MemoryTree(uncertainty_threshold=1e6)
    tracker = Tracker(sam2, search, exclusive=False)
    list(tracker.track([*video(7), *video(9, seed=1)], prompts))
    assert tracker.state is not None
    assert tracker.state.objects.count == 2 * 3
    held = sum(
        leaf.nbytes for contents in tracker.state.banks.values() for leaf in contents.rows.values()
    )
    with pytest.raises(InputError, match="frame 0: the memory of 2 objects"):
        list(Tracker(sam2, search, False, memory_limit=held - 1).track(video(2), prompts))
    roomy = Tracker(sam2, search, False, memory_limit=int(1.1 * held))
    assert len(list(roomy.track(video(7), prompts))) == 7


def test_masks_of_objects_that_are_not_seen_are_empty(sam2: Segmenter) -> None:
    bias = sam2.decoder.presence_head[-1].bias
    with torch.no_grad():
        before = bias.clone()
        bias.fill_(-100.0)
    try:
        results = track(sam2, {0: {1: square(0, 0)}})
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert np.array_equal(results[0].masks[0], square(0, 0))
    assert not any(result.masks.any() for result in results[1:])
    assert all(result.scores[0] == 0 for result in results[1:])


def test_every_weight_that_trains_takes_part(sam2: Segmenter) -> None:
    """Processes that train together wait for the gradient of every one of them."""
    masks = torch.zeros(2, 3, 2, 64, 96, dtype=torch.bool)
    masks[:, :, 0, 8:40, 4:30] = True
    clip = Clip(torch.rand(2, 3, 3, 64, 96), masks, torch.ones(2, 2, dtype=torch.bool))
    trained = deepcopy(sam2).train()
    CandidateLoss()(trained(clip, feed="prediction"), clip, 0.0).backward()
    parameters = dict(trained.named_parameters())
    assert not [n for n, p in parameters.items() if p.requires_grad and p.grad is None]
    assert not [n for n, p in parameters.items() if n.startswith("encoder") and p.requires_grad]
    assert all(bool(p.grad.isfinite().all()) for p in parameters.values() if p.grad is not None)
