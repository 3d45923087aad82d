"""Where videos are cut into clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from filmed import save_pictures, save_video, scene

from vosfm.collect.cutting import Cutting, cut, scene_starts
from vosfm.data import ArrayVideo, Image, VideoFile, open_video
from vosfm.errors import InputError


def plain(count: int) -> list[Image]:
    """One scene: a still picture."""
    frame = next(iter(scene(0).frames()))
    return [frame] * count


def pan(count: int, step: int, size: tuple[int, int] = (96, 400)) -> list[Image]:
    """A camera that goes along a soft texture."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (4, 12, 3), np.uint8)
    wide = cv2.resize(coarse, (size[1] + count * step, size[0]), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(wide[:, i * step : i * step + size[1]]) for i in range(count)]


def test_spliced_scenes_are_cut_where_they_meet(tmp_path: Path) -> None:
    frames = [*scene(0, 13).frames(), *scene(5, 9).frames(), *scene(7, 6).frames()]
    starts = list(scene_starts(frames, 27.0))
    assert [index for index, starting in enumerate(starts) if starting] == [13, 22]
    video = open_video(save_video(tmp_path / "spliced.mp4", frames))
    clips = list(cut(video, Cutting(length=10, min_length=3)))
    assert clips == [tuple(range(10)), (10, 11, 12), tuple(range(13, 22)), tuple(range(22, 28))]


def test_a_slow_pan_is_one_scene() -> None:
    assert not any(scene_starts(pan(20, step=3), 27.0))


def test_a_flash_ends_a_scene_and_starts_another() -> None:
    frames = plain(12)
    frames[6] = np.full_like(frames[0], 255)
    video = ArrayVideo(np.stack(frames))
    clips = list(cut(video, Cutting(length=10, min_length=2)))
    assert clips == [tuple(range(6)), tuple(range(7, 12))]


@pytest.mark.parametrize(
    ("count", "min_length", "lengths"),
    [(20, 5, [10, 10]), (25, 5, [10, 10, 5]), (24, 5, [10, 10]), (4, 5, []), (23, 3, [10, 10, 3])],
)
def test_remainders(count: int, min_length: int, lengths: list[int]) -> None:
    video = ArrayVideo(np.stack(plain(count)))
    clips = list(cut(video, Cutting(length=10, min_length=min_length)))
    assert [len(clip) for clip in clips] == lengths
    taken = [index for clip in clips for index in clip]
    assert taken == list(range(len(taken)))


@pytest.mark.parametrize(
    ("rate", "fps", "expected"),
    [
        (30.0, 10.0, [0, 3, 6, 9, 12, 15, 18]),
        (24.0, 10.0, [0, 3, 5, 8, 10, 12, 15, 17]),
        (30000 / 1001, 30000 / 2002, list(range(0, 20, 2))),
        (10.0, 25.0, list(range(20))),
        # 5 steps of 2.4 frames are 12.000000000000002.
        (24000 / 1001, 10000 / 1001, [0, 3, 5, 8, 10, 12, 15, 17]),
    ],
)
def test_frames_at_a_rate(rate: float, fps: float, expected: list[int]) -> None:
    video = ArrayVideo(np.stack(plain(20)))
    clips = cut(video, Cutting(length=2, min_length=2, fps=fps), rate)
    taken = [index for clip in clips for index in clip]
    assert taken == expected[: len(expected) // 2 * 2]


def test_a_cut_lies_at_the_full_rate() -> None:
    """Frame 7 starts a scene, of the frames at a quarter of the rate 8 is the first of it."""
    frames = [*scene(0, 7).frames(), *scene(5, 9).frames()]
    video = ArrayVideo(np.stack(frames))
    clips = list(cut(video, Cutting(length=4, min_length=2, fps=1.0), 4.0))
    assert clips == [(0, 4), (8, 12)]


def test_a_rate_is_asked_of_files_alone(tmp_path: Path) -> None:
    folder = open_video(save_pictures(tmp_path / "frames", scene(0).frames()))
    with pytest.raises(InputError, match="frames: frames in a folder have no rate"):
        list(cut(folder, Cutting(fps=5.0)))


def test_only_some_frames_are_taken() -> None:
    video = ArrayVideo(np.stack(plain(12)))
    clips = list(cut(video, Cutting(length=3, min_length=2), among={0, 4, 8, 11, 40}))
    assert clips == [(0, 4, 8)]


def test_without_a_threshold_no_frame_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [*scene(0, 6).frames(), *scene(5, 6).frames()]
    video = VideoFile(save_video(tmp_path / "spliced.mp4", frames))
    monkeypatch.setattr(VideoFile, "frames", None)
    assert list(cut(video, Cutting(scene_threshold=None))) == [tuple(range(10))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"length": 1}, "length is 1"),
        ({"min_length": 1}, "min-length is 1"),
        ({"min_length": 11}, "min-length is 11"),
        ({"fps": 0.0}, "fps is 0"),
        ({"scene_threshold": -1.0}, "scene-threshold is -1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Cutting(**changes)  # type: ignore[arg-type]
