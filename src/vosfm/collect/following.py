"""Follow: from the masks of a clip's first frame to tracks, one frame after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vosfm.collect.matching import Offer, Shape, cascade, likeness, limit, suppress
from vosfm.collect.prompting import PromptedSegmenter, Proposer
from vosfm.collect.sampling import Points, carried, places, sample
from vosfm.collect.settings import Settings
from vosfm.collect.warping import trusted
from vosfm.data.video import Image, Mask
from vosfm.errors import InputError
from vosfm.flow import Flow, pull


@dataclass(frozen=True)
class TrackedMask:
    """The mask of a track in one frame.

    Attributes:
        id: of the track, from 0.
        mask: (H, W) bool, never empty: a track that is lost has no mask from then on.
        iou: with the previous mask, warped into this frame; 1 in the first frame.
        points: (P, 2) x and y that prompted it; None in the first frame.
    """

    id: int
    mask: Mask
    iou: float
    points: NDArray[np.float32] | None


def follow(
    frames: Iterable[Image],
    proposer: Proposer,
    segmenter: PromptedSegmenter,
    flow: Flow,
    settings: Settings,
    seed: int,
) -> Iterator[list[TrackedMask]]:
    """Propose masks in the first frame of a clip and follow each of them.

    From frame to frame, points are sampled in each mask and carried by the flow, they prompt the
    segmenter, and the candidate that is most like the warped mask is the track's next mask. A
    track is lost for good once nothing of it can be warped, or no candidate is acceptable.

    Args:
        frames: (H, W, 3) uint8 RGB each; two are held at a time.
        proposer: finds the masks of the first frame; empty ones are left out.
        segmenter: answers the points.
        flow: between neighbouring frames.
        settings: the paper's way or another.
        seed: of all chance, at least 0; the same clip and seed give the same tracks.

    Yields:
        The tracks that are alive in each frame, by their ids.

    Raises:
        InputError: if a frame is of another size than the one before.

    Source: MUG-VOS (Lim et al., AAAI 2025), Eq. 1-6.
    """
    tracks: list[TrackedMask] = []
    before: Image | None = None
    for index, frame in enumerate(frames):
        if before is None:
            tracks = _begin(proposer.propose(frame), settings, seed)
        elif frame.shape != before.shape:
            raise InputError(
                f"frame {index} measures {frame.shape[:2]} (height, width), the one before "
                f"{before.shape[:2]}; bring all frames of a clip to one size"
            )
        elif tracks:
            step = _Step(tracks, before, frame, index, flow, settings, seed)
            tracks = step.match(segmenter)
        yield tracks
        before = frame


def _begin(proposed: Mask, settings: Settings, seed: int) -> list[TrackedMask]:
    """The tracks of the first frame; their ids follow the order of the proposals."""
    proposed = proposed[proposed.any(axis=(1, 2))]
    if settings.nms_iou is not None:
        proposed = proposed[suppress(proposed, settings.nms_iou)]
    if settings.max_tracks is not None:
        areas = np.count_nonzero(proposed, axis=(1, 2))
        large = settings.large * proposed.shape[1] * proposed.shape[2]
        rng = np.random.default_rng([seed, 0])
        proposed = proposed[limit(areas, settings.max_tracks, large, rng)]
    return [TrackedMask(number, mask, 1.0, None) for number, mask in enumerate(proposed)]


class _Step:
    """All tracks on their way from one frame to the next."""

    def __init__(
        self,
        tracks: Sequence[TrackedMask],
        before: Image,
        frame: Image,
        index: int,
        flow: Flow,
        settings: Settings,
        seed: int,
    ) -> None:
        self._ids = [track.id for track in tracks]
        self._frame, self._index = frame, index
        self._settings, self._seed = settings, seed
        held = np.stack([track.mask for track in tracks])
        back = flow(frame, before)
        self._there: NDArray[np.float32] | None = None
        if settings.cycle_error is not None or settings.sample_from == "previous":
            self._there = flow(before, frame)
        self._trusted: Mask | None = None
        if settings.cycle_error is not None and self._there is not None:
            held &= trusted(self._there, back, settings.cycle_error)
            self._trusted = trusted(back, self._there, settings.cycle_error)
        warped = pull(held, back)
        self._shapes = [Shape(mask) for mask in warped]
        self._sources = held if settings.sample_from == "previous" else warped

    def match(self, segmenter: PromptedSegmenter) -> list[TrackedMask]:
        """The tracks that go on."""
        seen = [row for row, shape in enumerate(self._shapes) if shape.area]
        if not seen:
            return []
        segmenter.look(self._frame, self._index)
        matches = cascade(
            seen,
            lambda number, pending: self._offers(segmenter, number, pending),
            self._settings.acceptance,
            self._settings.min_stability,
        )
        return [
            TrackedMask(self._ids[row], match.mask, match.iou, match.points)
            for row, match in sorted(matches.items())
            if match.mask.any()
        ]

    def _offers(
        self, segmenter: PromptedSegmenter, number: int, pending: Sequence[int]
    ) -> Iterator[Offer]:
        """Answers to all queries of a round, in batches whose queries have as many points."""
        waiting: dict[int, list[tuple[int, Points]]] = {}
        for row in pending:
            for points in self._queries(row, number):
                batch = waiting.setdefault(len(points), [])
                batch.append((row, points))
                if len(batch) == self._settings.chunk:
                    yield from self._answers(segmenter, waiting.pop(len(points)))
        for batch in waiting.values():
            yield from self._answers(segmenter, batch)

    def _queries(self, row: int, number: int) -> Iterator[Points]:
        among = places(self._sources[row])
        if self._settings.sample_from == "previous" and self._there is not None:
            among = carried(among, self._there)
        if not len(among):
            return
        rng = np.random.default_rng([self._seed, self._index, self._ids[row], number])
        for _ in range(self._settings.draws):
            yield sample(among, self._settings.points, self._settings.sampling, rng)

    def _answers(
        self, segmenter: PromptedSegmenter, batch: Sequence[tuple[int, Points]]
    ) -> Iterator[Offer]:
        points = np.stack([points for _, points in batch])
        found = segmenter.candidates(points, self._settings.stability_offset)
        for query, (row, own) in enumerate(batch):
            masks = found.masks[query]
            similar = likeness(self._shapes[row], masks, self._trusted)
            yield Offer(row, own, masks, similar, found.stability[query])
