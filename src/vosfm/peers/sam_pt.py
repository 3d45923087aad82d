"""SAM-PT: points that are followed through the video, and prompt a SAM in every frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vosfm.peers.peer import Found, FrameByFrame, Image, Mask
from vosfm.peers.points import Choice, FlowPoints, Moved, PointTracker, choose
from vosfm.peers.sam import Answer, Sam, box_of
from vosfm.prompters import Prompter
from vosfm.types import Features

Renewal = Literal["horizon", "similar area"]
"""When points are chosen anew: every few frames, or of those frames in the one whose mask is most
as large as that which they were chosen in before."""

REINIT: dict[str, Any] = {"renewal": "horizon", "negatives": 72}
"""Arguments of `SamPt` as its authors choose points anew."""

_SMALLEST = 25  # pixels; in a mask that is no larger no points are chosen anew


@dataclass(frozen=True)
class View:
    """A frame, with those before it that the point tracker looks at.

    Attributes:
        features: of the frame.
        frames: of the stream, the last one is the frame.
        index: of it.
    """

    features: Features
    frames: tuple[Image, ...]
    index: int


@dataclass(frozen=True)
class Cloud:
    """Points that stand for an object.

    Attributes:
        past: where they were in the last frames, the oldest first.
        inside: (P,) bool, which lie on the object; the others lie beside it.
    """

    past: tuple[Moved, ...]
    inside: NDArray[np.bool_]

    @property
    def seen(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The points (S, 2) that are visible now, and which of them lie on the object."""
        now = self.past[-1]
        return now.points[now.visible], self.inside[now.visible]


@dataclass(frozen=True)
class Tracked:
    """What is known of an object.

    Attributes:
        cloud: that prompts.
        area: of the mask that it was chosen in, in pixels.
        since: the frame of that mask.
        heir: of the masks since then, the points, area and frame of the one that is most as large.
    """

    cloud: Cloud
    area: int
    since: int
    heir: tuple[Cloud, int, int] | None = None


