"""Baselines on video whose motion is known."""

from __future__ import annotations

import numpy as np
from models import square, tiny, video

from vosfm import Tracker
from vosfm.baselines import Forgetful, carry, repeat
from vosfm.flow import DIS, pull


def test_repeat_stands_still() -> None:
    results = list(repeat(video(3), {0: {1: square(10, 40)}, 1: {2: square(30, 0)}}))
    assert [r.object_ids for r in results] == [(1,), (1, 2), (1, 2)]
    assert np.array_equal(results[2].masks, np.stack([square(10, 40), square(30, 0)]))


def test_carry_follows_the_pixels() -> None:
    """The test video drifts to the left by four pixels a frame."""
    frames = [np.repeat(np.repeat(f[:32, :48], 2, 0), 2, 1) for f in video(5)]
    results = list(carry(frames, {0: {1: square(20, 60)}}, DIS()))
    moved = results[4].masks[0]
    expected = square(20, 60 - 4 * 8)
    overlap = (moved & expected).sum() / (moved | expected).sum()
    assert overlap > 0.5


def test_pull_leaves_nothing_where_the_flow_comes_from_outside() -> None:
    masks = np.ones((1, 8, 8), bool)
    flow = np.zeros((8, 8, 2), np.float32)
    flow[..., 0] = 3
    assert np.array_equal(pull(masks, flow)[0, 0], np.arange(8) < 5)


def test_a_cleared_memory_tells_objects_apart_no_more() -> None:
    segmenter = tiny()
    frames = video(3)
    prompts = [{0: {1: square(0, 0)}}, {0: {1: square(30, 50)}}]
    cleared = [
        list(Tracker(segmenter, search=Forgetful()).track(frames, p))[1].masks for p in prompts
    ]
    kept = [list(Tracker(segmenter).track(frames, p))[1].masks for p in prompts]
    assert np.array_equal(*cleared)
    assert not np.array_equal(*kept)
