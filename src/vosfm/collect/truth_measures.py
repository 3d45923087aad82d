"""How true the tracks are that the data engine made, where the true masks are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from vosfm.collect.following import TrackedMask
from vosfm.collect.matching import ious
from vosfm.data.video import Mask


@dataclass(frozen=True)
class Measures:
    """Counts of one clip; those of several add up to those of all.

    A track and an object *match* if their masks in the first frame do: pairs are taken by falling
    IoU, down to the bound, each object and each track once at most.

    Attributes:
        objects: true objects in sight in the first frame.
        tracks: of the engine.
        matched: objects that a track matches.
        followed: matched objects whose mean IoU over the clip reaches the bound.
        overlap: sum over matched objects of their mean IoU over the frames in which the object is
            in sight or the track alive. A track counts 0 where it is lost, or where its object is
            not in sight.
        switches: how often a track changes the object that it covers best, over all tracks and
            pairs of neighbouring frames; frames in which it touches none are passed over.
        lost: matched tracks that end before the last frame that shows their object.
        duplicates: tracks that reach the bound with an object whose match is another track.
        false: tracks that reach it with none.
    """

    objects: int = 0
    tracks: int = 0
    matched: int = 0
    followed: int = 0
    overlap: float = 0.0
    switches: int = 0
    lost: int = 0
    duplicates: int = 0
    false: int = 0

    def __add__(self, other: Measures) -> Measures:
        return Measures(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def first_recall(self) -> float:
        """Share of the objects that a track matches, [0, 1]; NaN of no object."""
        return self.matched / self.objects if self.objects else float("nan")

    @property
    def recall(self) -> float:
        """Share of the objects that are followed, [0, 1]; NaN of no object."""
        return self.followed / self.objects if self.objects else float("nan")

    @property
    def iou(self) -> float:
        """Mean over the matched objects of their IoU over the clip, [0, 1]; NaN of none."""
        return self.overlap / self.matched if self.matched else float("nan")


def measure(
    found: Iterable[Sequence[TrackedMask]], truth: Iterable[Mask], bound: float = 0.5
) -> Measures:
    """Compare tracks with the true masks of the same frames.

    Args:
        found: the tracks of each frame, as `follow` yields them; read one frame at a time. All of
            them begin in the first frame.
        truth: (O, H, W) masks of each frame, empty where an object is out of sight; the same
            objects in the same order in all.
        bound: IoU in (0, 1] that a match, and a mean over a clip, must reach.

    Raises:
        ValueError: if there are not as many true frames as found ones, or the bound is not in
            (0, 1].
    """
    if not 0.0 < bound <= 1.0:
        raise ValueError(f"the bound must lie in (0, 1], not {bound}")
    tables: list[NDArray[np.float64]] = []
    alive: list[NDArray[np.bool_]] = []
    seen: list[NDArray[np.bool_]] = []
    rows: dict[int, int] = {}
    for tracks, masks in zip(found, truth, strict=True):
        if not tables:
            rows = {track.id: row for row, track in enumerate(tracks)}
        here = [rows[track.id] for track in tracks]
        table = np.zeros((len(rows), len(masks)))
        if here:
            table[here] = ious(np.stack([track.mask for track in tracks]), masks)
        tables.append(table)
        alive.append(np.isin(np.arange(len(rows)), here))
        seen.append(np.asarray(masks.any(axis=(1, 2))))
    if not tables:
        return Measures()
    return _count(np.stack(tables), np.stack(alive), np.stack(seen), bound)


def _count(
    table: NDArray[np.float64], alive: NDArray[np.bool_], seen: NDArray[np.bool_], bound: float
) -> Measures:
    """Count over the IoUs (T, N, O) of tracks alive (T, N) and objects in sight (T, O)."""
    first = table[0]
    pairs = _pairs(first, bound)
    means = []
    lost = 0
    for n, o in pairs:
        counted = alive[:, n] | seen[:, o]
        means.append(float(table[counted, n, o].mean()))
        lost += int(np.flatnonzero(alive[:, n])[-1] < np.flatnonzero(seen[:, o])[-1])
    like = (first >= bound).any(axis=1)
    return Measures(
        objects=int(seen[0].sum()),
        tracks=first.shape[0],
        matched=len(pairs),
        followed=sum(mean >= bound for mean in means),
        overlap=sum(means),
        switches=sum(_switches(table[:, n]) for n in range(first.shape[0])),
        lost=lost,
        duplicates=int(like.sum()) - len(pairs),
        false=int((~like).sum()),
    )


def _pairs(first: NDArray[np.float64], bound: float) -> list[tuple[int, int]]:
    """Tracks and objects that match, by their IoUs (N, O)."""
    pairs: list[tuple[int, int]] = []
    left = first.copy()
    while left.size and left.max() >= bound:
        n, o = (int(i) for i in np.unravel_index(left.argmax(), left.shape))
        pairs.append((n, o))
        left[n] = left[:, o] = -1.0
    return pairs


def _switches(course: NDArray[np.float64]) -> int:
    """Changes of the best of IoUs (T, O); of equals, the one before goes on."""
    current: int | None = None
    changes = 0
    for values in course:
        best = values.max(initial=0.0)
        if best == 0.0 or (current is not None and values[current] == best):
            continue
        changes += current is not None
        current = int(values.argmax())
    return changes
