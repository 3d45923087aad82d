"""What a benchmark counts and how it averages, one entry a benchmark.

A protocol answers, for one sequence, which objects there are, which pixels are theirs, which ids a
result must not hold, and which frames count; then what is told of one object and of all of them.
A further benchmark is one more `Protocol`, registered under its name.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
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
MEANS = ("J&F", "J", "F")


@dataclass(frozen=True)
class Protocol:
    """The rules of a benchmark.

    Attributes:
        name: as given to ``vosfm evaluate --protocol``.
        rules: the rules in words.
        union: whether the objects of a frame are scored as one, as object 1.
        object_ids: (H, W) labels of the first annotated frame -> the objects of the sequence. None
            if a meta.json tells the objects, the first frame and the category of each.
        masks: (H, W) labels and object ids -> (O, H, W) bool.
        foreign: (H, W) labels of a result and object ids -> ids that it must not hold.
        counted: the annotated frames from the one in which an object is given, in the order of
            time -> those in which it is scored.
        statistics: (T,) J and F of one object, and whether to repeat the official tool's errors
            -> its row.
        overall: rows by (sequence, object id), and those of them whose category training has not
            shown -> the row of the whole benchmark.
    """

    name: str
    rules: str
    union: bool
    object_ids: Callable[[Labels], tuple[int, ...]] | None
    masks: Callable[[Labels, Sequence[int]], NDArray[np.bool_]]
    foreign: Callable[[Labels, Sequence[int]], tuple[int, ...]]
    counted: Callable[[Sequence[int]], Sequence[int]]
    statistics: Callable[[NDArray[np.float64], NDArray[np.float64], bool], Row]
    overall: Callable[[Mapping[tuple[Any, int], Row], Collection[tuple[Any, int]]], Row]

    @property
    def by_category(self) -> bool:
        """Whether objects are told apart by their categories."""
        return self.object_ids is None


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


def means(j: NDArray[np.float64], f: NDArray[np.float64], official: bool = False) -> Row:
    """Tell of one object the means alone.

    Args:
        j: (T,) of the counted frames.
        f: (T,) of the same.
        official: without effect on means.

    Returns:
        J&F, J and F; NaN throughout without frames.
    """
    j_mean, f_mean = _mean(j.tolist()), _mean(f.tolist())
    return {"J&F": (j_mean + f_mean) / 2, "J": j_mean, "F": f_mean}


def mean_over_objects(
    rows: Mapping[tuple[Sequenced, int], Row], unseen: Collection[tuple[Sequenced, int]] = ()
) -> Row:
    """Average rows, every object weighing the same whatever its sequence.

    Args:
        rows: by (sequence, object id).
        unseen: objects of unseen categories, which weigh as all others.

    Returns:
        One row; NaN throughout without rows.
    """
    columns = next(iter(rows.values()), COLUMNS)
    return {column: _mean([row[column] for row in rows.values()]) for column in columns}


def mean_by_category(
    rows: Mapping[tuple[Sequenced, int], Row], unseen: Collection[tuple[Sequenced, int]]
) -> Row:
    """Average the objects of seen and of unseen categories apart, then the four averages.

    Args:
        rows: by (sequence, object id), each with J&F, J and F.
        unseen: the objects whose category training has not shown.

    Returns:
        G, the mean of J_seen, J_unseen, F_seen and F_unseen; these four; and J&F, J and F over
        all objects. NaN where there is no object to average over, so G too if all objects are of
        one kind.

    Source: YouTube-VOS (Xu et al., arXiv 1809.03327), on evaluation.
    """
    kinds = {"seen": rows.keys() - unseen, "unseen": rows.keys() & unseen}
    apart = {
        f"{measure}_{kind}": _mean([row[measure] for key, row in rows.items() if key in keys])
        for measure in ("J", "F")
        for kind, keys in kinds.items()
    }
    whole = {measure: _mean([row[measure] for row in rows.values()]) for measure in MEANS}
    return {"G": _mean(list(apart.values())), **apart, **whole}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def mean_by_sequence(rows: Mapping[tuple[Sequenced, int], Row]) -> dict[Sequenced, Row]:
    """Average the rows of each sequence over its objects, in the order of first appearance."""
    grouped: dict[Sequenced, dict[tuple[Sequenced, int], Row]] = {}
    for key, row in rows.items():
        grouped.setdefault(key[0], {})[key] = row
    return {sequence: mean_over_objects(group) for sequence, group in grouped.items()}


def _without_ends(frames: Sequence[int]) -> Sequence[int]:
    return frames[1:-1]


def _after_given(frames: Sequence[int]) -> Sequence[int]:
    return frames[1:]


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


def _others(labels: Labels, object_ids: Sequence[int]) -> tuple[int, ...]:
    # Counting is far quicker than looking every pixel up, and foreign ids are rare.
    known = sum(np.count_nonzero(labels == object_id) for object_id in object_ids)
    if np.count_nonzero(labels) == known:
        return ()
    return tuple(int(i) for i in np.unique(labels) if i and i not in object_ids)


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

youtube_vos = register(
    Protocol(
        name="youtube_vos",
        rules=(
            "The objects that meta.json lists. Each counts from the annotated frame after its "
            "first one, in which it is given, to the end of the video. Objects of seen and of "
            "unseen categories are averaged apart, each object weighing the same; G is the mean "
            "of J and F of both. The code of the official server is not public. Ours to decide "
            "were: the last frame counts; in a frame without a pixel of an object, in truth and "
            "result, J and F are 1, as in DAVIS; an object that counts in no frame is left out; "
            "pixels of 255 are background; a result with an id that meta.json does not list is "
            "an error."
        ),
        union=False,
        object_ids=None,
        masks=_mask_of_each,
        foreign=_others,
        counted=_after_given,
        statistics=means,
        overall=mean_by_category,
    )
)
