"""Video files: streaming, turned upright, broken ones named; and writing."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from vosfm.data import VideoFile, VideoWriter, open_video, write_labels
from vosfm.errors import InputError


def _picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A ramp with a bright bar that tells the frame's index."""
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.linspace(0, 200, width, dtype=np.uint8)
    image[..., 1] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    image[..., 2] = (8 * index) % 256
    return image


def _write(path: Path, count: int = 30, **options: str) -> Path:
    """An ordinary mp4 with few key frames and frames that look ahead."""
    container = av.open(str(path), "w", options=options)
    stream = container.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.options = {"g": "12", "bf": "2", "crf": "10"}
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(_picture(index), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    container.close()
    return path


def _index(frame: np.ndarray) -> int:
    return round(float(frame[..., 2].mean()) / 8)


def test_frames_in_order_and_from_anywhere(tmp_path: Path) -> None:
    video = open_video(_write(tmp_path / "clip.mp4"))
    assert isinstance(video, VideoFile)
    assert (video.name, video.size, len(video), video.rate) == ("clip", (48, 64), 30, 25.0)
    assert video.frame_names[:2] == ("00000", "00001")
    assert [_index(frame) for frame in video.frames()] == list(range(30))
    for start in (1, 11, 12, 13, 25, 29):
        assert [_index(frame) for frame in video.frames(start)] == list(range(start, 30))
    assert list(video.frames(30)) == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_from_a_frame_just_before_a_key_frame(tmp_path: Path, suffix: str) -> None:
    """A key frame is decoded before frames that are shown before it."""
    path = tmp_path / f"cuts.{suffix}"
    chance = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "9", "bf": "3", "b-adapt": "0", "x264-params": "open-gop=1"}
        for _ in range(30):
            frame = chance.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    video = VideoFile(path)
    whole = list(video.frames())
    assert len(whole) == 30
    for start in range(30):
        frames = list(video.frames(start))
        assert len(frames) == 30 - start
        assert all(map(np.array_equal, frames, whole[start:]))


def test_counted_where_the_container_does_not_know(tmp_path: Path) -> None:
    video = VideoFile(_write(tmp_path / "clip.mkv"))
    with av.open(str(tmp_path / "clip.mkv")) as container:
        assert container.streams.video[0].frames == 0
    assert len(video) == len(list(video.frames())) == 30


def test_a_video_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with VideoWriter(path) as writer:
        for index in range(150):
            writer.write(_picture(index % 30, 96, 128))
    tracemalloc.start()
    for _ in VideoFile(path).frames():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 96 * 128 * 3


def test_turned_upright(tmp_path: Path) -> None:
    path = _write(tmp_path / "turned.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = (1 << 16).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    # A quarter turn clockwise: x' = -y, y' = x.
    data[at : at + 20] = zero + one + zero + minus + zero
    path.write_bytes(data)
    upright = next(VideoFile(path).frames())
    assert upright.shape == (64, 48, 3)
    expected = np.rot90(_picture(0), -1)
    assert np.abs(upright.astype(int) - expected).mean() < 4


def test_masks_of_a_video_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4")
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, label in (("00000", 3), ("00012", 4)):
        write_labels(masks / f"{name}.png", np.full((48, 64), label, dtype=np.uint8))
    video = open_video(path, masks)
    assert {index: list(given) for index, given in video.prompts().items()} == {0: [3], 12: [4]}
    assert video.annotated() == (0, 12)
    write_labels(masks / "00000.png", np.ones((64, 48), dtype=np.uint8))
    with pytest.raises(InputError, match=r"00000\.png.*64 x 48.*48 x 64"):
        video.prompts()
    with pytest.raises(InputError, match=r"clip\.mp4: no masks were given"):
        open_video(path).prompts()


def test_truncated_after_its_index(tmp_path: Path) -> None:
    path = _write(tmp_path / "cut.mp4", movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    video = open_video(path)
    seen: list[int] = []
    with pytest.raises(InputError, match=r"cut\.mp4: .* at frame (\d+) of 30") as caught:
        seen.extend(map(_index, video.frames()))
    assert seen == list(range(len(seen)))
    assert 5 < len(seen) < 30
    assert f"frame {len(seen)} of" in str(caught.value)


def test_truncated_before_its_index(tmp_path: Path) -> None:
    path = _write(tmp_path / "cut.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.mp4"):
        open_video(path)


def test_damaged_inside(tmp_path: Path) -> None:
    path = _write(tmp_path / "hole.mp4", movflags="faststart")
    data = path.read_bytes()
    start = data.index(b"mdat") + 800
    messages = []
    for at in range(start, len(data) - 20, (len(data) - start) // 20):
        path.write_bytes(data[:at] + bytes(12) + data[at + 12 :])
        messages.append(_error(path))
    # A decoder conceals most holes; a few are too small to notice.
    assert sum("hole.mp4: broken or truncated at frame" in message for message in messages) >= 16


def _error(path: Path) -> str:
    """What reading says."""
    try:
        for _ in open_video(path).frames():
            pass
    except InputError as error:
        return str(error)
    return ""


def test_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(InputError, match=r"clip\.mp4: no such video"):
        VideoFile(path)
    for data in (b"", b"no video at all"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"clip\.mp4: not a video"):
            open_video(path)


def test_sound_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="no pictures"):
        open_video(path)


def test_written_and_read_again_with_an_odd_size(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with VideoWriter(path, rate=12.5) as writer:
        for index in range(10):
            writer.write(_picture(index, 47, 65))
        assert not path.exists()
    assert path.exists()
    assert not writer.partial.exists()
    video = VideoFile(path)
    assert (len(video), video.size, video.rate) == (10, (48, 66), 12.5)
    for index, frame in enumerate(video.frames()):
        assert np.abs(frame[:47, :65].astype(int) - _picture(index, 47, 65)).mean() < 6


def test_without_x264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    path = tmp_path / "overlay.mp4"
    with VideoWriter(path) as writer:
        writer.write(_picture(3))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert _index(next(VideoFile(path).frames())) == 3


def _interrupted(path: Path) -> None:
    with VideoWriter(path) as writer:
        for index in range(7):
            writer.write(_picture(index))
        raise KeyboardInterrupt


def test_an_exception_leaves_a_playable_beginning(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert not path.exists()
    assert len(list(VideoFile(tmp_path / "overlay.partial.mp4").frames())) == 7


_KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_file import _picture
from vosfm.data import VideoWriter
writer = VideoWriter(sys.argv[1], rate=10)
for index in range(80):
    writer.write(_picture(index))
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_playable_beginning(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, "-c", _KILLED, str(path), here], check=False)
    assert not path.exists()
    assert len(list(VideoFile(tmp_path / "overlay.partial.mp4").frames())) >= 20


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "overlay.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_bad_output(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4"):
        VideoWriter(tmp_path / "overlay.gif")
    with pytest.raises(InputError, match="missing"):
        VideoWriter(tmp_path / "missing" / "overlay.mp4")
    with VideoWriter(tmp_path / "overlay.mp4") as writer:
        writer.write(_picture(0))
        with pytest.raises(ValueError, match="48 x 66"):
            writer.write(_picture(0, 48, 66))


def test_real_video(shared: Path) -> None:
    video = open_video(shared / "data/extra/mp4/01_dog.mp4")
    assert (len(video), video.size) == (289, (720, 1280))
    direct = next(video.frames(200))
    walked = next(frame for index, frame in enumerate(video.frames()) if index == 200)
    np.testing.assert_array_equal(direct, walked)
