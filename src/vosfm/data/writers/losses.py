"""What a layout does not tell any more, found by reading it back."""

from __future__ import annotations

from collections.abc import Sequence

from vosfm.data.truth import Truth
from vosfm.data.writers.writer import Plan

_LOST = {
    "numbers": "which frames of the video are annotated; their distances, and with them fast "
    "motion and reappearance, are counted otherwise",
    "length": "how long the video goes on after its last annotated frame",
    "ranges": "which frames an object's annotation speaks of; from its start on it now counts in "
    "all of them, as absent where it has no mask",
    "unseen": "which objects training has not shown",
    "captions": "what is said of the objects in words",
    "attributes": "the challenges that the dataset names",
}
"""Kind -> what is lost, in words."""


def losses(truths: Sequence[Truth], plans: Sequence[Plan], back: Sequence[Truth]) -> list[str]:
    """Compare truths with what is read back of them; no mask is read.

    Args:
        truths: that were written.
        plans: by which.
        back: that were read.

    Returns:
        What is lost, a line for each kind.

    Raises:
        RuntimeError: if objects, frames or starts differ: a writer does not fit its reader.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _LOST}
    for truth, plan, after in zip(truths, plans, back, strict=True):
        _same(truth, plan, after)
        for kind in _lost(truth, plan, after):
            found[kind].append(truth.name)
    return [
        f"{len(names)} of {len(truths)} sequences lose {_LOST[kind]} (the first is {names[0]})"
        for kind, names in found.items()
        if names
    ]


def _lost(truth: Truth, plan: Plan, after: Truth) -> list[str]:
    at = {name: place for place, name in enumerate(after.frame_names)}
    pairs = [(place, at[name]) for place, name in enumerate(plan.frame_names) if name in at]
    # Numbers may count from another frame, such as 1: only distances matter.
    offsets = {after.numbers[new] - truth.numbers[old] for old, new in pairs}
    rest, rest_after = (one.length - one.numbers[-1] for one in (truth, after))
    spoken = (
        {plan.object_ids[i] for i in truth.ids(old)} == set(after.ids(new)) for old, new in pairs
    )
    unseen = frozenset(plan.object_ids[i] for i in truth.unseen or () if i in plan.object_ids)
    captions = {plan.object_ids[i]: words for i, words in truth.captions.items()}
    lost = {
        "numbers": len(offsets) > 1,
        "length": len(offsets) == 1 and rest_after < rest,
        "ranges": not all(spoken),
        "unseen": truth.unseen is not None and unseen != after.unseen,
        "captions": any(after.captions.get(i) != words for i, words in captions.items()),
        "attributes": not truth.attributes <= after.attributes,
    }
    return [kind for kind, holds in lost.items() if holds]


def _same(truth: Truth, plan: Plan, after: Truth) -> None:
    starts = {new: plan.frame_names[truth.starts[old]] for old, new in plan.object_ids.items()}
    starts_after = {i: after.frame_names[after.starts[i]] for i in after.object_ids}
    spoken = {name for place, name in enumerate(plan.frame_names) if truth.ids(place)}
    if starts != starts_after or not spoken <= set(after.frame_names):
        raise RuntimeError(
            f"{truth.name}: its objects start in {starts} but read back in {starts_after}, with "
            f"{len(spoken)} frames but {len(after.frame_names)}"
        )
