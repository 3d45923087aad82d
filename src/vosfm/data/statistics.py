"""How large a dataset is, and how its masks and tracks are spread: counting, sequence by sequence.

Source of the columns: MUG-VOS (Table 1, Eq. 7); of the disappearance rate: MOSE (Ding et al., ICCV
2023, Table 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from vosfm.data.attributes import ATTRIBUTES, DEFAULT, Rules, attributes_of
from vosfm.data.tracks import Track, Tracks, measure
from vosfm.data.truth import Truth

AREA_EDGES: NDArray[np.float64] = np.round(10.0 ** np.arange(-5, 0, 0.5), 12)
"""Between the bins of mask areas, as shares of the frame: two a decade; the outer bins are open."""

LENGTH_EDGES: NDArray[np.int64] = 2 ** np.arange(0, 17)
"""Between the bins of track lengths, in frames of the video; one bin lies above."""


@dataclass(frozen=True)
class ObjectStatistics:
    """One track.

    Attributes:
        object_id: its id.
        masks: annotated frames that show it.
        frames: annotated frames that speak of it.
        length: frames of the video from the first to the last that shows it.
        area: mean share of the frame that its masks cover, in [0, 1]; 0 if it is never seen.
        absences: how often it goes out of sight after it was seen.
        attributes: its challenges by the masks.
    """

    object_id: int
    masks: int
    frames: int
    length: int
    area: float
    absences: int
    attributes: frozenset[str]


@dataclass(frozen=True)
class SequenceStatistics:
    """One sequence.

    Attributes:
        name: of the sequence.
        size: (H, W) of its frames.
        length: frames of the video, as far as the format tells.
        frames: annotated ones: those that the annotation of an object speaks of.
        masks: that show something.
        density: mean over the annotated frames of the share that at least one mask covers; NaN
            without such frames. MUG-VOS, Eq. 7.
        areas: counts of masks by their share of the frame, see `AREA_EDGES`.
        objects: its tracks.
        attributes: its challenges by the masks, those of any object.
        named: those that the dataset names itself.
    """

    name: str
    size: tuple[int, int]
    length: int
    frames: int
    masks: int
    density: float
    areas: NDArray[np.int64]
    objects: tuple[ObjectStatistics, ...]
    attributes: frozenset[str]
    named: frozenset[str]


def describe(truth: Truth, rules: Rules = DEFAULT) -> SequenceStatistics:
    """Count what a sequence holds; all its masks are read, one frame is in memory at a time.

    Args:
        truth: of the sequence.
        rules: the constants of the challenges.

    Raises:
        InputError: if a mask cannot be read.
    """
    tracks = measure(truth)
    challenges = attributes_of(tracks, rules)
    pixels = max(tracks.size[0] * tracks.size[1], 1)
    shares = [track.areas[track.seen] / pixels for track in tracks.objects.values()]
    return SequenceStatistics(
        name=truth.name,
        size=tracks.size,
        length=truth.length,
        frames=len(tracks.places),
        masks=sum(track.masks for track in tracks.objects.values()),
        density=float(tracks.covered.mean() / pixels) if len(tracks.places) else float("nan"),
        areas=_histogram(np.concatenate([np.empty(0), *shares]), AREA_EDGES),
        objects=tuple(
            _describe_object(object_id, track, tracks, challenges[object_id])
            for object_id, track in tracks.objects.items()
        ),
        attributes=frozenset().union(*challenges.values()),
        named=truth.attributes,
    )


@dataclass
class DatasetStatistics:
    """What the sequences of a dataset add up to; its size does not grow with theirs.

    Attributes:
        videos: how many.
        tracks: objects of all videos.
        masks: that show something.
        frames: annotated ones.
        disappearing: tracks that go out of sight after they were seen.
        areas: counts of masks by their share of the frame, see `AREA_EDGES`.
        spans: counts of tracks by their length, see `LENGTH_EDGES`; those never seen are left out.
        lengths: length of a video -> how many have it.
        attributes: challenge by the masks -> how many sequences and how many objects have it.
        named: challenge that the dataset names itself -> how many sequences have it.
    """

    videos: int = 0
    tracks: int = 0
    masks: int = 0
    frames: int = 0
    disappearing: int = 0
    areas: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(AREA_EDGES) + 1, np.int64)
    )
    spans: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(LENGTH_EDGES) + 1, np.int64)
    )
    lengths: Counter[int] = field(default_factory=Counter)
    attributes: dict[str, tuple[int, int]] = field(
        default_factory=lambda: dict.fromkeys(ATTRIBUTES, (0, 0))
    )
    named: Counter[str] = field(default_factory=Counter)
    _covered: float = 0.0

    def add(self, sequence: SequenceStatistics) -> None:
        """Count one more sequence."""
        objects = sequence.objects
        self.videos += 1
        self.tracks += len(objects)
        self.masks += sequence.masks
        self.frames += sequence.frames
        self.disappearing += sum(one.absences > 0 for one in objects)
        self.areas += sequence.areas
        self.spans += _histogram(
            np.asarray([one.length for one in objects if one.length], np.int64), LENGTH_EDGES
        )
        self.lengths[sequence.length] += 1
        for name, (sequences, tracks) in self.attributes.items():
            having = sum(name in one.attributes for one in objects)
            self.attributes[name] = sequences + (having > 0), tracks + having
        self.named.update(sequence.named)
        if sequence.frames:
            self._covered += sequence.density * sequence.frames

    @property
    def density(self) -> float:
        """Mean over all annotated frames of the share that at least one mask covers; NaN if none.

        Source: MUG-VOS, Eq. 7.
        """
        return self._covered / self.frames if self.frames else float("nan")

    def summary(self) -> dict[str, float]:
        """One row: Table 1 of MUG-VOS, the lengths of videos, and the disappearance rate."""
        lengths = list(self.lengths.elements())
        return {
            "videos": self.videos,
            "tracks": self.tracks,
            "masks": self.masks,
            "masks_per_frame": _ratio(self.masks, self.frames),
            "annotated_frames": self.frames,
            "density": self.density,
            "mean_length": _ratio(sum(lengths), self.videos),
            "median_length": float(median(lengths)) if lengths else float("nan"),
            "longest": max(lengths, default=0),
            "disappearance_rate": _ratio(self.disappearing, self.tracks),
        }


def bins(edges: Sequence[float] | NDArray[np.generic]) -> list[tuple[float, float]]:
    """From and below which value each bin of a histogram counts; the outer ones are open.

    Example:
        >>> bins([1, 2, 4])
        [(0.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, inf)]
    """
    borders = [0.0, *(float(edge) for edge in edges), float("inf")]
    return list(pairwise(borders))


def _histogram(
    values: NDArray[np.generic], edges: NDArray[np.float64] | NDArray[np.int64]
) -> NDArray[np.int64]:
    places = np.searchsorted(edges, values, side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def _describe_object(
    object_id: int, track: Track, tracks: Tracks, attributes: frozenset[str]
) -> ObjectStatistics:
    pixels = tracks.size[0] * tracks.size[1]
    return ObjectStatistics(
        object_id=object_id,
        masks=track.masks,
        frames=len(track.areas),
        length=track.length,
        area=float(track.areas[track.seen].mean() / pixels) if track.masks else 0.0,
        absences=len(track.absences),
        attributes=attributes,
    )


def _ratio(count: int, of: int) -> float:
    return count / of if of else float("nan")
