from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vosfm.data import ArrayVideo, FrameFolder, Video, VideoFile, VideoWriter, write_labels
from vosfm.data.backward import Backward
from vosfm.data.video import Image

LENGTH = 40


def pictures(length: int = LENGTH) -> NDArray[np.uint8]:
    chance = np.random.default_rng(0)
    blots = chance.integers(0, 256, (length, 4, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(blot, (48, 32)) for blot in blots])


def masks(length: int = LENGTH) -> NDArray[np.bool_]:
    """Object 1 moves down, a row a frame; object 2 is the rest."""
    one = np.zeros((length, 32, 48), bool)
    for t in range(length):
        one[t, t % 32] = True
    return np.stack([one, ~one], 1)


def in_memory(_: Path) -> Video:
    return ArrayVideo(pictures(), masks())


def folder(path: Path) -> Video:
    for t, picture in enumerate(pictures()):
        cv2.imwrite(str(path / f"{t:05d}.png"), picture)
    return FrameFolder(path)


def file(path: Path) -> Video:
    """Key frames at 0, 25."""
    with VideoWriter(path / "clip.mp4") as writer:
        for picture in pictures():
            writer.write(picture)
    return VideoFile(path / "clip.mp4")


KINDS = pytest.mark.parametrize("kind", [in_memory, folder, file])


@KINDS
@pytest.mark.parametrize("last", [None, 38, 0])
def test_the_same_frames_from_anywhere(kind: Any, last: int | None, tmp_path: Path) -> None:
    video: Video = kind(tmp_path)
    seen = Backward(video, last, block=7)
    expected = list(video.frames())[: LENGTH if last is None else last + 1][::-1]
    assert len(seen) == len(expected)
    for start in {0, 1, 7, 24, len(seen) - 1, len(seen)}:
        frames = list(seen.frames(start))
        assert len(frames) == max(len(expected) - start, 0)
        assert all(map(np.array_equal, frames, expected[start:]))
    assert not np.array_equal(expected[0], expected[-1]) or len(expected) == 1


@KINDS
def test_names_and_size(kind: Any, tmp_path: Path) -> None:
    video: Video = kind(tmp_path)
    assert Backward(video).frame_names == video.frame_names[::-1]
    assert Backward(video, 3).frame_names == ("00003", "00002", "00001", "00000")
    assert (Backward(video).name, Backward(video).size) == (video.name, (32, 48))


def test_masks_belong_to_their_frames() -> None:
    video = ArrayVideo(pictures(), masks(), object_ids=(4, 9))
    seen = Backward(video, 30)
    assert seen.annotated() == seen.reported() == tuple(range(31))
    for index in (0, 11, 30):
        annotation = seen.annotation(index)
        assert annotation is not None
        assert annotation.object_ids == (4, 9)
        assert np.array_equal(annotation.masks, masks()[30 - index])
    (given,) = seen.prompts().items()
    assert given[0] == 30
    assert np.array_equal(given[1][4], masks()[0, 0])


def test_masks_of_some_frames(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for t, label in ((0, 3), (2, 4), (6, 5)):
        write_labels(tmp_path / "masks" / f"{t:05d}.png", np.full((32, 48), label, np.uint8))
    folder(tmp_path)
    video = FrameFolder(tmp_path, tmp_path / "masks")
    seen = Backward(video, 5)
    assert seen.annotated() == (3, 5)
    assert {index: list(given) for index, given in seen.prompts().items()} == {3: [4], 5: [3]}
    assert seen.annotation(4) is None
    assert Backward(video).annotated() == (33, 37, 39)


class Counted(VideoFile):
    """Frames of nothing, and how many of them are alive at most."""

    def __init__(self, length: int) -> None:
        self.name, self.size = "counted", (2, 2)
        self.frame_names = tuple(map(str, range(length)))
        self.alive = self.most = self.read = 0

    def frames(self, start: int = 0) -> Iterator[Image]:
        for index in range(start, len(self)):
            frame = np.full((2, 2, 3), index, np.uint8)
            self.read += 1
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(frame, self._gone)
            yield frame
            del frame

    def _gone(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize(("block", "reads"), [(8, 50), (1, 50), (64, 50)])
def test_one_block_is_held(block: int, reads: int) -> None:
    video = Counted(50)
    seen = []
    frames = Backward(video, block=block).frames()
    for _ in range(50):
        frame = next(frames)
        seen.append(int(frame[0, 0, 0]))
        del frame
    assert seen == list(range(50))[::-1]
    assert video.most == min(block, 50)
    assert video.read == reads
    assert video.alive == 0


def test_nothing_is_read_that_is_not_asked_for() -> None:
    video = Counted(50)
    list(islice(Backward(video, block=8).frames(45), 3))
    assert video.read == 5


@pytest.mark.parametrize(("last", "block"), [(50, 8), (-1, 8), (3, 0)])
def test_what_it_refuses(last: int, block: int) -> None:
    with pytest.raises(ValueError, match=f"frame {last} of 50, in blocks of {block}"):
        Backward(Counted(50), last, block)
