"""What single frames show sets right what a model propagates."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from colours import SIZE, Regions, frame, iou, masks
from numpy.typing import NDArray
from scripted import Eye, Last, Whole

from vosfm import InputError, Segmenter
from vosfm.collect.matching import ious
from vosfm.decoders import Decoder
from vosfm.flow import Flow
from vosfm.memory import Local, Memory
from vosfm.peers import Deva, consensus
from vosfm.types import Decoded, Features, Objects, Readout


class Repeats(Decoder):
    """Sees what it remembers."""

    embedding, readouts, stride, candidates, presence = 3, (1,), 1, 1, False
    skips: Mapping[int, int] = {}

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        (maps,) = readout.maps
        return Decoded(maps * 20 - 10)


def repeating() -> Segmenter:
    return Segmenter(Eye(), Whole(), Memory({"local": Local()}, Last()), Repeats()).eval()


WALK = [{1: (12, 10 + t, 24), 2: (38, 60 - t, 20)} for t in range(13)]
FIRST = masks(WALK[0])


def _track(peer: Deva, walk: Sequence[Any], prompts: Any) -> list[Any]:
    return list(peer.track(map(frame, walk), prompts))


def test_consensus_drops_what_one_frame_alone_shows() -> None:
    a, b, c = (masks({1: place})[1] for place in ((0, 0, 20), (30, 30, 20), (40, 70, 15)))
    moved = masks({1: (1, 0, 20)})[1]
    found = consensus([np.stack([a, b]), np.stack([moved]), np.stack([c, b])])
    assert {tuple(mask.sum((0, 1), keepdims=True).ravel()) for mask in found} == {(400,)}
    assert len(found) == 2
    assert sorted(iou(mask, b) for mask in found) == [0, 1]


def test_consensus_is_worth_most_of_all() -> None:
    """Against every subset, on segments that are alike in chains."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        lefts = np.split(rng.permutation(30)[:7], np.sort(rng.choice(6, 2, replace=False)) + 1)
        frames = [np.stack([masks({1: (20, int(left), 16)})[1] for left in some]) for some in lefts]
        everything = np.concatenate(frames)
        owner = np.repeat(range(3), [len(one) for one in frames])
        shared = ious(everything, everything) * (1 - np.eye(len(owner)))
        alike = shared > 0.5
        worth = (shared * alike * (owner[:, None] != owner)).sum(1) - 0.5

        def value(rows: Sequence[int], alike: Any = alike, worth: Any = worth) -> float:
            return -1.0 if alike[np.ix_(rows, rows)].any() else float(worth[list(rows)].sum())

        best = max(
            value(rows)
            for size in range(len(owner) + 1)
            for rows in combinations(range(len(owner)), size)
        )
        found = consensus(frames)
        rows = [int(np.flatnonzero((everything == mask).all((1, 2)))[0]) for mask in found]
        assert value(rows) == pytest.approx(best, abs=1e-4)


def test_consensus_of_nothing() -> None:
    nothing = np.zeros((0, *SIZE), bool)
    assert len(consensus([nothing, nothing])) == 0
    assert len(consensus([np.stack([FIRST[1]]), nothing])) == 0


def test_proposals_set_right_what_was_propagated() -> None:
    """The model repeats masks; every 5 frames they grow to hold what is then there.

    The middle one of three frames has most support, as the model brings them: without motion.
    """
    results = _track(Deva(repeating(), Regions()), WALK, {0: {1: FIRST[1], 9: FIRST[2]}})
    assert [r.frame for r in results] == list(range(13))
    assert all(r.object_ids == (1, 9) for r in results)
    for result in results:
        merged = [0, *range(6, result.frame + 2, 5)]
        held = np.any([masks(WALK[t])[1] for t in merged], axis=0)
        assert np.array_equal(result.masks[0], held)


def test_a_merged_mask_is_what_is_remembered_and_objects_stay_apart() -> None:
    close = [{1: (12, 10, 24), 2: (12, 34, 12)}, {1: (12, 18, 24), 2: (12, 42, 12)}]
    walk = [close[0], *[close[1]] * 3]
    given = {0: {1: masks(walk[0])[1], 2: masks(walk[0])[2]}}
    apart = _track(Deva(repeating(), Regions(), every=1, clip=2, overlap=0.1), walk, given)[2]
    assert not (apart.masks[0] & apart.masks[1]).any()
    small = masks(walk[0])[2] | masks(walk[1])[2]
    assert np.array_equal(apart.masks[1], small)  # the smaller one has what both claim
    peer = Deva(repeating(), Regions(), exclusive=False, every=1, clip=2, overlap=0.1)
    both = _track(peer, walk, given)[2].masks
    assert np.array_equal(both[0], masks(walk[0])[1] | masks(walk[1])[1])


