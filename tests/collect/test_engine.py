"""The steps of the data engine one by one, and what following promises."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from truths import boxes

from vosfm.collect.following import TrackedMask, follow
from vosfm.collect.matching import Shape, ious, likeness, limit, suppress
from vosfm.collect.oracle import Oracle
from vosfm.collect.prompting import Candidates, PromptedSegmenter
from vosfm.collect.sampling import carried, places, sample
from vosfm.collect.settings import PRESETS, Settings
from vosfm.collect.warping import trusted
from vosfm.data.video import Image, Mask
from vosfm.errors import InputError
from vosfm.flow import Flow, pull

PAPER, OFFICIAL = PRESETS["paper"], PRESETS["official"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Drift(Flow):
    """Everything moves by so many pixels to the right, and nothing at all back and forth."""

    def __init__(self, pixels: float) -> None:
        self.pixels = pixels
        self.asked = 0

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        flow = np.zeros((*source.shape[:2], 2), np.float32)
        flow[..., 0] = self.pixels if source[0, 0, 0] < target[0, 0, 0] else -self.pixels
        self.asked += 1
        return flow


def frames(count: int, size: tuple[int, int] = (40, 50)) -> Iterator[Image]:
    """Pictures whose brightness tells which is the later one."""
    for index in range(count):
        yield np.full((*size, 3), index, np.uint8)


def drifting(count: int, step: int = 3) -> Mask:
    """(T, 2, H, W): two squares that move to the right."""
    return boxes(
        [(5, 2 + step * t, 10, 10) for t in range(count)],
        [(25, 4 + step * t, 8, 8) for t in range(count)],
    )


def test_only_what_can_come_from_a_box_is_warped() -> None:
    """The whole frame, warped at once, is the same."""
    chance = rng()
    for trial in range(60):
        height, width = (int(n) for n in chance.integers(3, 90, 2))
        coarse = chance.normal(0, 6, (4, 4, 2)).astype(np.float32)
        flow = cv2.resize(coarse, (width, height))
        flow += chance.normal(0, 4.0 * (trial % 3 == 0), flow.shape).astype(np.float32)
        if trial % 5 == 0:
            flow = np.round(2 * flow) / 2  # ties
        masks = np.zeros((3, height, width), bool)
        top, left = int(chance.integers(height)), int(chance.integers(width))
        masks[0, top:, left:] = chance.random((height - top, width - left)) < 0.8
        masks[1, : top + 1, : left + 1] = True
        y, x = np.mgrid[:height, :width].astype(np.float32)
        whole = [
            cv2.remap(m.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
            for m in masks
        ]
        assert np.array_equal(pull(masks, flow), np.stack(whole) > 0.5)


def test_nothing_is_warped_to_nothing() -> None:
    assert pull(np.zeros((0, 8, 9), bool), np.zeros((8, 9, 2), np.float32)).shape == (0, 8, 9)


def test_a_flow_that_does_not_come_back_is_not_trusted() -> None:
    there, back = np.zeros((2, 8, 20, 2), np.float32)
    there[:, :10, 0], back[..., 0] = 4.0, -4.0
    ok = trusted(there, back, 3.0)
    assert ok[:, :10].all()
    assert not ok[:, 10:].any()
    assert trusted(there, back, 4.1).all()


def test_random_points_are_different_pixels_of_the_mask() -> None:
    mask = boxes([(3, 4, 5, 6)])[0, 0]
    among = places(mask)
    drawn = sample(among, 12, "random", rng())
    assert drawn.shape == (12, 2)
    assert drawn.dtype == np.float32
    x, y = drawn.astype(int).T
    assert mask[y, x].all()
    assert len(set(zip(x, y, strict=True))) == 12
    assert not np.array_equal(drawn, sample(among, 12, "random", rng(1)))


@pytest.mark.parametrize("sampling", ["random", "kmeans"])
def test_all_points_where_there_are_few(sampling: str) -> None:
    among = places(boxes([(3, 4, 1, 3)])[0, 0])
    assert sample(among, 5, sampling, rng()).tolist() == [[4, 3], [5, 3], [6, 3]]


def test_centres_of_clusters_lie_apart() -> None:
    """Of four squares, one point each; whatever OpenCV's own chance is."""
    mask = np.zeros((200, 200), bool)
    corners = [(0, 0), (0, 150), (150, 0), (150, 150)]
    for top, left in corners:
        mask[top : top + 41, left : left + 41] = True
    found = []
    for seed in (3, 4):
        cv2.setRNGSeed(seed)
        found.append(sample(places(mask), 4, "kmeans", rng(1)))
    assert np.array_equal(*found)
    middles = {(left + 20, top + 20) for top, left in corners}
    for middle in middles:
        assert np.linalg.norm(found[0] - middle, axis=1).min() < 3


