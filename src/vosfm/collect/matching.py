"""Match: which masks are alike, which to follow, which candidate becomes the mask of a track."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Mask


class Shape:
    """A mask as its box, which is all that its overlap with others needs to look at.

    Attributes:
        area: its pixels.
        rows: from its first row to that after its last; empty for an empty mask.
        columns: as `rows`.

    Args:
        mask: (H, W).
    """

    def __init__(self, mask: Mask) -> None:
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        self.rows = slice(top, top + height)
        self.columns = slice(left, left + width)
        self._inside = mask[self.rows, self.columns]
        self.area = int(np.count_nonzero(self._inside))

    def shared(self, mask: Mask) -> int:
        """Pixels of this and of a mask (H, W)."""
        return int(np.count_nonzero(self._inside & mask[self.rows, self.columns]))

    def most(self, other: Shape) -> int:
        """Pixels that this and another could share, by their areas and boxes."""
        height = min(self.rows.stop, other.rows.stop) - max(self.rows.start, other.rows.start)
        width = min(self.columns.stop, other.columns.stop) - max(
            self.columns.start, other.columns.start
        )
        return min(max(height, 0) * max(width, 0), self.area, other.area)


def ious(first: Mask, second: Mask) -> NDArray[np.float64]:
    """Intersection over union of every mask with every other.

    Args:
        first: (N, H, W).
        second: (M, H, W).

    Returns:
        (N, M) in [0, 1]; 0 where both are empty.
    """
    rows, columns = [Shape(m) for m in first], [Shape(m) for m in second]
    table = np.zeros((len(rows), len(columns)))
    for n, one in enumerate(rows):
        for m, other in enumerate(columns):
            if one.most(other):
                table[n, m] = _iou(one.shared(second[m]), one.area, other.area)
    return table


def likeness(warped: Shape, candidates: Mask, trusted: Mask | None) -> NDArray[np.float64]:
    """IoU of a warped mask with candidates, of which only trusted pixels count.

    Args:
        warped: the track's mask in this frame by the flow.
        candidates: (K, H, W).
        trusted: (H, W), or None for all pixels.

    Returns:
        (K,) in [0, 1].
    """
    values = []
    for candidate in candidates:
        seen = candidate if trusted is None else candidate & trusted
        values.append(_iou(warped.shared(seen), warped.area, int(np.count_nonzero(seen))))
    return np.array(values)


def _iou(shared: int, first: int, second: int) -> float:
    union = first + second - shared
    return shared / union if union else 0.0


def suppress(masks: Mask, bound: float) -> NDArray[np.intp]:
    """Tell which masks to keep of those that show the same.

    A mask is left out if any before it overlaps it by more than the bound, even one that is left
    out itself: of a chain in which each is like the next, only the first stays.

    Args:
        masks: (N, H, W), the better ones first.
        bound: IoU above which two masks show the same.

    Returns:
        (M,) indices in ascending order.

    Source: the released data engine of MUG-VOS.
    """
    shapes = [Shape(mask) for mask in masks]

    def alike(one: Shape, other: Shape, mask: Mask) -> bool:
        if _iou(one.most(other), one.area, other.area) <= bound:
            return False
        return _iou(one.shared(mask), one.area, other.area) > bound

    kept = [
        n
        for n, shape in enumerate(shapes)
        if not any(alike(before, shape, masks[n]) for before in shapes[:n])
    ]
    return np.array(kept, np.intp)


def limit(
    areas: NDArray[np.integer], most: int, large: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Choose which proposals become tracks.

    Large ones do, the largest first should they alone be too many; the others are drawn.

    Args:
        areas: (N,), of each proposal in pixels.
        most: tracks at most.
        large: area above which a proposal is large, in pixels.
        rng: the chance.

    Returns:
        (min(N, most),) indices in ascending order.

    Source: the released data engine of MUG-VOS, where too many large ones are an error.
    """
    if len(areas) <= most:
        return np.arange(len(areas))
    big = np.flatnonzero(areas > large)
    big = big[np.argsort(-areas[big], kind="stable")][:most]
    small = np.flatnonzero(areas <= large)
    drawn = rng.choice(len(small), most - len(big), replace=False)
    return np.sort(np.concatenate((big, small[drawn])))


@dataclass(frozen=True)
class Offer:
    """What one query of a track brought.

    Attributes:
        track: whose query it was.
        points: (P, 2) that it was made of.
        masks: (K, H, W), the candidates.
        likeness: (K,) IoU of each with the warped mask.
        stability: (K,), in [0, 1].
    """

    track: int
    points: NDArray[np.float32]
    masks: Mask
    likeness: NDArray[np.float64]
    stability: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """The candidate that became the mask of a track.

    Attributes:
        mask: (H, W); it may be empty.
        iou: with the warped mask.
        points: (P, 2) that prompted it.
        round: in which it was accepted, from 0.
    """

    mask: Mask
    iou: float
    points: NDArray[np.float32]
    round: int


def cascade(
    tracks: Iterable[int],
    ask: Callable[[int, Sequence[int]], Iterable[Offer]],
    acceptance: Sequence[float] = (),
    min_stability: float | None = None,
) -> dict[int, Match]:
    """Ask for candidates round after round until every track has one that is good enough.

    Of a round's stable candidates the one most like the warped mask competes, the first of equals.
    It is accepted if its IoU reaches the bound of the round, in the last round whatever its IoU
    is. Candidates of earlier rounds are forgotten.

    Args:
        tracks: that need a mask.
        ask: called with a round and the tracks that still need one; offers candidates, those of
            one track in any number of offers. They may be made lazily: one mask of each track is
            kept.
        acceptance: the bound of each round; empty for one round that accepts anything.
        min_stability: what candidates must exceed; None for any.

    Returns:
        track -> its match; tracks that no stable candidate was offered for in the last round are
        not in it.

    Source: the released data engine of MUG-VOS; with no bound, the paper's Eq. 6.
    """
    pending = list(tracks)
    accepted: dict[int, Match] = {}
    bounds = (*acceptance[:-1], 0.0)
    for number, bound in enumerate(bounds):
        if not pending:
            break
        best: dict[int, Match] = {}
        for offer in ask(number, tuple(pending)):
            choice = _best(offer, min_stability)
            if choice is None:
                continue
            iou, held = float(offer.likeness[choice]), best.get(offer.track)
            if held is None or iou > held.iou:
                # A copy: a view would keep all candidates of the batch in memory.
                mask = offer.masks[choice].copy()
                best[offer.track] = Match(mask, iou, offer.points, number)
        accepted |= {track: match for track, match in best.items() if match.iou >= bound}
        pending = [track for track in pending if track not in accepted]
    return accepted


def _best(offer: Offer, min_stability: float | None) -> int | None:
    """Which of the stable candidates is most like the warped mask; None if none is stable."""
    values = offer.likeness
    if min_stability is not None:
        values = np.where(offer.stability > min_stability, values, -1.0)
    choice = int(values.argmax())
    return choice if values[choice] >= 0 else None
