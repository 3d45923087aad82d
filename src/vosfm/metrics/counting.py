"""Which annotated frames of a sequence count for an object: the rules that benchmarks follow."""

from __future__ import annotations

from collections.abc import Sequence

from vosfm.data.truth import Truth


def without_ends(truth: Truth, object_id: int) -> Sequence[int]:
    """All annotated frames but the first, in which objects are given, and the last."""
    return range(1, len(truth.frame_names) - 1)


def after_start(truth: Truth, object_id: int) -> Sequence[int]:
    """The annotated frames after the one in which the object is given, to the last."""
    return range(truth.starts[object_id] + 1, len(truth.frame_names))


def after_start_without_last(truth: Truth, object_id: int) -> Sequence[int]:
    """The annotated frames after the one in which the object is given, but the last."""
    return range(truth.starts[object_id] + 1, len(truth.frame_names) - 1)


def range_without_ends(truth: Truth, object_id: int) -> Sequence[int]:
    """The range of the object without its own first and last frame."""
    if truth.ranges is None:
        return after_start_without_last(truth, object_id)
    return truth.ranges[object_id][1:-1]
