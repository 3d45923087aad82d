"""Which candidates of which pathways live on: the rule of SAM2Long's memory tree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from vosfm.errors import InputError

_EDGE = 1e-5  # a candidate of quality 0 costs 11.5, not everything; as the released code has it


@dataclass(frozen=True, slots=True)
class Branch:
    """A pathway after a frame.

    Attributes:
        parent: the slot of the pathway that it continues.
        candidate: which of that pathway's candidates it remembers.
        score: sum of ln(quality + 1e-5) over all frames of its lineage.
    """

    parent: int
    candidate: int
    score: float


_Scored = tuple[float, int, int]
_score = itemgetter(0)


def branch(
    quality: Sequence[Sequence[float]],
    presence: Sequence[float],
    scores: Sequence[float],
    pathways: int,
    uncertainty: float,
    official: bool = False,
) -> list[Branch]:
    """Choose the pathways of one object that live on after a frame.

    In a frame that is certain, those with the best scores do. In an uncertain one, the best of each
    quality, rounded to two decimals, do, so that pathways differ; if those are too few, the best
    candidate of each pathway that would end joins them, by slot.

    Everything is a plain number: hand over `tensor.tolist()`, which is exact.

    Args:
        quality: of slot p and candidate k, the predicted IoU in [0, 1]; negative for a candidate
            that there is not, as where a mask was given.
        presence: of slot p, the logit that the object is in the frame.
        scores: of slot p, before the frame.
        pathways: P, how many live on. Usually there are as many slots already; slots that are
            copies of one another are all listed.
        uncertainty: a frame is certain where any pathway's presence, positive or negative, is
            beyond this.
        official: as the released code does: qualities of a pathway that does not see the object
            (presence of 0 or less) differ from the same qualities of one that does.

    Returns:
        P branches, the best first; those that only joined because others were alike come last.
        P always: where all slots together have fewer candidates, branches are repeated.

    Raises:
        InputError: if the lists do not fit each other, a quality is not a number, or there is no
            candidate at all.

    Source: SAM2Long, section 3.2; the logarithm's edge and what happens when too few differ, of
        which the paper says nothing, are those of the released code.
    """
    slots = len(scores)
    if pathways < 1 or not len(quality) == len(presence) == slots > 0:
        raise InputError(
            f"branching into {pathways} pathways: {len(quality)} slots have qualities, "
            f"{len(presence)} a presence and {slots} a score; give one of each for every slot"
        )
    ranked = [
        (scores[p] + math.log(value + _EDGE), p, k)
        for p in range(slots)
        for k, value in enumerate(quality[p])
        if not value < 0
    ]
    if not ranked or math.isnan(sum([score for score, _, _ in ranked])):
        raise InputError(
            f"branching: qualities {[list(row) for row in quality]} after scores {list(scores)}: "
            "give every slot a quality in [0, 1]; a model that says NaN may need full precision"
        )
    ranked.sort(key=_score, reverse=True)  # stable: of equals, the first slot's comes first
    if max(map(abs, presence)) > uncertainty:
        kept = ranked[:pathways]
    else:
        signs = [-1 if official and o <= 0 else 1 for o in presence]
        kept = _distinct(ranked, quality, signs, pathways)
    while len(kept) < pathways:
        kept += kept[: pathways - len(kept)]
    return [Branch(parent, candidate, score) for score, parent, candidate in kept]


def _distinct(
    ranked: list[_Scored], quality: Sequence[Sequence[float]], signs: list[int], pathways: int
) -> list[_Scored]:
    """The best candidate of each quality, then of each slot that has none, up to P of them."""
    kept: list[_Scored] = []
    seen: set[float] = set()
    for scored in ranked:
        _, slot, candidate = scored
        told = round(float(signs[slot] * quality[slot][candidate]), 2)
        if told not in seen:
            seen.add(told)
            kept.append(scored)
            if len(kept) == pathways:
                return kept
    continued = {slot for _, slot, _ in kept}
    for slot in range(len(signs)):
        if slot not in continued:
            kept += [scored for scored in ranked if scored[1] == slot][:1]
    return kept[:pathways]
