"""The tree of memories: what it follows, what it reports and when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import tiny
from scripted import LEFT, RIGHT, Script, half, scripted, video

from vosfm import InputError, Result, Segmenter, Tracker, zoo
from vosfm.data import ProceduralVideos
from vosfm.data.memory import ArrayVideo
from vosfm.data.video import Image
from vosfm.search import MemoryTree
from vosfm.track import track

# The object is on the left, something like it on the right. In frame 2 the object is hidden: the
# model is not certain (|0.5| < 2) and thinks better of the right mask. Who follows the wrong one
# is ever less sure of it; who follows the right one is sure from frame 3 on.
OCCLUSION: Script = {
    1: (5.0, {LEFT: (0.9, 0.1)}),
    2: (0.5, {LEFT: (0.5, 0.6)}),
    3: (0.5, {LEFT: (0.9, 0.05), RIGHT: (0.04, 0.7)}),
    4: (5.0, {LEFT: (0.9, 0.1), RIGHT: (0.1, 0.6)}),
}


def sides(results: list[Result]) -> list[int]:
    return [LEFT if result.masks[0, 0, 0] else RIGHT for result in results]


def run(segmenter: Segmenter, search: Any = None, length: int = 5) -> list[Result]:
    return list(Tracker(segmenter, search).track(video(length), {0: {1: half(LEFT)}}))


def test_greedy_is_misled_for_good() -> None:
    # 0.6 > 0.5 in frame 2; afterwards only the right half is remembered, and 0.7 > 0.04.
    assert sides(run(scripted(OCCLUSION))) == [LEFT, LEFT, RIGHT, RIGHT, RIGHT]


def test_the_tree_recovers() -> None:
    """Scores by hand, with two pathways.

    Frame 1 is the first after the prompt: both pathways take the left mask, and nothing is added.
    Frame 2: two equal pathways, candidates ln 0.6 (right) and ln 0.5 (left); not certain, so one
    of each quality lives: right -0.511, left -0.693.
    Frame 3: right: ln 0.6 + ln 0.7 = -0.868; left: ln 0.5 + ln 0.9 = -0.799. Left leads.
    Frame 4, certain: the best two of left -0.799 + ln 0.9 = -0.904, right -0.868 + ln 0.6 = -1.378,
    left's other -0.799 + ln 0.1 = -3.101: left and right. In the end the left pathway has won all
    frames, the one behind the occluder included.
    """
    search = MemoryTree(pathways=2, modulation=None)
    assert sides(run(scripted(OCCLUSION), search)) == [LEFT] * 5
    tracker = Tracker(scripted(OCCLUSION), search)
    frames = video(5)
    tracker.step(frames[0], {1: half(LEFT)})
    expected = (
        (0.0, 0.0),
        (math.log(0.6), math.log(0.5)),
        (math.log(0.5 * 0.9), math.log(0.6 * 0.7)),
        (math.log(0.5 * 0.9 * 0.9), math.log(0.6 * 0.7 * 0.6)),
    )
    for frame, scores in zip(frames[1:], expected, strict=True):
        tracker.step(frame)
        path = tracker.beam.paths[1]  # type: ignore[union-attr]
        assert path.scores == pytest.approx(scores, abs=1e-3)


def test_a_frame_is_reported_once_all_pathways_agree_on_it() -> None:
    tracker = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None))
    reported = [
        [result.frame for result in tracker.step(frame, {1: half(LEFT)} if time == 0 else None)]
        for time, frame in enumerate(video(5))
    ]
    assert reported == [[0], [1], [], [], []]
    assert tracker.reported == 2
    assert tracker.time == 5
    script = OCCLUSION | {5: (5.0, {LEFT: (0.99, 0.98), RIGHT: (0.1, 0.1)})}
    both = run(scripted(script), MemoryTree(pathways=2, modulation=None), 6)
    assert [result.frame for result in both] == list(range(6))
    tracker = Tracker(scripted(script), MemoryTree(pathways=2, modulation=None))
    stream = tracker.track(iter(video(6)), {0: {1: half(LEFT)}})
    assert [next(stream).frame for _ in range(5)] == list(range(5))
    # Frame 5: left -0.904 + ln 0.99 and + ln 0.98 are the best two; right is out: 2, 3, 4 agree.
    assert tracker.reported == 5


def test_a_delay_can_be_bounded() -> None:
    search = MemoryTree(pathways=2, modulation=None, max_delay=1)
    results = run(scripted(OCCLUSION), search)
    # Frame 2 is reported after frame 3, when the left pathway leads already.
    assert sides(results) == [LEFT] * 5
    at_once = run(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None, max_delay=0))
    assert sides(at_once) == [LEFT, LEFT, RIGHT, LEFT, LEFT]
    assert [result.frame for result in at_once] == list(range(5))


def test_pathways_that_are_the_same_are_computed_once() -> None:
    certain: Script = {time: (5.0, {LEFT: (0.9, 0.1)}) for time in range(1, 8)}
    segmenter = scripted(certain)
    run(segmenter, MemoryTree(pathways=3, modulation=None), 8)
    assert segmenter.decoder.rows == [1] * 7  # type: ignore[comparison-overlap]
    segmenter = scripted(OCCLUSION)
    run(segmenter, MemoryTree(pathways=2, modulation=None))
    assert segmenter.decoder.rows == [1, 1, 2, 2]  # type: ignore[comparison-overlap]


def test_every_object_has_a_tree_of_its_own() -> None:
    def track(prompts: dict[int, Any]) -> list[Result]:
        search = MemoryTree(pathways=2, modulation=None)
        tracker = Tracker(scripted(OCCLUSION), search, exclusive=False)
        return list(tracker.track(video(5), {0: prompts}))

    both = track({7: half(LEFT), 9: np.ones_like(half(LEFT))})
    for place, one in enumerate((half(LEFT), np.ones_like(half(LEFT)))):
        alone = track({1: one})
        for ours, theirs in zip(both, alone, strict=True):
            assert ours.object_ids == (7, 9)
            assert np.array_equal(ours.masks[place], theirs.masks[0])
            assert ours.scores[place] == theirs.scores[0]


def test_an_object_that_joins_or_is_given_again_starts_anew() -> None:
    tracker = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None), exclusive=False)
    prompts = {0: {1: half(LEFT)}, 3: {1: half(RIGHT), 2: half(LEFT)}}
    results = list(tracker.track(video(5), prompts))
    assert [result.object_ids for result in results] == [(1,)] * 3 + [(1, 2)] * 2
    # Given again, the object's best pathway so far is settled: right, -0.511 against -0.693.
    assert sides(results) == [LEFT, LEFT, RIGHT, RIGHT, RIGHT]
    assert results[4].masks[1, 0, 0]


def test_objects_leave() -> None:
    tracker = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None), exclusive=False)
    frames = video(5)
    results = tracker.step(frames[0], {1: half(LEFT), 2: half(LEFT)})
    for frame in frames[1:3]:
        results += tracker.step(frame)
    tracker.remove(1)
    results += [r for frame in frames[3:] for r in tracker.step(frame)]
    tracked = [*results, *tracker.track([])]
    assert [r.object_ids for r in tracked] == [(1, 2)] * 3 + [(2,)] * 2
    assert [bool(r.masks[-1, 0, 0]) for r in tracked] == [True] * 5
    assert not tracked[2].masks[0, 0, 0]  # it left while the wrong pathway led


def test_frames_that_wait_are_reported_before_those_without_objects() -> None:
    tracker = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None))
    frames = video(6)
    results = tracker.step(frames[0], {1: half(LEFT)})
    for frame in frames[1:4]:
        results += tracker.step(frame)
    tracker.remove(1)
    results += [r for frame in frames[4:] for r in tracker.step(frame)]
    assert [r.frame for r in results] == list(range(6))
    assert [r.object_ids for r in results] == [(1,)] * 4 + [()] * 2
    assert sides(results[:4]) == [LEFT] * 4


def test_a_stream_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    expected = run(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None))
    frames = video(5)
    for stop in range(1, 5):
        first = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None))
        results = first.step(frames[0], {1: half(LEFT)})
        for frame in frames[1:stop]:
            results += first.step(frame)
        first.save(tmp_path / "stream.safetensors")
        second = Tracker(scripted(OCCLUSION), MemoryTree(pathways=2, modulation=None))
        second.resume(tmp_path / "stream.safetensors")
        results += second.track(frames[stop:])
        assert [r.frame for r in results] == list(range(5))
        assert sides(results) == sides(expected)
    with pytest.raises(InputError, match="go on with the search that saved it"):
        Tracker(scripted(OCCLUSION)).resume(tmp_path / "stream.safetensors")
    other = MemoryTree(pathways=2, iou_threshold=0.5, modulation=None)
    with pytest.raises(InputError, match="go on with the search that saved it"):
        Tracker(scripted(OCCLUSION), other).resume(tmp_path / "stream.safetensors")


class Stopping(ArrayVideo):
    """A video whose reading is interrupted at a frame."""

    stop: int | None = None

    def frames(self, start: int = 0) -> Iterator[Image]:
        for index, frame in enumerate(super().frames(start), start):
            if index == self.stop:
                raise KeyboardInterrupt
            yield frame


@pytest.mark.parametrize("save_every", [1, 50])
def test_results_on_disk_go_on_while_frames_wait(tmp_path: Path, save_every: int) -> None:
    script = OCCLUSION | {5: (5.0, {LEFT: (0.99, 0.98), RIGHT: (0.1, 0.1)})}
    search = MemoryTree(pathways=2, modulation=None)

    def run(out: Path, stop: int | None = None) -> dict[str, bytes]:
        clip = Stopping(np.stack(video(6)))
        clip.stop = stop
        prompts = {0: {1: half(LEFT)}}
        options = {"save_every": save_every, "rate": None, "search": search}
        track(scripted(script), clip, out, resume=out.exists(), prompts=prompts, **options)  # type: ignore[arg-type]
        return {path.name: path.read_bytes() for path in out.iterdir()}

    whole = run(tmp_path / "whole")
    assert len(whole) == 6 + 1, "a picture per frame, and what they were made from"
    for stop in range(1, 6):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / str(stop), stop)
        assert run(tmp_path / str(stop)) == whole
    with pytest.raises(InputError, match="was begun with another search"):
        track(
            scripted(script),
            Stopping(np.stack(video(6))),
            tmp_path / "1",
            resume=True,
            prompts={0: {1: half(LEFT)}},
            rate=None,
        )


@pytest.fixture(scope="module")
def sam2() -> Segmenter:
    torch.manual_seed(0)
    return zoo.build("sam2_1_tiny", encoder={"image_size": [64, 96]})


def scene(length: int = 6) -> tuple[list[Any], dict[int, Any]]:
    (clip,) = ProceduralVideos([3], length=length, size=(48, 64), objects=2)
    return list(clip.frames()), dict(clip.prompts())


def tracked(segmenter: Segmenter, search: Any) -> Iterator[Result]:
    frames, prompts = scene()
    return Tracker(segmenter, search).track(frames, prompts)


def test_one_pathway_that_remembers_everything_is_the_model_itself(sam2: Segmenter) -> None:
    search = MemoryTree(pathways=1, iou_threshold=None, modulation=None)
    for ours, plain in zip(tracked(sam2, search), tracked(sam2, None), strict=True):
        assert np.array_equal(ours.masks, plain.masks)
        assert np.array_equal(ours.scores, plain.scores)


def test_pathways_of_a_certain_model_give_what_one_gives(sam2: Segmenter) -> None:
    one = MemoryTree(pathways=1, uncertainty_threshold=0.0)
    three = MemoryTree(pathways=3, uncertainty_threshold=0.0)
    for ours, single in zip(tracked(sam2, three), tracked(sam2, one), strict=True):
        assert np.array_equal(ours.masks, single.masks)


def test_sam2_saved_and_resumed_in_the_middle_of_a_decision(
    sam2: Segmenter, tmp_path: Path
) -> None:
    search = MemoryTree(uncertainty_threshold=1e6)  # never certain: pathways part at once
    expected = list(tracked(sam2, search))
    frames, prompts = scene()
    for stop in (2, 4):
        first = Tracker(sam2, search)
        results = first.step(frames[0], prompts[0])
        for frame in frames[1:stop]:
            results += first.step(frame)
        assert len(first.beam.waiting) > 0 or stop < 3  # type: ignore[union-attr]
        first.save(tmp_path / "stream.safetensors")
        second = Tracker(sam2, search)
        second.resume(tmp_path / "stream.safetensors")
        results += second.track(frames[stop:])
        for ours, unbroken in zip(results, expected, strict=True):
            assert ours.frame == unbroken.frame
            assert np.array_equal(ours.masks, unbroken.masks)
            assert np.array_equal(ours.scores, unbroken.scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pathways": 0}, "pathways is 0"),
        ({"iou_threshold": 1.0}, "iou_threshold is 1.0"),
        ({"iou_threshold": -0.1}, "iou_threshold is -0.1"),
        ({"uncertainty_threshold": -1.0}, "uncertainty_threshold is -1.0"),
        ({"uncertainty_threshold": math.nan}, "uncertainty_threshold is nan"),
        ({"modulation": (1.05, 0.95)}, "the lower first"),
        ({"modulation": (0.0, 1.0)}, "above 0"),
        ({"behaviour": "paper-like"}, "behaviour is 'paper-like'"),
        ({"certainty": "guess"}, "certainty is 'guess'"),
        ({"max_delay": -1}, "max_delay is -1"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MemoryTree(**arguments)


def test_models_that_it_cannot_serve() -> None:
    frames, prompts = scene(2)
    with pytest.raises(InputError, match="several objects in one joint map"):
        list(Tracker(tiny(), MemoryTree()).track(frames, prompts))
    stcn = zoo.build("stcn_tiny")
    with pytest.raises(InputError, match=r"several scored candidates, \w+ decodes one"):
        list(Tracker(stcn, MemoryTree()).track(frames, prompts))
    mmpm = zoo.build("mmpm_tiny", decoder={"candidates": 3})
    with pytest.raises(InputError, match="certainty='quality'"):
        list(Tracker(mmpm, MemoryTree()).track(frames, prompts))
    with pytest.raises(InputError, match="modulation=None"):
        list(Tracker(mmpm, MemoryTree(certainty="quality")).track(frames, prompts))
