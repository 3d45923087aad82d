"""What a benchmark tells of one object over its frames, and of all objects together."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vosfm.metrics.functional import decay, recall, stability

Row = dict[str, float]
Frames = NDArray[np.float64]
"""(T,) scores of the counted frames of one object, in the order of time."""

Sequenced = TypeVar("Sequenced", bound=Hashable)
"""What names a sequence: its folder's name, or a number."""

COLUMNS = ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")
MEANS = ("J&F", "J", "F")
STABLE_MEANS = (*MEANS, "V")


def mean_recall_decay(j: Frames, f: Frames, official: bool = False) -> Row:
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


def means(j: Frames, f: Frames, official: bool = False) -> Row:
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


def means_and_stability(j: Frames, f: Frames, official: bool = False) -> Row:
    """Tell of one object the means, and V, how much its scores vary over time.

    Args:
        j: (T,) of the counted frames.
        f: (T,) of the same.
        official: round the variance to four decimals before its root, as the LVOS tool does.

    Returns:
        J&F, J, F and V, which is lower for a steadier object; NaN throughout without frames.

    Source: LVOS (Hong et al.), Eq. 1.
    """
    return means(j, f) | {"V": float(stability((j + f) / 2, official=official))}


def mean_over_objects(
    rows: Mapping[tuple[Sequenced, int], Row],
    unseen: Collection[tuple[Sequenced, int]] | None = None,
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
    rows: Mapping[tuple[Sequenced, int], Row], unseen: Collection[tuple[Sequenced, int]] | None
) -> Row:
    """Average the objects of seen and of unseen categories apart, then the four averages.

    Args:
        rows: by (sequence, object id), each with J&F, J and F.
        unseen: the objects whose category training has not shown; None for none.

    Returns:
        G, the mean of J_seen, J_unseen, F_seen and F_unseen; these four; and J&F, J and F over
        all objects. NaN where there is no object to average over, so G too if all objects are of
        one kind.

    Source: YouTube-VOS (Xu et al., arXiv 1809.03327), on evaluation.
    """
    kinds = _kinds(rows, unseen or ())
    apart = {
        f"{measure}_{kind}": _mean([row[measure] for row in kinds[kind]])
        for measure in ("J", "F")
        for kind in kinds
    }
    whole = {measure: _mean([row[measure] for row in rows.values()]) for measure in MEANS}
    return {"G": _mean(list(apart.values())), **apart, **whole}


def mean_of_kinds(
    rows: Mapping[tuple[Sequenced, int], Row], unseen: Collection[tuple[Sequenced, int]] | None
) -> Row:
    """Average seen and unseen objects apart, and take the mean of both averages as the whole.

    Args:
        rows: by (sequence, object id), each with J&F, J, F and V.
        unseen: the objects that count as unseen; None if it is not known.

    Returns:
        J&F, J, F and V; then the same of the seen and of the unseen objects, each name followed by
        its kind. NaN where there is no object to average over, or it is not known; the whole is
        then the plain mean over all objects.

    Source: the report of the LVOS evaluation tool, whose four columns are such means.
    """
    kinds = _kinds(rows, unseen or ())
    apart = {
        (measure, kind): float("nan")
        if unseen is None
        else _mean([row[measure] for row in kinds[kind]])
        for measure in STABLE_MEANS
        for kind in kinds
    }
    both = unseen is not None and all(kinds.values())
    whole = {
        measure: _mean([apart[measure, kind] for kind in kinds])
        if both
        else _mean([row[measure] for row in rows.values()])
        for measure in STABLE_MEANS
    }
    return whole | {f"{measure}_{kind}": value for (measure, kind), value in apart.items()}


def mean_by_sequence(rows: Mapping[tuple[Sequenced, int], Row]) -> dict[Sequenced, Row]:
    """Average the rows of each sequence over its objects, in the order of first appearance."""
    grouped: dict[Sequenced, dict[tuple[Sequenced, int], Row]] = {}
    for key, row in rows.items():
        grouped.setdefault(key[0], {})[key] = row
    return {sequence: mean_over_objects(group) for sequence, group in grouped.items()}


def _kinds(
    rows: Mapping[tuple[Sequenced, int], Row], unseen: Collection[tuple[Sequenced, int]]
) -> dict[str, list[Row]]:
    return {
        "seen": [row for key, row in rows.items() if key not in unseen],
        "unseen": [row for key, row in rows.items() if key in unseen],
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
