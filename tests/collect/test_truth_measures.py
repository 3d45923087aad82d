"""Measures of truth on rectangles, counted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from truths import Box, boxes

from vosfm.collect.following import TrackedMask
from vosfm.collect.truth_measures import Measures, measure

A: Box = (2, 2, 10, 10)
B: Box = (20, 20, 10, 10)
HALF: Box = (2, 2, 5, 10)
"""Of A: an IoU of 1/2."""
FAR: Box = (30, 40, 5, 5)


def tracks(courses: Mapping[int, Sequence[Box | None]]) -> list[list[TrackedMask]]:
    """The tracks of each frame: id -> a rectangle a frame, None where it is lost."""
    length = len(next(iter(courses.values())))
    drawn = {i: boxes(course)[:, 0] for i, course in courses.items()}
    return [
        [TrackedMask(i, m[t], 1.0, None) for i, m in drawn.items() if m[t].any()]
        for t in range(length)
    ]


def test_perfect_tracks() -> None:
    found = tracks({0: [A] * 3, 4: [B] * 3})
    measures = measure(found, boxes([A] * 3, [B] * 3))
    assert measures == Measures(objects=2, tracks=2, matched=2, followed=2, overlap=2.0)
    assert (measures.first_recall, measures.recall, measures.iou) == (1.0, 1.0, 1.0)


def test_a_track_that_ends_early_counts_nothing_from_then_on() -> None:
    """1, 1/2, 0, 0: a mean of 3/8, below the bound."""
    measures = measure(tracks({0: [A, HALF, None, None]}), boxes([A] * 4))
    assert (measures.matched, measures.followed, measures.lost) == (1, 0, 1)
    assert measures.iou == pytest.approx(3 / 8)
    assert measures.recall == 0.0
    assert measures.first_recall == 1.0


def test_a_track_may_end_when_its_object_has_left() -> None:
    measures = measure(tracks({0: [A, A, None]}), boxes([A, A, None]))
    assert (measures.lost, measures.iou) == (0, 1.0)


def test_a_track_of_what_is_not_there_any_more_counts_zero() -> None:
    measures = measure(tracks({0: [A, A, B]}), boxes([A, A, None]))
    assert measures.iou == pytest.approx(2 / 3)
    assert measures.lost == 0


def test_what_was_not_proposed_is_not_found() -> None:
    measures = measure(tracks({0: [A] * 2}), boxes([A] * 2, [B] * 2, [None, FAR]))
    assert (measures.objects, measures.matched) == (2, 1), "one appears later and does not count"
    assert measures.recall == 0.5
    assert measures.iou == 1.0


def test_duplicates_and_false_tracks_are_told_apart() -> None:
    found = tracks({0: [HALF] * 2, 1: [A] * 2, 2: [FAR] * 2})
    measures = measure(found, boxes([A] * 2, [B] * 2))
    assert (measures.tracks, measures.matched) == (3, 1)
    assert (measures.duplicates, measures.false) == (1, 1)
    assert measures.iou == 1.0, "the better one matches"


def test_switches_are_counted_at_changes() -> None:
    """A B B A: two changes; A lost, then A again: none; a frame on nothing is passed over."""
    truth = boxes([A] * 4, [B] * 4)
    assert measure(tracks({0: [A, B, B, A]}), truth).switches == 2
    assert measure(tracks({0: [A, None, FAR, A]}), truth).switches == 0
    assert measure(tracks({0: [A, FAR, B, B]}), truth).switches == 1
    assert measure(tracks({0: [A, B, A, B], 1: [B, A, A, A]}), truth).switches == 4


def test_equal_overlaps_are_no_switch() -> None:
    """The second object becomes the same as the first."""
    truth = boxes([A, A, A], [B, A, A])
    assert measure(tracks({0: [A] * 3}), truth).switches == 0
    assert measure(tracks({0: [B, A, A]}), truth).switches == 0
    assert measure(tracks({0: [B, B, A]}), boxes([A] * 3, [B, B, FAR])).switches == 1


def test_the_bound_is_reached_by_half() -> None:
    found, truth = tracks({0: [HALF] * 2}), boxes([A] * 2)
    assert measure(found, truth).followed == 1
    assert measure(found, truth, bound=0.51).matched == 0
    assert np.isnan(measure(found, truth, bound=0.51).iou)


def test_clips_add_up() -> None:
    one = measure(tracks({0: [A] * 2}), boxes([A] * 2, [B] * 2))
    two = measure(tracks({0: [HALF] * 2}), boxes([A] * 2))
    both = one + two
    assert (both.objects, both.matched, both.iou) == (3, 2, 0.75)
    assert both.recall == pytest.approx(2 / 3)


def test_no_tracks_and_no_objects() -> None:
    assert measure([[], []], boxes([A] * 2)) == Measures(objects=1)
    assert measure([[], []], boxes([None] * 2)) == Measures()
    assert np.isnan(Measures().recall)


def test_the_truth_of_every_frame_is_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        measure(tracks({0: [A] * 3}), boxes([A] * 2))
    with pytest.raises(ValueError, match="bound"):
        measure([], [], bound=0.0)
