"""Challenges that follow from masks, against courses drawn by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from truths import Box, MemoryTruth, boxes

from vosfm.data.attributes import ATTRIBUTES, Rules, mask_attributes, object_attributes
from vosfm.data.tracks import measure
from vosfm.errors import InputError

RULES = Rules(motion=10)
STILL: Box = (10, 10, 20, 20)
"""400 of 2,000 pixels, away from the edges."""


def found(
    *course: Box | None, rules: Rules = RULES, numbers: tuple[int, ...] | None = None
) -> frozenset[str]:
    return mask_attributes(MemoryTruth(boxes(course), [1], numbers=numbers), rules)


def test_an_object_that_stays_has_none() -> None:
    assert found(STILL, STILL, STILL) == frozenset()
    assert found(STILL) == frozenset()


def test_never_seen_has_none() -> None:
    assert found(None, None) == frozenset()


def test_fast_motion_is_more_than_the_limit() -> None:
    assert "FM" not in found(STILL, (10, 20, 20, 20))  # 10 pixels
    assert "FM" in found(STILL, (11, 20, 20, 20))  # the root of 101
    assert "FM" in found(STILL, STILL, (11, 20, 20, 20), STILL)  # one step suffices


def test_fast_motion_on_average() -> None:
    rules = replace(RULES, steps="mean")
    assert "FM" not in found(STILL, STILL, (11, 20, 20, 20), rules=rules)
    assert "FM" in found(STILL, (11, 20, 20, 20), STILL, rules=rules)


def test_fast_motion_by_the_rate() -> None:
    course = STILL, (10, 22, 20, 20), STILL  # 12 pixels a step
    every_fifth = (0, 5, 10)
    assert "FM" in found(*course, numbers=every_fifth)
    assert "FM" not in found(*course, numbers=every_fifth, rules=replace(RULES, over=1))
    assert "FM" in found(*course, numbers=every_fifth, rules=replace(RULES, motion=2, over=1))


def test_a_longer_gap_between_annotations_is_no_faster() -> None:
    moved = (10, 22, 20, 20)
    assert "FM" in found(STILL, moved, moved, moved, numbers=(0, 1, 2, 3))
    assert "FM" not in found(STILL, moved, moved, moved, numbers=(0, 4, 5, 6))


def test_motion_while_out_of_sight_is_not_measured() -> None:
    assert "FM" not in found(STILL, None, (10, 25, 20, 20))
    assert "FM" in found(STILL, None, STILL, (11, 20, 20, 20))


def test_low_resolution_is_the_mean_box_where_seen() -> None:
    # A tenth of the frame is 200 pixels; the box counts, not the mask.
    assert "LR" in found((10, 10, 10, 19))
    assert "LR" not in found((10, 10, 10, 20))
    assert "LR" not in found((10, 10, 10, 20), None)
    ring = boxes([STILL])
    ring[0, 0, 12:28, 12:28] = False
    assert "LR" not in mask_attributes(MemoryTruth(ring, [1]), RULES)


def test_scale_variation_of_any_two() -> None:
    assert "SV" not in found(STILL, (10, 10, 10, 20))  # half
    assert "SV" in found(STILL, (10, 10, 10, 19))
    assert "SV" in found((10, 10, 12, 16), STILL, (10, 10, 20, 24), (10, 10, 10, 19))


def test_out_of_view_leaves_by_the_edge() -> None:
    assert "OV" in found(STILL, (10, 30, 20, 20), None)
    assert "OV" in found(STILL, None, (20, 10, 20, 20))
    assert "OV" not in found(STILL, None, STILL)  # behind something
    assert "OV" not in found((10, 30, 20, 20), STILL)  # cut by the edge, still in view
    assert "OV" in found(STILL, (10, 29, 20, 20), None)
    assert "OV" not in found(STILL, (10, 28, 20, 20), None)


def test_out_of_view_by_any_disappearance() -> None:
    rules = replace(RULES, border=None)
    assert "OV" in found(STILL, None, rules=rules)
    assert "OV" not in found(None, STILL, rules=rules)  # not there yet


def test_long_term_reappearance_counts_frames_of_the_video() -> None:
    rules = replace(RULES, away=9)
    assert "LRA" in found(STILL, None, STILL, numbers=(0, 5, 10), rules=rules)
    assert "LRA" not in found(STILL, None, STILL, numbers=(0, 5, 9), rules=rules)
    assert "LRA" not in found(STILL, None, None, numbers=(0, 5, 20), rules=rules)
    assert "LRA" not in found(None, None, STILL, numbers=(0, 5, 20), rules=rules)
    assert "LRA" not in found(STILL, STILL, numbers=(0, 50), rules=rules)


def test_frames_that_do_not_speak_of_an_object_are_not_its_absence() -> None:
    masks = boxes([STILL, None, STILL])
    silent = MemoryTruth(masks, [1], ranges={1: (0, 2)}, numbers=(0, 100, 200))
    assert mask_attributes(silent) == frozenset()
    spoken = MemoryTruth(masks, [1], numbers=(0, 100, 200))
    assert mask_attributes(spoken) == {"LRA"}


def test_a_sequence_has_what_any_object_has() -> None:
    truth = MemoryTruth(boxes([STILL, STILL], [(0, 0, 4, 4), (0, 30, 4, 4)]), [3, 7])
    assert object_attributes(truth) == {3: frozenset(), 7: {"LR", "FM"}}
    assert mask_attributes(truth) == {"LR", "FM"}


def test_all_have_a_rule_in_words() -> None:
    for name, rule in ATTRIBUTES.items():
        assert (rule.__doc__ or "").startswith(f"{name}: ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"motion": -1},
        {"over": 0},
        {"steps": "least"},
        {"resolution": 0},
        {"scale": 0.5},
        {"border": -1},
        {"away": 0},
    ],
)
def test_constants_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        Rules(**wrong)  # type: ignore[arg-type]


def test_measures_are_those_of_the_pixels() -> None:
    masks = np.random.default_rng(0).random((3, 2, 11, 13)) > 0.9
    masks[1, 0] = False
    tracks = measure(MemoryTruth(masks, [1, 2], overlapping=True))
    assert tracks.size == (11, 13)
    assert tracks.covered.tolist() == masks.any(1).sum((1, 2)).tolist()
    for row, track in enumerate(tracks.objects.values()):
        for place in range(3):
            ys, xs = np.nonzero(masks[place, row])
            assert track.areas[place] == len(ys)
            if not len(ys):
                assert track.boxes[place].tolist() == [0, 0, 0, 0]
                assert np.isnan(track.centroids[place]).all()
                continue
            left, top, width, height = track.boxes[place]
            assert (left, top) == (xs.min(), ys.min())
            assert (left + width - 1, top + height - 1) == (xs.max(), ys.max())
            np.testing.assert_allclose(track.centroids[place], (xs.mean(), ys.mean()))


def test_frames_of_two_sizes() -> None:
    class Growing(MemoryTruth):
        def masks(self, place: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
            return super().masks(place)[:, : 10 + place]

    with pytest.raises(InputError, match=r"clip, frame 00001: the masks measure 11 x 50 .* 10 x"):
        measure(Growing(boxes([STILL, STILL]), [1]))
