"""Of all that is proposed, what is most like the mask before."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from colours import SIZE, Regions, frame, iou, masks
from numpy.typing import NDArray

from vosfm.collect.prompting import Proposer
from vosfm.errors import InputError
from vosfm.peers import GridIou

WALK = [{1: (20, 10 + 4 * t, 16), 2: (22, 70 - 4 * t, 16), 3: (44, 4, 16)} for t in range(8)]
"""Two squares that meet, the second in front of the first, and one that stays."""


def test_follows_one_square_among_others() -> None:
    given = {0: {7: masks(WALK[0])[1]}}
    results = list(GridIou(Regions()).track(map(frame, WALK), given))
    assert [r.frame for r in results] == list(range(8))
    for places, result in zip(WALK, results, strict=True):
        assert result.object_ids == (7,)
        assert np.array_equal(result.masks[0], masks(places)[1])
    assert results[0].scores[0] == 1
    assert results[1].scores[0] == pytest.approx(iou(masks(WALK[0])[1], masks(WALK[1])[1]))


def test_what_overlaps_most_is_followed_even_where_it_is_wrong() -> None:
    """It has no memory but the last mask: a square that jumps is lost to what lies there now."""
    jump = [{1: (20, 10, 16)}, {1: (20, 60, 16), 2: (22, 12, 16)}]
    results = list(GridIou(Regions()).track(map(frame, jump), {0: {1: masks(jump[0])[1]}}))
    assert np.array_equal(results[1].masks[0], masks(jump[1])[2])


def test_an_object_joins_later_and_another_is_lost_and_found() -> None:
    walk = [dict(places) for places in WALK[:5]]
    del walk[2][3]
    given = {0: {3: masks(walk[0])[3]}, 1: {1: masks(walk[1])[1]}}
    results = list(GridIou(Regions()).track(map(frame, walk), given))
    assert [r.object_ids for r in results] == [(3,), (3, 1), (3, 1), (3, 1), (3, 1)]
    assert not results[2].masks[0].any()
    assert results[2].scores[0] == 0
    assert np.array_equal(results[3].masks[0], masks(walk[3])[3])
    assert np.array_equal(results[4].masks[1], masks(walk[4])[1])
    for_good = list(GridIou(Regions(), recovers=False).track(map(frame, walk), given))
    assert not for_good[3].masks[0].any()


def test_objects_exclude_each_other_or_overlap() -> None:
    """Both take the same region; the more similar one has it, where there can be but one."""
    here, there = masks({1: (20, 20, 16)})[1], masks({1: (20, 26, 16)})[1]
    walk = [{}, {1: (20, 22, 16)}]
    given = {0: {1: here, 2: there & ~here}}
    apart = list(GridIou(Regions()).track(map(frame, walk), given))[1].masks
    assert np.array_equal(apart[0], masks(walk[1])[1])
    assert not apart[1].any()
    given = {0: {1: here, 2: there}}
    together = list(GridIou(Regions(), exclusive=False).track(map(frame, walk), given))[1].masks
    assert np.array_equal(together[0], together[1])
    with pytest.raises(InputError, match="overlap"):
        list(GridIou(Regions()).track(map(frame, walk), given))


def test_a_given_mask_displaces_what_was_found() -> None:
    walk = [{1: (20, 20, 16)}, {1: (20, 20, 16)}]
    corner = masks({1: (20, 20, 8)})[1]
    given = {0: {1: masks(walk[0])[1]}, 1: {2: corner}}
    result = list(GridIou(Regions()).track(map(frame, walk), given))[1]
    assert np.array_equal(result.masks, [masks(walk[1])[1] & ~corner, corner])


class Fresh(Proposer):
    """Nothing is ever seen."""

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.zeros((0, *SIZE), bool)


def test_streams_in_bounded_memory() -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal most
        for _ in range(20):
            one = frame(WALK[0])
            alive.append(weakref.ref(one))
            most = max(most, sum(ref() is not None for ref in alive))
            yield one

    results = GridIou(Regions()).track(frames(), {2: {1: masks(WALK[0])[1]}})
    assert next(results).object_ids == ()
    assert len(alive) == 1
    for _ in results:
        pass
    assert most <= 3


def test_what_does_not_fit_is_told() -> None:
    square, peer = masks(WALK[0])[1], GridIou(Fresh())
    for prompts, text in (
        ({}, "nothing to track"),
        ({3: {1: square}}, "prompt for frame 3"),
        ({0: {1: square[:8]}}, "resize the mask"),
        ({0: {1: square & False}}, "the mask is empty"),
    ):
        with pytest.raises(InputError, match=text):
            list(peer.track([frame(WALK[0])] * 2, prompts))
    uneven = [frame(WALK[0]), frame(WALK[0])[:32]]
    with pytest.raises(InputError, match="frame 1 is 32x96, the stream 64x96"):
        list(peer.track(uneven, {0: {1: square}}))
    with pytest.raises(InputError, match="prompt for frame 5"):
        list(peer.track(iter(uneven[:1]), {5: {1: square}}))
    assert not list(peer.track(map(frame, WALK), {0: {1: square}}))[1].masks.any()
