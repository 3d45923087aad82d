"""Depths chosen by the clock, on machines that are made up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from vosfm import InputError
from vosfm.pace import FixedDepth, Pace

DEPTHS = (1, 2, 3)
COST = {1: 0.05, 2: 0.08, 3: 0.11}
"""Seconds of a frame at each depth."""


def run(
    pace: Pace, frames: int, cost: Callable[[int, int], float] = lambda depth, time: COST[depth]
) -> list[int]:
    """Track so many frames; the depths that were chosen."""
    chosen = []
    for time in range(frames):
        depth = pace.choose(DEPTHS)
        pace.took(depth, cost(depth, time))
        chosen.append(depth)
    return chosen


@pytest.mark.parametrize(("target", "depth"), [(5, 3), (9, 3), (9.2, 2), (12, 2), (13, 1), (19, 1)])
def test_it_takes_the_deepest_that_fits(target: float, depth: int) -> None:
    pace = Pace(target)
    chosen = run(pace, 600)
    assert chosen.count(depth) > 0.95 * len(chosen)
    assert pace.fps is not None
    assert pace.fps >= target
    assert pace.frames == {d: chosen.count(d) for d in sorted(set(chosen))}
    assert pace.fps == pytest.approx(600 / sum(COST[d] for d in chosen))
    assert "was held" in pace.summary()


def test_it_begins_with_the_deepest() -> None:
    assert run(Pace(12), 4) == [3, 2, 2, 2]
    assert run(Pace(15), 4) == [3, 2, 1, 1]


def test_a_target_out_of_reach_is_read_at_the_least_depth_and_said() -> None:
    pace = Pace(40)
    assert run(pace, 200) == [3, 2] + [1] * 198
    assert pace.summary() == (
        "19.82 frames/s of tracking alone; frames tracked: 198 at depth 1, 1 at depth 2, "
        "1 at depth 3; the target of 40 was missed: even depth 1 came to 20.00 frames/s only"
    )


def test_a_target_that_was_missed_by_deeper_frames_does_not_blame_the_least_depth() -> None:
    pace = Pace(12)
    run(pace, 1)
    assert pace.summary().endswith("frames tracked: 1 at depth 3; the target of 12 was missed")


@pytest.mark.parametrize("retry", [5, 30])
def test_deeper_ones_are_tried_at_a_bounded_rate(retry: int) -> None:
    chosen = run(Pace(13, retry=retry), 400)
    tried = [time for time, depth in enumerate(chosen) if depth == 2 and time > 2]
    assert len(tried) >= 3
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert min(gaps) > retry
    assert max(gaps) <= 10 * retry + 1
    assert 3 not in chosen[1:]  # what takes longer than what does not fit, does not fit


@pytest.mark.parametrize("target", [12.4, 19.8, 9.05])
def test_tries_are_paid_with_what_was_saved(target: float) -> None:
    """Even where the target leaves next to nothing to save."""
    pace = Pace(target, retry=10)
    run(pace, 20)
    before = sum(pace.seconds.values())
    run(pace, 2000)
    assert 2000 / (sum(pace.seconds.values()) - before) >= 0.9995 * target


def test_it_gives_way_to_a_busy_machine_and_recovers() -> None:
    """Frames 100 to 299 take three times as long."""
    busy = range(100, 300)
    pace = Pace(6, retry=20)
    chosen = run(pace, 500, lambda depth, time: COST[depth] * (3 if time in busy else 1))
    assert set(chosen[:100]) == {3}
    assert set(chosen[103:300]) == {1} | set(chosen[103:300]) & {2}
    assert chosen[103:300].count(2) <= 10
    assert 3 not in chosen[104:300]
    assert set(chosen[300 + 10 * 20 :]) <= {3}
    assert chosen[299 + 60 :].count(3) > 0.9 * len(chosen[299 + 60 :])


def test_it_recovers_from_being_too_slow_even_at_the_least_depth() -> None:
    pace = Pace(6, retry=20)
    chosen = run(pace, 400, lambda depth, time: COST[depth] * (50 if time < 100 else 1))
    assert set(chosen[3:100]) == {1}
    assert set(chosen[160:]) == {3}


def test_a_slow_first_frame_is_forgotten() -> None:
    """As where a device compiles its kernels at the first call of each depth."""
    warm: set[int] = set()

    def cost(depth: int, time: int) -> float:
        first = depth not in warm
        warm.add(depth)
        return COST[depth] + first

    chosen = run(Pace(8, retry=20), 300, cost)
    assert set(chosen[250:]) == {3}


def test_one_slow_frame_in_many_changes_little() -> None:
    chosen = run(Pace(6, retry=20), 400, lambda d, time: COST[d] * (2 if time % 50 == 25 else 1))
    assert set(chosen) == {3}


@pytest.mark.parametrize("seed", range(40))
def test_any_target_that_can_be_held_is_held(seed: int) -> None:
    """Random costs that rise with depth, random targets, and frames that jitter by a tenth."""
    chance = Random(seed)
    cost = [chance.uniform(0.01, 0.1)]
    cost += [cost[0] * chance.uniform(1.1, 2), cost[0] * chance.uniform(2, 3)]
    target = 1 / (cost[0] * chance.uniform(1.08, 4))
    pace = Pace(target)
    chosen = run(pace, 3000, lambda depth, _: cost[depth - 1] * chance.uniform(0.9, 1.1))
    assert pace.fps is not None
    assert pace.fps > 0.99 * target
    fits = max(d for d in DEPTHS if cost[d - 1] * 1.1 <= 1 / target or d == 1)
    assert sum(depth >= fits for depth in chosen) > 0.95 * len(chosen)


def test_depths_of_a_model_may_have_gaps() -> None:
    pace = Pace(12)
    for _ in range(50):
        depth = pace.choose((1, 3))
        pace.took(depth, COST[depth])
    assert pace.frames == {1: 49 - pace.frames[3] + 1, 3: pace.frames[3]}
    assert pace.frames[1] > 45


def test_a_fixed_depth_counts_too() -> None:
    rule = FixedDepth(2)
    rule.check(DEPTHS)
    assert rule.summary() == "no frame was tracked"
    for _ in range(4):
        rule.took(rule.choose(DEPTHS), 0.5)
    assert rule.frames == {2: 4}
    assert rule.fps == 2
    assert rule.summary() == "2.00 frames/s of tracking alone; frames tracked: 4 at depth 2"
    with pytest.raises(InputError, match=r"depth 2: this model runs at depth 1: leave the depth"):
        rule.check((1,))
    with pytest.raises(InputError, match=r"depth 9: .* depth 1 or 2 or 3: choose one of these"):
        FixedDepth(9).check(DEPTHS)


def test_a_target_needs_a_choice() -> None:
    with pytest.raises(InputError, match=r"target of 10 frames/s needs a model of several depths"):
        Pace(10).check((3,))
    Pace(10).check(DEPTHS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_fps": 0},
        {"target_fps": float("nan")},
        {"target_fps": float("inf")},
        {"target_fps": 5, "smoothing": 0},
        {"target_fps": 5, "smoothing": 1.5},
        {"target_fps": 5, "retry": 0},
    ],
)
def test_arguments_out_of_range(wrong: dict[str, float]) -> None:
    name = list(wrong)[-1]
    with pytest.raises(InputError, match=rf"{name} is .*: give"):
        Pace(**wrong)  # type: ignore[arg-type]
