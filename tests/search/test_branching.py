"""Which pathways live on: the released code's decisions, and what must hold of any of them."""

from __future__ import annotations

import math
from itertools import pairwise

import goldens
import numpy as np
import pytest

from vosfm.errors import InputError
from vosfm.search.branching import Branch, branch


def pairs(kept: list[Branch]) -> list[tuple[int, int]]:
    return [(one.parent, one.candidate) for one in kept]


def test_decisions_of_the_released_code() -> None:
    """Of 60 frames: picks, scores, and the lineages that follow from them."""
    golden = goldens.load("sam2long_selection", system="sam2")
    given = {name: tensor.tolist() for name, tensor in golden.inputs.items()}
    for row, slots in enumerate(given["P"]):
        kept = branch(
            given["iou"][row][:slots],
            given["o"][row][:slots],
            given["S"][row][:slots],
            slots,
            given["delta_conf"][row],
            official=True,
        )
        assert len(kept) == slots
        assert pairs(kept) == [tuple(p) for p in golden.outputs["picks"][row, :slots].tolist()]
        expected = golden.outputs["scores"][row, :slots].tolist()
        assert [one.score for one in kept] == pytest.approx(expected, rel=0, abs=1e-9)
        lineages = [[*given["mem_pick_in"][row][one.parent], slot] for slot, one in enumerate(kept)]
        assert lineages == golden.outputs["mem_pick_out"][row, :slots].tolist()


def test_the_golden_has_every_kind_of_frame() -> None:
    """Certain and uncertain ones, at the threshold, with too few that differ, with signs."""
    golden = goldens.load("sam2long_selection", system="sam2")
    kinds = set()
    for iou, o, scores, slots, threshold in zip(
        *(golden.inputs[name].tolist() for name in ("iou", "o", "S", "P", "delta_conf")),
        strict=True,
    ):
        iou, o, scores = iou[:slots], o[:slots], scores[:slots]
        official = branch(iou, o, scores, slots, threshold, official=True)
        if pairs(official) != pairs(branch(iou, o, scores, slots, threshold)):
            kinds.add("sign")
        kinds.add("certain" if max(map(abs, o)) > threshold else "uncertain")
        if max(map(abs, o)) == threshold:
            kinds.add("threshold")
        if any(a.score < b.score for a, b in pairwise(official)):
            kinds.add("too few")
    assert kinds == {"certain", "uncertain", "threshold", "sign", "too few"}


def test_the_rule_of_the_paper() -> None:
    """Uncertain: the best scores among masks whose qualities differ in two decimals.

    Slot 0 scores ln 0.9 = -0.105 before the frame, slot 1 ln 0.5 = -0.693. The products after it:
    0.9 x (0.704, 0.70, 0.60) = 0.634, 0.630, 0.540 and 0.5 x (0.80, 0.30, 0.10) = 0.40, 0.15, 0.05.
    0.704 and 0.70 are both 0.70, so the second of them has to go.
    """
    quality = [[0.704, 0.70, 0.60], [0.80, 0.30, 0.10]]
    before = [math.log(0.9), math.log(0.5)]
    certain = branch(quality, [2.1, -0.4], before, 2, 2.0)
    assert pairs(certain) == [(0, 0), (0, 1)]
    assert [one.score for one in certain] == pytest.approx([-0.4563, -0.4620], abs=1e-4)
    uncertain = branch(quality, [2.0, -0.4], before, 2, 2.0)
    assert pairs(uncertain) == [(0, 0), (0, 2)]
    assert [one.score for one in uncertain] == pytest.approx([-0.4563, -0.6162], abs=1e-4)
    # A pathway that is sure that the object is gone makes the frame certain, too.
    assert pairs(branch(quality, [0.4, -2.1], before, 2, 2.0)) == [(0, 0), (0, 1)]


def test_pathways_that_do_not_see_the_object_are_others_to_the_released_code() -> None:
    quality, presence = [[0.70, 0.20], [0.70, 0.60]], [0.5, 0.0]
    assert pairs(branch(quality, presence, [0.0, -0.1], 2, 2.0)) == [(0, 0), (1, 1)]
    assert pairs(branch(quality, presence, [0.0, -0.1], 2, 2.0, official=True)) == [(0, 0), (1, 0)]


