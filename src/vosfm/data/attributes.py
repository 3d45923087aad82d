"""Challenges of a sequence that follow from its masks alone.

LVOS names thirteen; five of them are rules about masks and are computed here for any dataset. The
others (blur, deformation, clutter...) need eyes and are read from a dataset's own metadata, see
`Truth.attributes`.

Source: LVOS (Hong et al., arXiv 2404.19326), Table 2, which takes its thresholds from DAVIS 2016
(Perazzi et al., CVPR 2016), Table 1. What these tables leave open is an argument of `Rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vosfm.data.tracks import Track, Tracks, measure
from vosfm.data.truth import Truth


@dataclass(frozen=True)
class Rules:
    """The constants of the rules.

    Attributes:
        motion: pixels, for FM.
        over: frames of the video that `motion` is measured over. None: one step of the annotation,
            whatever it spans, so that the same object is faster where fewer frames are annotated
            (at 6 frames per second its steps are five times as long as at 30). Give 1 to compare
            datasets of one frame rate, or what one of them spans.
        steps: which step of an object is compared with `motion`, its "largest" or their "mean".
            LVOS speaks of the per-frame motion, DAVIS of its average.
        resolution: share of the frame, for LR.
        scale: ratio of two areas, for SV.
        border: pixels from the edge of the frame within which the box of a mask must come for the
            object to have left there, for OV. None: any disappearance counts, also one behind
            something.
        away: frames of the video, for LRA.

    Raises:
        ValueError: if a constant is out of its range.
    """

    motion: float = 20.0
    over: float | None = None
    steps: Literal["largest", "mean"] = "largest"
    resolution: float = 0.1
    scale: float = 2.0
    border: int | None = 1
    away: int = 100

    def __post_init__(self) -> None:
        if self.motion < 0 or self.away < 1 or (self.border is not None and self.border < 0):
            raise ValueError(f"{self}: motion and border must be at least 0, away at least 1")
        if self.over is not None and not self.over > 0:
            raise ValueError(f"over is {self.over}: give a number of frames above 0")
        if self.steps not in _OF_STEPS:
            raise ValueError(f"steps is {self.steps!r}: choose one of {', '.join(_OF_STEPS)}")
        if not 0 < self.resolution <= 1 or self.scale < 1:
            raise ValueError(f"{self}: resolution must lie in (0, 1], scale be at least 1")


_OF_STEPS: dict[str, Callable[..., float]] = {"largest": np.max, "mean": np.mean}


def fast_motion(track: Track, tracks: Tracks, rules: Rules) -> bool:
    """FM: its centroid moves by more than `motion` pixels.

    From each annotated frame that shows it to the next annotated one, if that shows it, too. The
    distance is scaled to `over` frames of the video by the numbers of the two frames.
    """
    if track.masks < 2:
        return False
    pairs = track.seen[:-1][np.diff(track.places[track.seen]) == 1]
    if not len(pairs):
        return False
    distances = np.linalg.norm(track.centroids[pairs + 1] - track.centroids[pairs], axis=1)
    spans = np.maximum(track.numbers[pairs + 1] - track.numbers[pairs], 1)
    over = tracks.step if rules.over is None else rules.over
    return bool(_OF_STEPS[rules.steps](distances * over / spans) > rules.motion)


def low_resolution(track: Track, tracks: Tracks, rules: Rules) -> bool:
    """LR: its box takes less than `resolution` of the frame, on average where it is seen."""
    if not track.masks:
        return False
    height, width = tracks.size
    return bool(_box_areas(track).mean() < rules.resolution * height * width)


def scale_variation(track: Track, tracks: Tracks, rules: Rules) -> bool:
    """SV: of any two of its boxes, one is more than `scale` times as large as the other."""
    if not track.masks:
        return False
    areas = _box_areas(track)
    return bool(areas.max() > rules.scale * areas.min())


def out_of_view(track: Track, tracks: Tracks, rules: Rules) -> bool:
    """OV: it is gone from an annotated frame that speaks of it, and the edge tells where to.

    Its last mask before, or its first one after, comes within `border` pixels of the frame's edge:
    it left there or came back there. What is only cut by the edge is still in view.
    """
    if rules.border is None:
        return bool(len(track.absences))
    height, width = tracks.size
    left, top, box_width, box_height = track.boxes.T
    nearest = np.min([left, top, width - left - box_width, height - top - box_height], axis=0)
    beside = np.append((nearest <= rules.border) & (track.areas > 0), False)
    return bool(beside[track.absences].any())


def long_term_reappearance(track: Track, tracks: Tracks, rules: Rules) -> bool:
    """LRA: it comes back after `away` or more frames of the video.

    Counted are the frames between the two annotated ones that show it, by their numbers; at least
    one annotated frame in between speaks of it and does not show it.
    """
    back = track.absences[track.absences[:, 1] < len(track.numbers)]
    gone = track.numbers[back[:, 1]] - track.numbers[back[:, 0]] - 1
    return bool((gone >= rules.away).any())


ATTRIBUTES: Mapping[str, Callable[[Track, Tracks, Rules], bool]] = {
    "FM": fast_motion,
    "LR": low_resolution,
    "SV": scale_variation,
    "OV": out_of_view,
    "LRA": long_term_reappearance,
}
"""Name in LVOS -> whether an object of a sequence has it."""

DEFAULT = Rules()


def mask_attributes(truth: Truth, rules: Rules = DEFAULT) -> frozenset[str]:
    """The challenges of a sequence: those of any of its objects.

    Args:
        truth: of the sequence; all its masks are read.
        rules: the constants.

    Returns:
        Names out of `ATTRIBUTES`.

    Raises:
        InputError: if a mask cannot be read.
    """
    return frozenset().union(*object_attributes(truth, rules).values())


def object_attributes(truth: Truth, rules: Rules = DEFAULT) -> dict[int, frozenset[str]]:
    """The challenges of each object of a sequence; arguments and errors as `mask_attributes`."""
    return attributes_of(measure(truth), rules)


def attributes_of(tracks: Tracks, rules: Rules = DEFAULT) -> dict[int, frozenset[str]]:
    """The challenges of each object, from what was measured of them."""
    return {
        object_id: frozenset(n for n, holds in ATTRIBUTES.items() if holds(track, tracks, rules))
        for object_id, track in tracks.objects.items()
    }


def _box_areas(track: Track) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    shown: np.ndarray[tuple[int], np.dtype[np.int64]] = track.boxes[track.seen, 2:].prod(axis=1)
    return shown
