"""Points of masks, and where they go."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vosfm.flow import Flow
from vosfm.peers import FlowPoints, Moved
from vosfm.peers.points import choose, medoids

SIZE = (64, 96)
RNG = np.random.default_rng


def _texture(shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    coarse = RNG(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    wide = cv2.resize(coarse, (200, 160), interpolation=cv2.INTER_CUBIC)
    top, left = 40 - shift[1], 40 - shift[0]
    return wide[top : top + SIZE[0], left : left + SIZE[1]]


def test_medoids_are_those_of_the_best_clusters() -> None:
    """Two blobs: of all pairs, the one with the least distances."""
    blobs = [(x, y) for x in range(4) for y in range(5)]
    blobs += [(x, y) for x in range(30, 35) for y in range(20, 23)]
    among = np.array(blobs, np.float32)
    apart = np.linalg.norm(among[:, None] - among, axis=2)
    best = min(combinations(range(len(among)), 2), key=lambda pair: apart[list(pair)].min(0).sum())
    for seed in range(4):
        found = medoids(among, 2, RNG(seed))
        cost = np.linalg.norm(among[:, None] - found, axis=2).min(1).sum()
        assert cost == pytest.approx(apart[list(best)].min(0).sum())


@pytest.mark.parametrize("how", ["kmedoids", "shi-tomasi", "random", "mixed"])
def test_points_lie_on_the_mask(how: str) -> None:
    mask = np.zeros(SIZE, bool)
    mask[10:50, 20:40] = True
    mask[20:40, 25:35] = False  # a ring: means of its pixels lie outside
    found = choose(mask, _texture(), 12, how, RNG(3))
    assert found.shape == (12, 2)
    x, y = found.astype(int).T
    assert mask[y, x].all()
    assert np.array_equal(found, choose(mask, _texture(), 12, how, RNG(3)))
    assert np.array_equal(choose(mask, _texture(), 0, how, RNG(3)), np.zeros((0, 2)))
    dot = np.zeros(SIZE, bool)
    dot[7, 8:10] = True
    assert choose(dot, _texture(), 12, how, RNG(3)).tolist() == [[8, 7], [9, 7]]


def test_corners_are_corners() -> None:
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[30:45, 50:70] = 255
    mask = np.zeros(SIZE, bool)
    mask[24:51, 44:76] = True
    found = choose(mask, picture, 4, "shi-tomasi", RNG(0))
    corners = np.array([(x, y) for x in (50, 69) for y in (30, 44)])
    assert np.linalg.norm(found[:, None] - corners, axis=2).min(0).max() < 2


def test_points_follow_a_texture() -> None:
    shift, start = (3, -2), np.array([[20, 20], [50.5, 30], [80, 50]], np.float32)
    tracker, moved = FlowPoints(), Moved(start, np.ones(3, bool))
    for step in range(1, 5):
        frames = [_texture((shift[0] * t, shift[1] * t)) for t in (step - 1, step)]
        moved = tracker(frames, [moved])
    assert moved.visible[:2].all()
    assert np.abs(moved.points - start - 4 * np.array(shift))[:2].max() < 0.5


class Scripted(Flow):
    """The right half moves by 10 pixels; the way back leads home above, and at the edge."""

    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow = np.zeros((*SIZE, 2), np.float32)
        if source[0, 0, 0] < target[0, 0, 0]:
            flow[:, 48:, 0] = 10
        else:
            flow[:32, 48:, 0] = flow[32:, 80:, 0] = -10
        return flow


def test_points_are_lost_where_the_way_back_leads_elsewhere() -> None:
    first, second = (np.full((*SIZE, 3), value, np.uint8) for value in (0, 9))
    start = np.array([[60, 10], [60, 50], [10, 50], [90, 10], [70, 10]], np.float32)
    seen = np.array([True, True, True, True, False])
    moved = FlowPoints(Scripted())([first, second], [Moved(start, seen)])
    assert moved.points.tolist() == [[70, 10], [70, 50], [10, 50], [100, 10], [80, 10]]
    assert moved.visible.tolist() == [True, False, True, False, False]
    trusting = FlowPoints(Scripted(), error=None)([first, second], [Moved(start, seen)])
    assert trusting.visible.tolist() == [True, True, True, False, False]
    with pytest.raises(ValueError, match="more than 0"):
        FlowPoints(error=0)
