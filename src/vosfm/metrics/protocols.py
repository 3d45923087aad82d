"""What a benchmark counts and how it averages, one entry a benchmark.

A protocol answers, for one sequence, which objects there are, which pixels are theirs, which ids a
result must not hold, and which frames count; then what is told of one object and of all of them.
A further benchmark is one more `Protocol`, registered under its name.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vosfm.errors import InputError
from vosfm.metrics.functional import decay, recall

Labels = NDArray[np.uint8]
Row = dict[str, float]
Sequenced = TypeVar("Sequenced", bound=Hashable)
"""What names a sequence: its folder's name, or a number."""

VOID = 255
COLUMNS = ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")


@dataclass(frozen=True)
class Protocol:
    """The rules of a benchmark.

    Attributes:
        name: as given to ``vosfm evaluate --protocol``.
        rules: the rules in words.
        union: whether the objects of a frame are scored as one, as object 1.
        object_ids: (H, W) labels of the first annotated frame -> the objects of the sequence.
        masks: (H, W) labels and object ids -> (O, H, W) bool.
        foreign: (H, W) labels of a result and object ids -> ids that it must not hold.
        counted: the annotated frames in the order of time -> those that are scored.
        statistics: (T,) J and F of one object, and whether to repeat the official tool's errors
            -> its row.
        overall: rows by (sequence, object id) -> the row of the whole benchmark.
    """

    name: str
    rules: str
    union: bool
    object_ids: Callable[[Labels], tuple[int, ...]]
    masks: Callable[[Labels, Sequence[int]], NDArray[np.bool_]]
    foreign: Callable[[Labels, Sequence[int]], tuple[int, ...]]
    counted: Callable[[Sequence[int]], Sequence[int]]
    statistics: Callable[[NDArray[np.float64], NDArray[np.float64], bool], Row]
    overall: Callable[[Mapping[tuple[Any, int], Row]], Row]


def mean_recall_decay(
    j: NDArray[np.float64], f: NDArray[np.float64], official: bool = False
) -> Row:
    """Tell of one object the mean, recall and decay of J and of F.

    Args:
        j: (T,) of the counted frames, in the order of time.
        f: (T,) of the same.
        official: keep the 8-bit split points of the official decay, see `decay`.

    Returns:
        A value for each of `COLUMNS`; NaN throughout without frames.

    Source: DAVIS 2017 evaluation.
    """
    if not j.size:
        return dict.fromkeys(COLUMNS, float("nan"))
    j_mean, f_mean = float(j.mean()), float(f.mean())
    return {
        "J&F": (j_mean + f_mean) / 2,
        "J": j_mean,
        "J_recall": float(recall(j)),
        "J_decay": float(decay(j, official=official)),
        "F": f_mean,
        "F_recall": float(recall(f)),
        "F_decay": float(decay(f, official=official)),
    }


def mean_over_objects(rows: Mapping[tuple[Sequenced, int], Row]) -> Row:
    """Average rows, every object weighing the same whatever its sequence.

    Args:
        rows: by (sequence, object id).

    Returns:
        One row; NaN throughout without rows.
    """
    return {
        column: float(np.mean([row[column] for row in rows.values()])) if rows else float("nan")
        for column in COLUMNS
    }


def mean_by_sequence(rows: Mapping[tuple[Sequenced, int], Row]) -> dict[Sequenced, Row]:
    """Average the rows of each sequence over its objects, in the order of first appearance."""
    grouped: dict[Sequenced, dict[tuple[Sequenced, int], Row]] = {}
    for key, row in rows.items():
        grouped.setdefault(key[0], {})[key] = row
    return {sequence: mean_over_objects(group) for sequence, group in grouped.items()}


def _without_ends(frames: Sequence[int]) -> Sequence[int]:
    return frames[1:-1]


def _one_union(labels: Labels) -> tuple[int, ...]:
    return (1,) if labels.any() else ()


def _union_mask(labels: Labels, object_ids: Sequence[int]) -> NDArray[np.bool_]:
    return np.asarray(labels != 0)[None]


def _nothing_foreign(labels: Labels, object_ids: Sequence[int]) -> tuple[int, ...]:
    return ()


def _up_to_largest(labels: Labels) -> tuple[int, ...]:
    return tuple(range(1, int(labels[labels != VOID].max(initial=0)) + 1))


def _mask_of_each(labels: Labels, object_ids: Sequence[int]) -> NDArray[np.bool_]:
    return np.asarray(labels == np.asarray(object_ids, dtype=np.uint8)[:, None, None])


def _above_largest(labels: Labels, object_ids: Sequence[int]) -> tuple[int, ...]:
    largest = max(object_ids)
    if int(labels.max(initial=0)) <= largest:
        return ()
    return tuple(int(label) for label in np.unique(labels) if label > largest)


PROTOCOLS: dict[str, Protocol] = {}


def register(entry: Protocol) -> Protocol:
    """Add a protocol under its name.

    Raises:
        ValueError: if the name is taken.
    """
    if entry.name in PROTOCOLS:
        raise ValueError(f"protocol {entry.name} is registered already")
    PROTOCOLS[entry.name] = entry
    return entry


def named(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        InputError: for a name that is not registered; the message lists those that are.

    Example:
        >>> named("davis2017").counted([0, 1, 2, 3])
        [1, 2]
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name}: unknown; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


davis2016 = register(
    Protocol(
        name="davis2016",
        rules=(
            "One object: every pixel that is not 0, in annotation and result alike. 255 is part of "
            "it, since the masks of DAVIS-2016 are 0 and 255; annotations of DAVIS-2017 are "
            "united. The first and the last frame are left out, as in the 2016 toolkit, which "
            "scores frames 2 to T-1 because the first is given to the method."
        ),
        union=True,
        object_ids=_one_union,
        masks=_union_mask,
        foreign=_nothing_foreign,
        counted=_without_ends,
        statistics=mean_recall_decay,
        overall=mean_over_objects,
    )
)

davis2017 = register(
    Protocol(
        name="davis2017",
        rules=(
            "Objects 1 to N, where N is the largest id of the first annotation; 255 is void and "
            "counts as background. An id above N in a result is an error; an object without "
            "pixels is an empty mask. The first and the last frame are left out. Every object "
            "weighs the same, whatever its sequence."
        ),
        union=False,
        object_ids=_up_to_largest,
        masks=_mask_of_each,
        foreign=_above_largest,
        counted=_without_ends,
        statistics=mean_recall_decay,
        overall=mean_over_objects,
    )
)
