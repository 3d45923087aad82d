"""Counts of a dataset, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from truths import Box, MemoryTruth, boxes

from vosfm.data.statistics import AREA_EDGES, DatasetStatistics, bins, describe

A: Box = (0, 0, 20, 50)  # half of the frame
B: Box = (10, 0, 20, 25)  # a quarter, half of it inside A
C: Box = (39, 49, 1, 1)  # 1 of 2,000 pixels


@pytest.fixture
def dataset() -> DatasetStatistics:
    total = DatasetStatistics()
    overlapping = MemoryTruth(
        boxes([A, None, A], [B, B, None]),
        [1, 2],
        numbers=(0, 10, 20),
        overlapping=True,
        attributes=frozenset({"BC", "LRA"}),
    )
    late = MemoryTruth(boxes([A, A], [None, C]), [1, 4], name="late", starts={1: 0, 4: 1}, length=7)
    silent = MemoryTruth(boxes([None, A, A]), [1], name="silent", starts={1: 1})
    for truth in (overlapping, late, silent):
        total.add(describe(truth))
    return total


def test_numbers(dataset: DatasetStatistics) -> None:
    summary = dataset.summary()
    # Covered in the first: 1000 + 500 - 250, 500, 1000; in the second: 1000, 1001.
    covered = (1250 + 500 + 1000 + 1000 + 1001 + 1000 + 1000) / 2000
    assert summary["density"] == pytest.approx(covered / 7)
    assert summary["videos"] == 3
    assert summary["tracks"] == 5
    assert summary["masks"] == 4 + 3 + 2
    assert summary["annotated_frames"] == 3 + 2 + 2  # the last one's first frame speaks of none
    assert summary["masks_per_frame"] == 9 / 7
    assert (summary["mean_length"], summary["median_length"]) == ((21 + 7 + 3) / 3, 7)
    assert summary["longest"] == 21
    assert summary["disappearance_rate"] == 2 / 5


def test_histograms(dataset: DatasetStatistics) -> None:
    areas = {edges: int(n) for edges, n in zip(bins(AREA_EDGES), dataset.areas, strict=True) if n}
    root = math.sqrt(10)
    ranges = {0.5: 6, 0.25: 2, 0.0005: 1}
    for share, count in ranges.items():
        (own,) = [n for (low, high), n in areas.items() if low <= share < high]
        assert own == count
    assert sum(areas.values()) == 9
    assert bins(AREA_EDGES)[1] == pytest.approx((1e-5, root * 1e-5))
    # Lengths are 21, 11, 2, 1 and 2.
    assert dataset.spans[:7].tolist() == [0, 1, 2, 0, 1, 1, 0]
    assert dataset.spans.sum() == 5


def test_attributes(dataset: DatasetStatistics) -> None:
    assert dataset.attributes["LR"] == (1, 1)
    assert dataset.attributes["OV"] == (1, 2)
    assert dataset.attributes["FM"] == (0, 0)
    assert dict(dataset.named) == {"BC": 1, "LRA": 1}


def test_a_sequence_without_a_word() -> None:
    one = describe(MemoryTruth(boxes([A]), [1], ranges={1: ()}))
    assert (one.frames, one.masks, one.size) == (0, 0, (0, 0))
    assert math.isnan(one.density)
    total = DatasetStatistics()
    assert math.isnan(total.density)
    total.add(one)
    assert math.isnan(total.density)
    assert total.spans.sum() == 0


def test_masks_that_nobody_speaks_of_are_not_counted() -> None:
    one = describe(MemoryTruth(boxes([A, A], [C, C]), [1, 2], ranges={1: (0,), 2: (0, 1)}))
    assert one.masks == 3
    assert one.density == pytest.approx((1001 + 1) / 2 / 2000)


def test_full_frames_are_counted() -> None:
    one = describe(MemoryTruth(np.ones((1, 1, 4, 4), np.bool_), [1]))
    assert one.areas[-1] == 1
