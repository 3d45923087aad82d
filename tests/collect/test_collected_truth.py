"""The data engine on videos whose true masks are known: what it makes is true.

Motion is the only difficulty of the rendered scenes, so that what is missed is the engine's doing.
The bounds lie below what is measured, and far above what a flow that is wrong can reach.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from truths import boxes

from vosfm.collect.following import follow
from vosfm.collect.oracle import Oracle
from vosfm.collect.settings import PRESETS, Settings
from vosfm.collect.truth_measures import Measures, measure
from vosfm.data import ProceduralVideo, read_labels
from vosfm.data.procedural import Difficulty
from vosfm.data.video import Image, Mask
from vosfm.flow import DIS, Flow

FAST = Difficulty(
    speed=0.035, deformation=0.04, occlusion=0, look_alikes=0, leaving=0, similarity=0.1, noise=0.1
)
PAPER, OFFICIAL = PRESETS["paper"], PRESETS["official"]


class Reversed(Flow):
    """The way back for the way there."""

    def __init__(self) -> None:
        self._true = DIS()

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        return self._true(target, source)


class Still(Flow):
    """Nothing moves."""

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        return np.zeros((*source.shape[:2], 2), np.float32)


@cache
def scene(seed: int) -> tuple[tuple[Image, ...], tuple[Mask, ...]]:
    """Ten frames of three things with two parts each, and their true masks."""
    video = ProceduralVideo(seed, 10, (160, 256), objects=3, difficulty=FAST, parts=2)
    return tuple(video.frames()), tuple(video.annotation(t).masks for t in range(10))


def truth_of(settings: Settings, flow: Flow) -> Measures:
    total = Measures()
    for seed in (0, 2):
        frames, masks = scene(seed)
        oracle = Oracle(lambda t, masks=masks: masks[t], seed=seed)
        total += measure(follow(frames, oracle, oracle, flow, settings, seed), masks)
    return total


def good(measures: Measures, iou: float) -> bool:
    return measures.recall >= 0.9 and measures.iou >= iou and measures.switches <= 4


@pytest.mark.parametrize(("settings", "iou"), [(PAPER, 0.88), (OFFICIAL, 0.94)])
def test_tracks_are_true(settings: Settings, iou: float) -> None:
    measures = truth_of(settings, DIS())
    assert measures.first_recall == 1.0
    assert measures.false == 0
    assert (measures.duplicates == 0) == (settings.nms_iou is not None)
    assert good(measures, iou), measures


@pytest.mark.parametrize("flow", [Reversed(), Still()])
def test_the_bounds_tell_a_wrong_flow(flow: Flow) -> None:
    measures = truth_of(PAPER, flow)
    assert measures.recall < 0.8
    assert measures.iou < 0.8
    assert measures.switches > 8


class Aside(Flow):
    """Everything moves by 14 pixels to the right."""

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        flow = np.zeros((*source.shape[:2], 2), np.float32)
        flow[..., 0] = 14.0 if source[0, 0, 0] < target[0, 0, 0] else -14.0
        return flow


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL, replace(OFFICIAL, sampling="kmeans")])
@pytest.mark.parametrize("seed", range(3))
def test_a_part_stays_a_part_though_it_moves_further_than_it_is_wide(
    settings: Settings, seed: int
) -> None:
    """Where the part was, the whole is now: what is not warped grows into the whole."""
    masks = boxes(
        [(5, 4 + 14 * t, 30, 40) for t in range(5)],
        [(10, 30 + 14 * t, 12, 10) for t in range(5)],
        size=(40, 110),
    )
    frames = [np.full((40, 110, 3), 10 * t, np.uint8) for t in range(5)]
    oracle = Oracle(lambda t: masks[t], edge=1, duplicates=0, seed=seed)
    measures = measure(follow(frames, oracle, oracle, Aside(), settings, seed), masks)
    assert (measures.recall, measures.switches, measures.lost) == (1.0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "iou"), [(PAPER, 0.8), (OFFICIAL, 0.9)])
def test_tracks_of_a_real_video_are_true(shared: Path, settings: Settings, iou: float) -> None:
    """A training sequence of DAVIS 2016 at half its size, with proposals of nothing beside it."""
    root = shared / "data/train/video/davis2016_train"
    frames, masks = [], []
    for path in sorted((root / "JPEGImages/dance-jump").glob("*.jpg"))[:12]:
        labels = read_labels(root / "Annotations/dance-jump" / f"{path.stem}.png")
        frames.append(cv2.resize(cv2.imread(str(path))[..., ::-1], (427, 240)))
        masks.append(cv2.resize((labels > 0).astype(np.uint8), (427, 240))[None] > 0)
    oracle = Oracle(lambda t: masks[t], false=4)
    measures = measure(follow(frames, oracle, oracle, DIS(), settings, 0), masks)
    assert (measures.recall, measures.lost, measures.false) == (1.0, 0, 4)
    assert measures.iou >= iou