def test_points_go_with_the_flow_as_far_as_the_frame() -> None:
    flow = np.zeros((6, 10, 2), np.float32)
    flow[..., 0], flow[2] = 3.5, np.nan
    mask = np.zeros((6, 10), bool)
    mask[1:3, 4:9] = True
    assert carried(places(mask), flow).tolist() == [[7.5, 1], [8.5, 1]]


def test_overlaps_are_those_of_all_pixels() -> None:
    chance = rng(2)
    masks = chance.random((6, 30, 33)) < 0.4
    masks[1, 5:], masks[2, :, 3:], masks[3] = False, False, False
    flat = masks.reshape(6, -1).astype(int)
    shared = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1) - shared
    expected = np.divide(shared, union, out=np.zeros((6, 6)), where=union > 0)
    assert np.allclose(ious(masks, masks), expected)
    ok = chance.random((30, 33)) < 0.7
    for one, mask in enumerate(masks):
        same = [(mask & m & ok).sum() / max(1, (mask | (m & ok)).sum()) for m in masks]
        assert np.allclose(likeness(Shape(masks[one]), masks, ok), same)
        assert np.allclose(likeness(Shape(masks[one]), masks, None), expected[one])


@pytest.mark.parametrize("bound", [0.3, 0.5, 0.7])
def test_a_mask_stays_unless_one_before_is_like_it(bound: float) -> None:
    chance = rng(3)
    corners = chance.integers(0, 14, (40, 2))
    masks = boxes(*[[(int(y), int(x), 12, 14)] for y, x in corners])[0]
    table = ious(masks, masks) > bound
    expected = [n for n in range(40) if not table[n, :n].any()]
    assert 1 < len(expected) < 40
    assert suppress(masks, bound).tolist() == expected


def test_large_proposals_are_kept_and_small_ones_drawn() -> None:
    areas = np.array([5, 500, 6, 7, 300, 8, 400])
    kept = [limit(areas, 5, 100, rng(seed)).tolist() for seed in range(20)]
    assert all(len(k) == 5 and {1, 4, 6} < set(k) and k == sorted(k) for k in kept)
    assert {n for k in kept for n in k} == set(range(7))
    assert limit(areas, 7, 100, rng()).tolist() == list(range(7))