def test_too_few_that_differ() -> None:
    """All say 0.50: the best is kept, then the best of each other slot in order of the slots."""
    quality = [[0.498, 0.499], [0.502, 0.501], [0.503, 0.504]]
    kept = branch(quality, [0.0] * 3, [-3.0, -2.0, -1.0], 3, 2.0)
    assert pairs(kept) == [(2, 1), (0, 1), (1, 0)]
    # One that differs fills a place, and the first slot without a pathway the last.
    quality[2][0] = 0.1
    assert pairs(branch(quality, [0.0] * 3, [-3.0, -2.0, -1.0], 3, 2.0)) == [(2, 1), (2, 0), (0, 1)]


def test_two_candidates_that_swap_their_plausibility() -> None:
    """An occlusion of two frames in which the wrong object looks better at first.

    A is the object, B another one. What is predicted depends on what was remembered before:

        frame   remembered   A      B      presence
        0       A            0.95   0.30   5.0       certain
        1       A            0.60   0.70   0.5       occluded; B looks better
        2       A            0.80   0.35   0.8       still occluded
        2       B            0.40   0.55   0.8
        3       A            0.90   0.30   6.0       back
        3       B            0.45   0.50   6.0       B is followed, and its mask is poor

    Products of one pathway: 0.95, x 0.70 = 0.6650, x 0.55 = 0.36575, x 0.50 = 0.182875, all on B.
    Of two: (0.95, 0.95), then B 0.6650 and A 0.5700, then A 0.4560 and B 0.36575, then A 0.4104
    and B 0.182875 (A's second best is 0.456 x 0.30 = 0.1368).
    """
    told = {
        (0, "A"): ([0.95, 0.30], 5.0),
        (1, "A"): ([0.60, 0.70], 0.5),
        (2, "A"): ([0.80, 0.35], 0.8),
        (2, "B"): ([0.40, 0.55], 0.8),
        (3, "A"): ([0.90, 0.30], 6.0),
        (3, "B"): ([0.45, 0.50], 6.0),
    }
    # Logarithms of the products above.
    expected = {
        1: [[-0.05129], [-0.40797], [-1.00580], [-1.69895]],
        2: [[-0.05129, -0.05129], [-0.40797, -0.56212], [-0.78526, -1.00580], [-0.89062, -1.69895]],
    }
    lineages = {
        1: [["A"], ["AB"], ["ABB"], ["ABBB"]],
        2: [["A", "A"], ["AB", "AA"], ["AAA", "ABB"], ["AAAA", "ABBB"]],
    }
    for pathways in (1, 2):
        seen, scores = ["A"] * pathways, [0.0] * pathways
        for frame in range(4):
            slots = [told[frame, lineage[-1]] for lineage in seen]
            kept = branch([q for q, _ in slots], [o for _, o in slots], scores, pathways, 2.0)
            before = seen if frame else [""] * pathways
            seen = [before[one.parent] + "AB"[one.candidate] for one in kept]
            scores = [one.score for one in kept]
            assert seen == lineages[pathways][frame]
            assert scores == pytest.approx(expected[pathways][frame], abs=1e-4)


def case(seed: int) -> tuple[list[list[float]], list[float], list[float], int, bool]:
    """A frame of 1 to 5 pathways with 1 to 6 candidates each, many of them alike."""
    chance = np.random.default_rng(seed)
    slots, candidates = int(chance.integers(1, 6)), int(chance.integers(1, 7))
    width = chance.choice([0.02, 0.2, 1.0])
    low = chance.uniform(0, 1 - width)
    quality = chance.uniform(low, low + width, (slots, candidates)).astype(np.float32)
    presence = chance.normal(0, 2.5, slots).astype(np.float32)
    scores = -chance.uniform(0, 0.5, slots)
    return quality.tolist(), presence.tolist(), scores.tolist(), slots, bool(seed % 2)


SEEDS = range(300)


def test_what_any_choice_keeps_to() -> None:
    for seed in SEEDS:
        quality, presence, scores, slots, official = case(seed)
        kept = branch(quality, presence, scores, slots, 2.0, official)
        everyone = {
            (p, k): scores[p] + math.log(q + 1e-5)
            for p, row in enumerate(quality)
            for k, q in enumerate(row)
        }
        assert len(kept) == len(set(pairs(kept))) == slots
        for one in kept:
            assert one.score == pytest.approx(everyone[one.parent, one.candidate], abs=1e-12)
        assert kept[0].score == max(one.score for one in kept) == max(everyone.values())
        last = min(one.score for one in kept)
        passed_over = set(everyone) - set(pairs(kept))
        if max(map(abs, presence)) > 2.0:
            assert all(everyone[one] <= last for one in passed_over)
            continue
        signs = [-1 if official and o <= 0 else 1 for o in presence]
        told = {(p, k): round(signs[p] * quality[p][k], 2) for p, k in everyone}
        if len(set(told.values())) >= slots:
            assert len({told[one] for one in pairs(kept)}) == slots
            best = {told[one.parent, one.candidate]: one.score for one in kept}
            assert all(everyone[one] <= best.get(told[one], last) for one in passed_over)
        else:
            assert {told[one] for one in pairs(kept)} == set(told.values())


