"""Points that are followed, and the SAM that they prompt."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from colours import Filling, frame, iou, masks
from numpy.typing import NDArray

from vosfm.peers import FlowPoints, Moved, PointTracker, SamPt
from vosfm.peers.sam_pt import REINIT

WALK = [{1: (12, 10 + 3 * t, 24), 2: (38, 60 - 2 * t, 20)} for t in range(8)]
FIRST = masks(WALK[0])


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> Filling:
    filling = Filling()
    monkeypatch.setattr("vosfm.peers.sam_pt.Sam", lambda prompter: filling)
    return filling


class Given(PointTracker):
    """Points that stand still; in some frames, some of them are not seen.

    Args:
        unseen: frame -> places of points that are not.
    """

    def __init__(self, unseen: dict[int, slice] | None = None, window: int = 2) -> None:
        self.unseen = unseen or {}
        self.window = window
        self.asked: list[tuple[int, int, int]] = []
        self.time = 0

    def __call__(self, frames: Sequence[NDArray[np.uint8]], past: Sequence[Moved]) -> Moved:
        self.time += 1
        self.asked.append((len(frames), len(past), len(past[-1].points)))
        visible = past[-1].visible.copy()
        visible[self.unseen.get(self.time, slice(0))] = False
        return Moved(past[-1].points, visible)


def _track(peer: SamPt, walk: Any, prompts: Any) -> list[Any]:
    return list(peer.track(map(frame, walk), prompts))


def test_follows_a_moving_texture(sam: Filling) -> None:
    given = {0: {1: FIRST[1]}, 2: {2: masks(WALK[2])[2]}}
    results = _track(SamPt(None, refinements=1), WALK, given)
    assert [r.object_ids for r in results] == [(1,), (1,)] + [(1, 2)] * 6
    for places, result in zip(WALK, results, strict=True):
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            assert iou(mask, masks(places)[object_id]) == 1
    assert results[-1].scores == pytest.approx(0.9)
    assert not np.array_equal(results[-1].masks[0], FIRST[1])


def test_asks_twice_and_refines(sam: Filling) -> None:
    prompts = {0: {1: FIRST[1], 2: FIRST[2]}}
    _track(SamPt(None, Given(), negatives=2, refinements=3), WALK[:1] * 2, prompts)
    one = sam.asked[:5]
    assert [a.labels.sum() for a in one] == [8] * 5
    assert [(a.labels == 0).sum() for a in one] == [0] + [2 + 8] * 4
    assert [a.mask is None for a in one] == [True] + [False] * 4
    assert [a.box for a in one] == [None] * 2 + [(10, 12, 33, 35)] * 3
    assert not any(a.several for a in one)
    x, y = one[1].points[one[1].labels == 0].astype(int).T
    assert not FIRST[1][y, x].any()
    assert FIRST[2][y[2:], x[2:]].all()  # the other object's points inside
    sam.asked.clear()
    _track(SamPt(None, Given(), others=False, negatives=0, refinements=0), WALK[:1] * 2, prompts)
    assert [(a.labels == 0).sum() for a in sam.asked] == [0, 0]


def test_is_lost_without_points_or_trust(sam: Filling) -> None:
    walk = WALK[:1] * 4
    results = _track(SamPt(None, Given({2: slice(0, 8)})), walk, {0: {1: FIRST[1]}})
    assert [bool(r.masks.any()) for r in results] == [True, True, False, False]
    assert [float(r.scores[0]) for r in results] == pytest.approx([1, 0.9, 0, 0])
    sam.quality = 0.69
    results = _track(SamPt(None, Given()), walk, {0: {1: FIRST[1]}})
    assert [bool(r.masks.any()) for r in results] == [True, False, False, False]
    assert _track(SamPt(None, Given(), quality=0.6), walk, {0: {1: FIRST[1]}})[3].masks.any()


def test_points_at_the_edge_are_not_seen(sam: Filling) -> None:
    edge = masks({1: (10, 0, 20)})[1] & (np.arange(96) < 1)
    walk = [{1: (10, 0, 20)}] * 2
    assert not _track(SamPt(None, Given(), quality=0), walk, {0: {1: edge}})[1].masks.any()
    peer = SamPt(None, Given(), quality=0, border=0)
    assert _track(peer, walk, {0: {1: edge}})[1].masks.any()


def test_points_are_chosen_anew(sam: Filling) -> None:
    """Points are lost now and then: in every third frame behind the first there are new ones."""
    prompts = {0: {1: FIRST[1]}}

    def visible(**arguments: Any) -> list[int]:
        sam.asked.clear()
        tracker = Given({3: slice(0, 6), 7: slice(0, 3), 8: slice(0, 6)})
        peer = SamPt(None, tracker, negatives=0, refinements=0, **arguments)
        _track(peer, WALK[:1] * 12, prompts)
        return [int(asked.labels.sum()) for asked in sam.asked]

    assert visible() == [8, 8, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert visible(renewal="horizon", horizon=4) == [8, 8, 2, 8, 8, 8, 5, 2, 2, 8, 8]


def test_the_frame_of_most_similar_area_is_taken(sam: Filling) -> None:
    """At the end of the horizon, points are those of the frame with the same area as at first."""
    sides = [24, 30, 25, 36, 44, 44]
    walk = [{1: (12, 10, side)} for side in sides]
    peer = SamPt(None, Given(), renewal="similar area", horizon=5, negatives=0, refinements=0)
    _track(peer, walk, {0: {1: FIRST[1]}})
    view = peer.look(frame(walk[2]), 2, None)
    expected = peer.begin(view, masks(walk[2])[1], 1).cloud.past[0].points
    assert np.array_equal(sam.asked[-1].points, expected)
    assert not np.array_equal(sam.asked[-2].points, expected)


def test_a_tracker_gets_the_window_that_it_wants(sam: Filling) -> None:
    tracker = Given(window=4)
    _track(SamPt(None, tracker, negatives=0), WALK[:1] * 6, {0: {1: FIRST[1]}})
    assert tracker.asked == [(2, 1, 8), (3, 2, 8), (4, 3, 8), (4, 3, 8), (4, 3, 8)]
    tracker = Given()
    prompts = {0: {1: FIRST[1], 2: FIRST[2]}}
    _track(SamPt(None, tracker, negatives=1), WALK[:1] * 3, prompts)
    assert tracker.asked == [(2, 1, 18)] * 2  # all objects in one call


def test_streams_in_bounded_memory(sam: Filling) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most: list[int] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for _ in range(12):
            one = frame(WALK[0])
            alive.append(weakref.ref(one))
            most.append(sum(ref() is not None for ref in alive))
            yield one

    peer = SamPt(None, Given(window=3), refinements=0, **{**REINIT, "negatives": 4})
    for _ in peer.track(frames(), {0: {1: FIRST[1]}}):
        pass
    assert max(most) <= 5


def test_arguments_out_of_range() -> None:
    for arguments in (
        {"positives": 0},
        {"negatives": -1},
        {"inside": "all"},
        {"renewal": "never"},
        {"horizon": 1},
    ):
        with pytest.raises(ValueError, match="give"):
            SamPt(None, FlowPoints(), **arguments)