class SamPt(FrameByFrame[View, Tracked]):
    """Follows points on and beside the object, by which SAM then tells its mask.

    SAM is asked twice: with the points inside, then with all points and its first answer. Its mask
    is refined by prompting it again and again with all points, the mask and its box. An object of
    which no point inside is visible is lost for that frame, and so is one whose mask SAM does not
    think well of.

    Args:
        prompter: a SAM with an encoder of its own.
        tracker: follows the points; None for `FlowPoints`.
        exclusive: whether a pixel belongs to one object at most.
        positives: points inside.
        negatives: points outside.
        inside: how points inside are chosen.
        outside: how points outside are chosen, of all that the mask is not.
        others: take other objects' points inside as points outside, too; None for where objects
            exclude each other.
        refinements: of a mask, at most.
        quality: masks that SAM expects a lower IoU of are dropped.
        border: share of the frame's width and height; nearer to an edge a point is not visible.
        renewal: when points are chosen anew; None for never.
        horizon: frames after which they are, the one that they were chosen in included.
        seed: of the points.

    Raises:
        InputError: if the prompter is no SAM, or has no encoder.
        ValueError: if an argument is out of range.

    Source: SAM-PT (Rajič et al., 2023), section 3; defaults of its released code, which a point
        tracker of its own, PIPS or CoTracker, belongs to. It asks SAM where points outside alone
        are visible, too. Its "reinit" decides behind the last frame of a horizon and tracks all
        frames after the new points once more; here the frames that are told stay as they are, and
        new points are followed from the frame that they were chosen in. It also waits for other
        objects, and ends the track if the mask is too small; here every object goes by its own
        time, and tries again with the next frame. Its renewal at the median area and its test of
        patches, off by default, are left out.
    """

    def __init__(
        self,
        prompter: Prompter,
        tracker: PointTracker | None = None,
        exclusive: bool = True,
        positives: int = 8,
        negatives: int = 1,
        inside: Choice = "kmedoids",
        outside: Choice = "mixed",
        others: bool | None = None,
        refinements: int = 12,
        quality: float = 0.7,
        border: float = 0.01,
        renewal: Renewal | None = None,
        horizon: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(exclusive, prompter)
        for name, choice in (("inside", inside), ("outside", outside)):
            if choice not in get_args(Choice):
                raise ValueError(f"{name} is {choice!r}: give one of {get_args(Choice)}")
        if renewal is not None and renewal not in get_args(Renewal):
            raise ValueError(f"renewal is {renewal!r}: give one of {get_args(Renewal)}, or None")
        for name, number, least in (
            ("positives", positives, 1),
            ("negatives", negatives, 0),
            ("refinements", refinements, 0),
            ("horizon", horizon, 2),
            ("seed", seed, 0),
        ):
            if number < least:
                raise ValueError(f"{name} is {number}: give at least {least}")
        self._sam = Sam(prompter)
        self.tracker = tracker or FlowPoints()
        self.positives = positives
        self.negatives = negatives
        self.inside = inside
        self.outside = outside
        self.others = exclusive if others is None else others
        self.refinements = refinements
        self.quality = quality
        self.border = border
        self.renewal = renewal
        self.horizon = horizon
        self.seed = seed

    def look(self, frame: Image, index: int, before: View | None) -> View:
        earlier = () if before is None else before.frames[1 - self.tracker.window :]
        return View(self._sam.look(frame), (*earlier, frame), index)

    def begin(self, view: View, mask: Mask, object_id: int) -> Tracked:
        cloud = self._cloud(view, mask, object_id)
        return Tracked(cloud, int(np.count_nonzero(mask)), view.index)

    def find(self, view: View, known: Mapping[int, Tracked]) -> dict[int, Found[Tracked]]:
        moved = self._moved(view, known)
        found = {}
        for object_id, tracked in moved.items():
            others = [other.cloud for i, other in moved.items() if i != object_id]
            points, labels = _prompt(tracked.cloud, others if self.others else ())
            answer = self._ask(view.features, points, labels) if labels.any() else None
            score = 0.0 if answer is None else float(answer.quality[0].clamp(0, 1))
            if answer is None or score < self.quality:
                logits = np.full(view.frames[-1].shape[:2], -1, np.float32)
            else:
                logits = self._sam.restore(answer.logits, view.features)[0].cpu().numpy()
            found[object_id] = Found(logits, score, tracked)
        return found

    def update(self, view: View, known: Tracked, mask: Mask, object_id: int) -> Tracked:
        area = int(np.count_nonzero(mask))
        age = view.index - known.since
        eligible = age > self.horizon // 4 and area > _SMALLEST
        if self.renewal == "similar area" and eligible and _nearer(area, known):
            known = replace(known, heir=(self._cloud(view, mask, object_id), area, view.index))
        if self.renewal is None or age < self.horizon - 1:
            return known
        if known.heir is not None:
            return Tracked(*known.heir)
        return self.begin(view, mask, object_id) if area > _SMALLEST else known

    def _cloud(self, view: View, mask: Mask, object_id: int) -> Cloud:
        rng = np.random.default_rng([self.seed, view.index, object_id])
        frame = view.frames[-1]
        inside = choose(mask, frame, self.positives, self.inside, rng)
        outside = choose(~mask, frame, self.negatives, self.outside, rng)
        points = np.concatenate((inside, outside)).astype(np.float32)
        return Cloud(
            (Moved(points, np.ones(len(points), np.bool_)),), np.arange(len(points)) < len(inside)
        )

    def _moved(self, view: View, known: Mapping[int, Tracked]) -> dict[int, Tracked]:
        """The objects with their points where they are now; one call for all of equal past."""
        clouds = [cloud for tracked in known.values() for cloud in _clouds(tracked)]
        now: dict[int, Cloud] = {}
        for length in {len(cloud.past) for cloud in clouds}:
            alike = [cloud for cloud in clouds if len(cloud.past) == length]
            ends = np.cumsum([len(cloud.inside) for cloud in alike])[:-1]
            past = [_joined(step) for step in zip(*(cloud.past for cloud in alike), strict=True)]
            moved = self.tracker(view.frames[-1 - length :], past)
            visible = moved.visible & self._away(moved.points, view.frames[-1])
            parts = zip(np.split(moved.points, ends), np.split(visible, ends), strict=True)
            for cloud, part in zip(alike, parts, strict=True):
                kept = (*cloud.past, Moved(*part))[1 - self.tracker.window :]
                now[id(cloud)] = replace(cloud, past=kept)
        return {
            object_id: replace(
                tracked,
                cloud=now[id(tracked.cloud)],
                heir=tracked.heir and (now[id(tracked.heir[0])], *tracked.heir[1:]),
            )
            for object_id, tracked in known.items()
        }

    def _away(self, points: NDArray[np.float32], frame: Image) -> NDArray[np.bool_]:
        """Which points (P, 2) are not at the edges of the frame."""
        share = points / np.array((frame.shape[1], frame.shape[0]), np.float32)
        return np.all((share >= self.border) & (share <= 1 - self.border), axis=1)

    def _ask(
        self, features: Features, points: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> Answer:
        inside = labels == 1
        answer = self._sam.ask(features, points[inside], labels[inside])
        if not inside.all():
            answer = self._sam.ask(features, points, labels, mask=answer.logits[0])
        for _ in range(self.refinements):
            mask = (self._sam.restore(answer.logits, features)[0] > 0).cpu().numpy()
            if np.count_nonzero(mask) < 2:
                break
            answer = self._sam.ask(features, points, labels, box_of(mask), answer.logits[0])
        return answer


def _nearer(area: int, tracked: Tracked) -> bool:
    """Whether a mask is more as large as the first than that of the heir is."""
    best = float("inf") if tracked.heir is None else abs(tracked.heir[1] - tracked.area)
    return abs(area - tracked.area) < best


def _clouds(tracked: Tracked) -> Iterator[Cloud]:
    yield tracked.cloud
    if tracked.heir is not None:
        yield tracked.heir[0]


def _joined(step: Sequence[Moved]) -> Moved:
    """The points of several clouds in one frame."""
    return Moved(
        np.concatenate([moved.points for moved in step]),
        np.concatenate([moved.visible for moved in step]),
    )


def _prompt(cloud: Cloud, others: Sequence[Cloud]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points (P, 2) that are visible, and their labels (P,): 1 on the object, 0 beside it."""
    points, inside = cloud.seen
    foreign = [seen[on] for seen, on in (other.seen for other in others)]
    labels = np.concatenate((inside, np.zeros(sum(map(len, foreign)), np.bool_)))
    return np.concatenate((points, *foreign)), labels.astype(np.int64)