def test_one_pathway_is_the_best_candidate() -> None:
    for seed in SEEDS:
        quality, presence, scores, _, official = case(seed)
        (kept,) = branch(quality[:1], presence[:1], scores[:1], 1, 2.0, official)
        assert (kept.parent, kept.candidate) == (0, int(np.argmax(quality[0])))


def test_copies_stay_copies_while_frames_are_certain() -> None:
    for seed in SEEDS:
        quality, _, scores, slots, official = case(seed)
        kept = branch(
            [quality[0]] * slots, [3.0] * slots, [scores[0]] * slots, slots, 2.0, official
        )
        assert [one.parent for one in kept] == list(range(slots))
        assert len({(one.candidate, one.score) for one in kept}) == 1


def test_what_the_choice_does_not_depend_on() -> None:
    """A constant in all scores, and the order of a pathway's candidates."""
    for seed in SEEDS:
        quality, presence, scores, slots, official = case(seed)
        kept = branch(quality, presence, scores, slots, 2.0, official)
        later = branch(quality, presence, [s - 8.0 for s in scores], slots, 2.0, official)
        assert pairs(later) == pairs(kept)
        assert [a.score - b.score for a, b in zip(kept, later, strict=True)] == pytest.approx(
            [8.0] * slots
        )
        turned = branch([row[::-1] for row in quality], presence, scores, slots, 2.0, official)
        last = len(quality[0]) - 1
        assert [(one.parent, last - one.candidate) for one in turned] == pairs(kept)
        assert [one.score for one in turned] == [one.score for one in kept]


def test_where_the_object_is_seen_the_released_code_is_the_paper() -> None:
    for seed in SEEDS:
        quality, presence, scores, slots, _ = case(seed)
        seen = [abs(o) + 1e-3 for o in presence]
        official = branch(quality, seen, scores, slots, 2.0, official=True)
        assert official == branch(quality, seen, scores, slots, 2.0)


def test_other_numbers_of_slots() -> None:
    quality, scores = [[0.9, 0.6], [0.8, 0.7]], [-0.1, -0.2]
    for presence in (3.0, 0.0):
        first = branch(quality[:1], [presence], scores[:1], 3, 2.0)
        assert pairs(first) == [(0, 0), (0, 1), (0, 0)]
        assert pairs(branch(quality, [presence] * 2, scores, 1, 2.0)) == [(0, 0)]
        nothing_new = branch([[0.5]] * 2, [presence] * 2, [-1.0, -1.0], 5, 2.0)
        assert pairs(nothing_new) == [(0, 0), (1, 0), (0, 0), (1, 0), (0, 0)]


def test_pathways_of_a_given_mask_live_on() -> None:
    """Then there is one candidate, as scores of -1 say of the others."""
    kept = branch([[1.0, -1.0, -1.0]] * 3, [10.0] * 3, [-0.3, -0.1, -0.2], 3, 2.0)
    assert pairs(kept) == [(1, 0), (2, 0), (0, 0)]
    assert [one.score for one in kept] == pytest.approx([-0.1, -0.2, -0.3], abs=2e-5)
    kept = branch([[0.0, -1.0], [0.0, 0.0]], [0.0, 0.0], [0.0, 0.0], 2, 2.0)
    assert pairs(kept) == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    ("quality", "presence", "scores", "pathways", "message"),
    [
        ([[0.5]], [1.0], [0.0], 0, "into 0 pathways"),
        ([], [], [], 1, "0 slots"),
        ([[0.5]], [1.0, 1.0], [0.0], 1, "2 a presence"),
        ([[0.5], [0.5]], [1.0], [0.0], 1, "2 slots"),
        ([[0.5, math.nan]], [1.0], [0.0], 1, "full precision"),
        ([[0.5]], [1.0], [math.nan], 1, "full precision"),
        ([[-1.0], []], [1.0, 1.0], [0.0, 0.0], 1, "quality in"),
    ],
)
def test_what_cannot_be_branched(
    quality: list[list[float]],
    presence: list[float],
    scores: list[float],
    pathways: int,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        branch(quality, presence, scores, pathways, 2.0)
