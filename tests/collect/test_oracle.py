"""The oracle of the data engine: untidy in the ways it says, and the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from truths import boxes

from vosfm.collect.matching import ious, suppress
from vosfm.collect.oracle import Oracle
from vosfm.data.video import Mask

IMAGE = np.zeros((40, 50, 3), np.uint8)
TRUE = boxes([(2, 2, 30, 20)], [(4, 4, 10, 10)], [(20, 30, 15, 15)], [None])[0]
"""A whole, a part of it, another thing, and one that is out of sight."""
SEEN = TRUE[:3]


def oracle(**noise: Any) -> Oracle:
    ready = Oracle(lambda frame: TRUE, **noise)
    ready.look(IMAGE, 3)
    return ready


def pick(mask: Mask, count: int = 5, seed: int = 0) -> Any:
    y, x = np.nonzero(mask)
    chosen = np.random.default_rng(seed).choice(len(y), count, replace=False)
    return np.stack((x[chosen], y[chosen]), axis=1).astype(np.float32)


def test_without_noise_the_proposals_are_the_truth() -> None:
    assert np.array_equal(oracle(edge=0, duplicates=0).propose(IMAGE), SEEN)


def test_edges_are_noisy_and_masks_stay_what_they_are() -> None:
    proposed = [oracle(edge=2, duplicates=0, seed=s).propose(IMAGE) for s in range(10)]
    alike = np.array([ious(p, SEEN).diagonal() for p in proposed])
    assert alike.min() > 0.4
    assert (alike < 1).any()
    assert all((ious(p, SEEN).argmax(axis=1) == np.arange(3)).all() for p in proposed)


def test_duplicates_come_last_and_are_suppressed() -> None:
    twice = oracle(edge=1, duplicates=1.0).propose(IMAGE)
    assert len(twice) == 6
    assert suppress(twice, 0.7).tolist() == [0, 1, 2]


def test_some_are_dropped_and_some_invented() -> None:
    assert len(oracle(dropped=1.0).propose(IMAGE)) == 0
    assert len(oracle(dropped=1.0, false=4).propose(IMAGE)) == 4
    counts = [len(oracle(dropped=0.5, duplicates=0, seed=s).propose(IMAGE)) for s in range(40)]
    assert 1 < np.mean(counts) < 2


def test_the_true_mask_that_holds_the_points_is_among_three() -> None:
    for row in range(3):
        for seed in range(10):
            found = oracle(edge=0).candidates(pick(SEEN[row], seed=seed)[None])
            assert found.masks.shape == (1, 3, 40, 50)
            assert found.quality.shape == found.stability.shape == (1, 3)
            table = ious(found.masks[0], SEEN)
            assert table[:, row].max() == 1.0
            assert table[:, row].min() < 0.8, "and one that is wrong"


def test_a_part_is_told_from_its_whole_by_the_engine_not_by_the_points() -> None:
    found = oracle(edge=0).candidates(pick(SEEN[1])[None])
    assert ious(found.masks[0], SEEN[:2]).max(axis=0).tolist() == [1.0, 1.0]


def test_a_wrong_choice_is_possible() -> None:
    """Whoever trusts quality or stability, or the place of a candidate, errs at times."""
    points = np.stack([pick(SEEN[2], seed=s) for s in range(200)])
    found = oracle(edge=0, unstable=0.2).candidates(points)
    right = np.array([ious(masks, SEEN[2:])[:, 0].argmax() for masks in found.masks])
    for guess in (found.quality.argmax(axis=1), np.zeros(200, int)):
        assert 0.1 < (guess == right).mean() < 0.95
    assert found.stability[np.arange(200), right].min() < 0.95
    assert 0.1 < (found.stability <= 0.95).mean() < 0.3
    assert (oracle(unstable=0).candidates(points).stability > 0.95).all()


def test_equal_queries_are_answered_equally_whatever_came_before() -> None:
    points = np.stack([pick(SEEN[0], seed=s) for s in range(4)])
    all_at_once = oracle(edge=2).candidates(points)
    alone = [oracle(edge=2).candidates(p[None]) for p in points[::-1]][::-1]
    for query, one in enumerate(alone):
        assert np.array_equal(one.masks[0], all_at_once.masks[query])
        assert np.array_equal(one.stability[0], all_at_once.stability[query])
    others = [oracle(edge=2, seed=1), Oracle(lambda frame: TRUE, edge=2)]
    others[1].look(IMAGE, 4)
    for other in others:
        assert not np.array_equal(other.candidates(points).masks, all_at_once.masks)


def test_points_on_nothing_bring_something() -> None:
    found = oracle().candidates(np.array([[[48.0, 2.0]], [[60.0, -3.0]]], np.float32))
    assert found.masks.any(axis=(2, 3)).all()
    nothing = Oracle(lambda frame: TRUE[3:])
    nothing.look(IMAGE, 1)
    assert nothing.candidates(np.zeros((1, 2, 2), np.float32)).masks.any()


@pytest.mark.parametrize(
    "noise", [{"edge": -1}, {"duplicates": 1.2}, {"dropped": -0.1}, {"false": -1}, {"unstable": 2}]
)
def test_noise_out_of_range_is_refused(noise: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(noise))):
        oracle(**noise)