def test_the_largest_proposals_are_kept_where_too_many_are_large() -> None:
    assert limit(np.array([5, 500, 300, 400]), 2, 100, rng()).tolist() == [1, 3]


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL, replace(OFFICIAL, sampling="kmeans")])
def test_tracks_of_what_moves_as_the_flow_says(settings: Settings) -> None:
    truth = drifting(8)
    oracle = Oracle(lambda t: truth[t], edge=0, duplicates=0, unstable=0)
    found = list(follow(frames(8), oracle, oracle, Drift(3), settings, 0))
    for t, tracks in enumerate(found):
        assert [track.id for track in tracks] == [0, 1]
        for track, true in zip(tracks, truth[t], strict=True):
            assert np.array_equal(track.mask, true)
            assert track.iou == 1.0
            if t == 0:
                assert track.points is None
            else:
                assert track.points is not None
                assert track.points.shape == (5, 2)


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL])
def test_a_track_that_leaves_is_lost_for_good(settings: Settings) -> None:
    """The first square leaves to the right; later, one is again where it was."""
    truth = np.concatenate([drifting(6, 12), drifting(6, 12)[::-1]])
    oracle = Oracle(lambda t: truth[t], edge=0, duplicates=0, unstable=0)
    flow = Drift(12)
    looks: list[int] = []
    look = oracle.look
    oracle.look = lambda image, frame: (looks.append(frame), look(image, frame))[1]  # type: ignore[func-returns-value,assignment,method-assign]
    found = list(follow(frames(12), oracle, oracle, flow, settings, 0))
    ids = [[track.id for track in tracks] for tracks in found]
    assert ids == [[0, 1]] * 4 + [[]] * 8
    assert max(looks) <= 4, "nobody asks once all are lost"
    assert flow.asked <= 2 * 4


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL])
def test_a_track_keeps_its_id_when_others_are_lost(settings: Settings) -> None:
    """The first of two squares leaves to the right, frames before the second would."""
    truth = boxes(
        [(5, 30 + 6 * t, 10, 10) for t in range(6)],
        [(25, 4 + 6 * t, 8, 8) for t in range(6)],
    )
    oracle = Oracle(lambda t: truth[t], edge=0, duplicates=0, unstable=0)
    found = list(follow(frames(6), oracle, oracle, Drift(6), settings, 0))
    assert [[track.id for track in tracks] for tracks in found] == [[0, 1]] * 4 + [[1]] * 2
    assert all(np.array_equal(tracks[-1].mask, truth[t, 1]) for t, tracks in enumerate(found))


def test_every_track_and_frame_has_a_chance_of_its_own() -> None:
    """Two tracks of the same mask, which does not move."""
    masks = boxes([(5, 5, 20, 20)], [(5, 5, 20, 20)])[0]
    oracle = Oracle(lambda t: masks, edge=0, duplicates=0)
    found = list(follow(frames(4), oracle, oracle, Drift(0), PAPER, 0))
    points = [track.points for tracks in found[1:] for track in tracks]
    assert len({p.tobytes() for p in points if p is not None}) == 6


class Fixed(PromptedSegmenter):
    """One candidate, whatever is asked; it notes the offsets."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self.offsets: set[float] = set()

    def look(self, image: Image, frame: int) -> None:
        pass

    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        self.offsets.add(offset)
        ones = np.ones((len(points), 1), np.float32)
        return Candidates(np.stack([self._mask] * len(points)), ones, ones)


class Folded(Flow):
    """What is in columns 20 to 30 goes to 30 to 40, and from there back; all else stays."""

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        flow = np.zeros((*source.shape[:2], 2), np.float32)
        if source[0, 0, 0] < target[0, 0, 0]:
            flow[:, 20:30, 0] = 10
        else:
            flow[:, 30:40, 0] = -10
        return flow


@pytest.mark.parametrize(("bound", "iou"), [(3.0, 1.0), (None, 0.5)])
def test_candidates_are_compared_where_the_way_back_is_trusted(
    bound: float | None, iou: float
) -> None:
    """Columns 20 to 30 are uncovered: of this frame they cannot be trusted, of the last they can.

    The object becomes twice as wide, into what is uncovered.
    """
    masks = boxes([(5, 10, 10, 10), (5, 10, 10, 20)])
    oracle = Oracle(lambda t: masks[t], edge=0, duplicates=0, unstable=0)
    settings = replace(OFFICIAL, cycle_error=bound, draws=1, acceptance=())
    _, (track,) = follow(frames(2), oracle, Fixed(masks[1]), Folded(), settings, 0)
    assert track.iou == iou


def test_nothing_proposed_is_nothing_followed() -> None:
    oracle = Oracle(lambda t: np.zeros((2, 40, 50), bool))
    assert list(follow(frames(3), oracle, oracle, Drift(1), OFFICIAL, 0)) == [[], [], []]


def same(one: list[list[TrackedMask]], other: list[list[TrackedMask]]) -> bool:
    return all(
        len(a) == len(b)
        and all(
            x.id == y.id and x.iou == y.iou and np.array_equal(x.mask, y.mask)
            and (x.points is y.points or np.array_equal(x.points, y.points))  # type: ignore[arg-type]
            for x, y in zip(a, b, strict=True)
        )
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL])
def test_equal_seeds_and_any_chunk_give_equal_tracks(settings: Settings) -> None:
    truth = drifting(6)

    def found(seed: int, chunk: int) -> list[list[TrackedMask]]:
        oracle = Oracle(lambda t: truth[t], edge=2)
        own = replace(settings, chunk=chunk)
        return list(follow(frames(6), oracle, oracle, Drift(3), own, seed))

    assert same(found(1, 64), found(1, 64))
    assert same(found(1, 64), found(1, 3))
    assert not same(found(1, 64), found(2, 64))


class Counting(PromptedSegmenter):
    """Candidates that never suit; it notes how many queries came at a time, of how many points."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def look(self, image: Image, frame: int) -> None:
        pass

    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        self.batches.append(points.shape[:2])
        ones = np.ones((len(points), 3), np.float32)
        return Candidates(np.ones((len(points), 3, 40, 50), bool), ones, ones)


