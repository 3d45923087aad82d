"""PerSAM finds what looks like what was given, wherever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from colours import SIZE, Filling, frame, masks

from vosfm.peers import PerSam, PerSamF
from vosfm.peers.persam import VIDEO, pooled
from vosfm.peers.persam_f import VIDEO_F, learn

JUMPS = [
    {1: (4, 4, 16), 2: (40, 60, 20), 3: (8, 60, 12)},
    {1: (44, 70, 16), 2: (2, 2, 20), 3: (30, 40, 12)},
    {1: (10, 40, 16), 2: (42, 4, 20), 3: (44, 80, 12)},
]
"""Squares that are nowhere near where they were before."""


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> Filling:
    """The SAM that every PerSAM of a test asks."""
    filling = Filling()
    monkeypatch.setattr("vosfm.peers.persam.Sam", lambda prompter: filling)
    return filling


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(PerSam, {}), (PerSam, {"pooling": "mean and max"}), (PerSamF, {"steps": 10})],
    ids=["mean", "mean and max", "learned"],
)
def test_finds_objects_by_their_colour(sam: Filling, kind: Any, arguments: Any) -> None:
    first = masks(JUMPS[0])
    given = {0: {5: first[2], 6: first[3]}, 1: {7: masks(JUMPS[1])[1]}}
    results = list(kind(None, **arguments).track(map(frame, JUMPS), given))
    assert [r.object_ids for r in results] == [(5, 6), (5, 6, 7), (5, 6, 7)]
    assert np.array_equal(results[1].masks, [masks(JUMPS[1])[i] for i in (2, 3, 1)])
    assert np.array_equal(results[2].masks, [masks(JUMPS[2])[i] for i in (2, 3, 1)])
    assert results[2].scores == pytest.approx(0.9)


def test_asks_as_the_paper_has_it(sam: Filling) -> None:
    list(PerSam(None).track(map(frame, JUMPS[:2]), {0: {1: masks(JUMPS[0])[1]}}))
    first, refined, boxed = sam.asked
    inside = masks(JUMPS[1])[1]
    (x, y), (off_x, off_y) = first.points.astype(int)
    assert inside[y, x]
    assert not inside[off_y, off_x]
    assert first.labels.tolist() == [1, 0]
    assert (first.several, first.box, first.mask) == (False, None, None)
    assert first.guidance is not None
    attention = first.guidance.attention.reshape(SIZE).numpy()
    assert attention[inside].min() > attention[~inside].max()
    assert 0 <= attention.min() <= attention.max() <= 1
    feature = sam.look(frame(JUMPS[0])).embedding[0, :, 10, 10]
    assert torch.allclose(first.guidance.semantic, feature)
    assert (refined.several, refined.box, refined.guidance) == (True, None, None)
    assert np.array_equal(refined.mask > 0, inside)
    assert boxed.box == (70, 44, 85, 59)
    assert np.array_equal(boxed.mask > 0, inside)


def test_asks_as_its_authors_do_in_videos(sam: Filling) -> None:
    walk = [{1: (4, 4, 16)}, {1: (6, 8, 16)}, {1: (8, 12, 16)}]
    results = list(PerSam(None, **VIDEO).track(map(frame, walk), {0: {1: masks(walk[0])[1]}}))
    assert [np.array_equal(r.masks[0], masks(w)[1]) for r, w in zip(results, walk, strict=True)]
    assert sam.asked[0].box == (0, 0, 29, 29)  # of what was given
    first = sam.asked[3]  # of frame 2
    assert first.labels.tolist() == [1, 1, 1]
    assert first.box == (0, 0, 33, 31)  # of frame 1, 10 pixels wider, within the frame
    assert first.points[2].tolist() == [16, 15]
    assert first.several
    assert first.guidance.attention is None
    assert first.guidance.semantic is None
    assert (sam.asked[4].mask > 0).all()  # the largest of the three


def test_what_is_gone_has_an_empty_mask_and_is_found_again(sam: Filling) -> None:
    walk = [{1: (4, 4, 16)}, {}, {1: (8, 12, 16)}]
    for arguments in ({}, VIDEO):
        peer = PerSam(None, **arguments)
        results = list(peer.track(map(frame, walk), {0: {1: masks(walk[0])[1]}}))
        assert not results[1].masks.any()
        assert results[1].scores[0] == 0
        assert np.array_equal(results[2].masks[0], masks(walk[2])[1])


def test_exclusive_objects_share_no_pixel(sam: Filling) -> None:
    square = masks(JUMPS[0])[1]
    half = square & (np.arange(SIZE[1]) < 12)
    apart = list(PerSam(None).track(map(frame, JUMPS), {0: {1: half, 2: square & ~half}}))[1].masks
    assert not (apart[0] & apart[1]).any()
    assert np.array_equal(apart.any(0), masks(JUMPS[1])[1])
    peer = PerSam(None, exclusive=False)
    both = list(peer.track(map(frame, JUMPS), {0: {1: half, 2: square}}))[1].masks
    assert np.array_equal(both[0], both[1])


def test_the_feature_of_something_small_is_that_of_where_it_lies(sam: Filling) -> None:
    """At stride 16 no place is covered by half of it."""
    view = sam.look(frame(JUMPS[0]))
    coarse = torch.arange(24.0).reshape(1, 1, 4, 6)
    view = type(view)(view.image, {}, coarse, view.geometry)
    dot = np.zeros(SIZE, bool)
    dot[20:23, 34:37] = True
    assert pooled(view, dot, "mean").tolist() == [8.0]
    wide = np.zeros(SIZE, bool)
    wide[0:16, 0:40] = True  # two and a half places
    assert pooled(view, wide, "mean").tolist() == [1.0]
    assert pooled(view, wide, "mean and max").tolist() == [1.5]


@pytest.mark.parametrize("right", [0, 1, 2])
def test_learns_which_scale_is_meant(right: int) -> None:
    """Of three logits, one says the truth; the two others claim a part and far too much."""
    sizes = [4, 10, 24]
    y, x = np.mgrid[:48, :48] - 23.5
    inside = [np.maximum(abs(x), abs(y)) < size for size in sizes]
    logits = torch.tensor(np.stack(inside)) * 8.0 - 4
    logits[2] += 1 - torch.tensor(np.hypot(x, y)) / 12  # else their sum could be exact, too
    weights = learn(logits, torch.tensor(inside[right]), 150, 1e-2)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert weights.argmax() == right
    even = torch.full((3,), 1 / 3)
    found, before = (((w[:, None, None] * logits).sum(0) > 0).numpy() for w in (weights, even))
    wrong, wrong_before = (int((m != inside[right]).sum()) for m in (found, before))
    assert wrong == 0 or wrong < wrong_before


def test_learning_is_lasting_and_its_sum_prompts(sam: Filling) -> None:
    peer = PerSamF(None, **{**VIDEO_F, "steps": 60, "lr": 2e-2})
    with torch.inference_mode():  # as a caller may have it
        results = list(peer.track(map(frame, JUMPS[:2]), {0: {1: masks(JUMPS[0])[1]}}))
    learning, first, refined, boxed = sam.asked
    assert learning.several
    assert learning.box is not None
    assert first.labels.tolist() == [1, 1]
    inside = masks(JUMPS[1])[1]
    assert np.array_equal(refined.mask > 0, inside)  # weighted; unweighted it would be a part
    assert refined.box == boxed.box == (70, 44, 85, 59)
    assert np.array_equal(results[1].masks[0], inside)


def test_arguments_out_of_range() -> None:
    for arguments in ({"positives": 0}, {"negatives": -1}, {"pooling": "max"}, {"margin": -1}):
        with pytest.raises(ValueError, match="give"):
            PerSam(None, **arguments)