def test_given_masks_stand_and_later_objects_join() -> None:
    wrong = FIRST[1] & (np.arange(96) < 20)
    given = {0: {1: FIRST[1]}, 5: {1: wrong, 3: masks(WALK[5])[2]}}
    results = _track(Deva(repeating(), Regions(), overlap=0.2), WALK[:8], given)
    assert [r.object_ids for r in results] == [(1,)] * 5 + [(1, 3)] * 3
    assert np.array_equal(results[5].masks[0], wrong)
    assert np.array_equal(results[7].masks[1], masks(WALK[5])[2])


def test_newcomers_join_and_leave_and_errors_of_one_frame_do_not() -> None:
    ghost = masks({1: (0, 70, 12)})[1]
    there, gone = {1: (12, 10, 24), 2: (38, 60, 20)}, {1: (12, 10, 24)}
    walk = [there] * 6 + [gone] * 10
    proposer = Regions({0: [ghost], 4: [ghost]})  # once in each of two clips
    peer = Deva(repeating(), proposer, every=2, newcomers=True, patience=2)
    results = _track(peer, walk, {0: {4: FIRST[1]}})
    assert results[0].object_ids == (4, 5)
    assert np.array_equal(results[1].masks[1], FIRST[2])
    assert [r.object_ids for r in results] == [(4, 5)] * 9 + [(4,)] * 7
    assert not any((r.masks & ghost).any() for r in results)
    kept = _track(Deva(repeating(), Regions(), every=2), walk, {0: {4: FIRST[1]}})
    assert all(r.object_ids == (4,) for r in kept)


def test_a_newcomer_around_a_given_object_leaves_it_its_pixels() -> None:
    part = FIRST[1] & (np.arange(96) < 18)
    peer = Deva(repeating(), Regions(), every=2, newcomers=True)
    first = _track(peer, WALK[:1] * 6, {1: {3: part}})
    assert first[-1].object_ids == (4, 5, 3)
    assert np.array_equal(first[-1].masks, [FIRST[1] & ~part, FIRST[2], part])
    later = _track(peer, [{2: WALK[0][2]}] * 2 + WALK[:1] * 6, {0: {3: part}})
    assert later[-1].object_ids == (3, 4, 5)
    assert np.array_equal(later[-1].masks, [part, FIRST[2], FIRST[1] & ~part])


def test_objects_that_are_given_never_leave() -> None:
    walk = [{}] * 16
    peer = Deva(repeating(), Regions(), every=2, newcomers=True, patience=1)
    assert _track(peer, walk, {0: {4: FIRST[1]}})[-1].object_ids == (4,)


def test_without_prompts_everything_is_found() -> None:
    results = _track(Deva(repeating(), Regions(), newcomers=True), WALK[:4], None)
    assert results[0].object_ids == (1, 2)
    assert np.array_equal(np.sort(results[0].masks.sum((1, 2))), [400, 576])
    few = Deva(repeating(), Regions(), newcomers=True, limit=1)
    assert _track(few, WALK[:4], None)[0].object_ids == ()
    with pytest.raises(InputError, match="nothing to track"):
        _track(Deva(repeating(), Regions()), WALK, None)


class Known(Flow):
    """All moves as the first square does."""

    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow = np.zeros((*SIZE, 2), np.float32)
        starts = [
            np.flatnonzero(np.all(one[24, :, 1:] == (40, 200), 1))[0] for one in (source, target)
        ]
        flow[..., 0] = int(starts[1]) - int(starts[0])
        return flow


def test_proposals_are_brought_to_the_frame() -> None:
    """Far apart, they only agree where motion is followed: by flow, or by a model that can."""
    window = tuple(frame({1: (12, 4 + 8 * t, 16)}) for t in range(3))
    found = Deva(repeating(), Regions(), flow=Known())._agreed(window)
    assert np.array_equal(found, [masks({1: (12, 4, 16)})[1]])
    assert not len(Deva(repeating(), Regions())._agreed(window))


def test_streams_in_bounded_memory() -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most: list[int] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for _ in range(20):
            one = frame(WALK[0])
            alive.append(weakref.ref(one))
            most.append(sum(ref() is not None for ref in alive))
            yield one

    for _ in Deva(repeating(), Regions(), clip=3).track(frames(), {0: {1: FIRST[1]}}):
        pass
    assert max(most) <= 6


def test_arguments_out_of_range() -> None:
    for arguments in ({"every": 0}, {"clip": 1}, {"overlap": 1.0}, {"patience": 0}):
        with pytest.raises(ValueError):  # noqa: PT011
            Deva(repeating(), Regions(), **arguments)