def test_queries_come_in_batches_of_a_chunk_at_most() -> None:
    """Two tracks with many pixels, one with three: 5 rounds of 5 draws each."""
    masks = boxes([(5, 5, 10, 10)], [(25, 5, 8, 8)], [(25, 30, 1, 3)])
    counting = Counting()
    oracle = Oracle(lambda t: masks[0], edge=0, duplicates=0)
    settings = replace(OFFICIAL, chunk=4, cycle_error=None)
    _, second = follow(frames(2), oracle, counting, Drift(0), settings, 0)
    assert len(second) == 3, "the last round accepts anything"
    one_round = [(4, 5), (4, 5), (2, 5), (4, 3), (1, 3)]
    assert sorted(counting.batches) == sorted(one_round * 5)


def test_candidates_that_are_not_trusted_do_not_count() -> None:
    """Of a candidate, what the flow cannot vouch for is left out before it is compared."""
    warped = Shape(boxes([(5, 5, 10, 10)])[0, 0])
    wider = boxes([(5, 5, 10, 20)])[0]
    ok = np.ones((40, 50), bool)
    assert likeness(warped, wider, ok)[0] == 0.5
    ok[:, 15:] = False
    assert likeness(warped, wider, ok)[0] == 1.0
    ok[:, 10:] = False
    assert likeness(warped, wider, ok)[0] == 0.5, "the warped mask counts as it is"


def test_the_offset_of_the_stability_reaches_the_segmenter() -> None:
    masks = boxes([(5, 5, 10, 10)])[0]
    oracle, fixed = Oracle(lambda t: masks), Fixed(masks)
    settings = replace(OFFICIAL, stability_offset=0.5)
    assert len(list(follow(frames(2), oracle, fixed, Drift(0), settings, 0))[1]) == 1
    assert fixed.offsets == {0.5}


def test_an_empty_candidate_is_no_mask() -> None:
    masks = boxes([(5, 5, 10, 10)])[0]
    oracle = Oracle(lambda t: masks, duplicates=0)
    fixed = Fixed(np.zeros_like(masks))
    assert list(follow(frames(2), oracle, fixed, Drift(0), PAPER, 0))[1] == []


def test_two_frames_are_held() -> None:
    alive: list[weakref.ref[Image]] = []

    def watched() -> Iterator[Image]:
        for frame in frames(6):
            own = frame.copy()
            alive.append(weakref.ref(own))
            yield own
            del own

    truth = drifting(6)
    oracle = Oracle(lambda t: truth[t])
    for _ in follow(watched(), oracle, oracle, Drift(3), PAPER, 0):
        assert sum(ref() is not None for ref in alive) <= 2


def test_a_frame_of_another_size_is_named() -> None:
    oracle = Oracle(lambda t: drifting(1)[0])
    clip = [*frames(1), *frames(1, (40, 60))]
    with pytest.raises(InputError, match="frame 1 measures"):
        list(follow(clip, oracle, oracle, Drift(0), PAPER, 0))
