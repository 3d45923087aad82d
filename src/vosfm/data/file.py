"""A video file as a video, and the writing of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vosfm.data.annotations import MaskedVideo, keep_masks
from vosfm.data.video import Image
from vosfm.errors import InputError


class VideoFile(MaskedVideo):
    """A video file, decoded as it is read and never held; turned upright if it says how.

    Args:
        path: any file that FFmpeg reads.
        masks: the index PNG of the first frame, or a folder of PNGs named 00000.png, ...
        name: what results are filed under; the file's stem if None.
        joining: whether an object that first appears in a later mask is prompted there.

    Attributes:
        rate: frames per second.

    Raises:
        InputError: if the file is missing, not a video, or broken before its first frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        masks: str | os.PathLike[str] | None = None,
        name: str | None = None,
        joining: bool = True,
    ) -> None:
        self._path = Path(path)
        self.name = name or self._path.stem
        with self._open() as container:
            stream = container.streams.video[0]
            self.rate = float(stream.average_rate or stream.guessed_rate or 25)
            count = stream.frames
        count = count or len(self._times)
        self.frame_names = tuple(f"{index:05d}" for index in range(max(count, 1)))
        height, width = next(self.frames()).shape[:2]
        self.size = (height, width)
        self._masks = None
        if masks is not None:
            self._masks = keep_masks(masks, path, self.frame_names, self.size, joining)

    def _open(self) -> InputContainer:
        if not self._path.is_file():
            raise InputError(f"{self._path}: no such video; check the path")
        try:
            container = av.open(str(self._path))
        except (av.FFmpegError, OSError):
            raise InputError(
                f"{self._path}: not a video, or its beginning or index is lost; copy or encode it "
                "again"
            ) from None
        if not container.streams.video:
            container.close()
            raise InputError(f"{self._path}: holds no pictures, only sound or data")
        return container

    @property
    def _times(self) -> tuple[int | None, ...]:
        """Presentation time of each frame."""
        return self._packets[0]

    @cached_property
    def _packets(self) -> tuple[tuple[int | None, ...], tuple[tuple[int, int], ...]]:
        """Presentation time of each frame; presentation and decoding time of each key frame.

        Read from the packets without decoding them.
        """
        with self._open() as container:
            try:
                packets = [p for p in container.demux(container.streams.video[0]) if p.size]
            except av.FFmpegError:
                raise InputError(f"{self._path}: broken; copy or encode it again") from None
        times = [p.pts for p in packets if not p.is_discard]
        keys = [
            (p.pts, p.dts)
            for p in packets
            if p.is_keyframe and p.pts is not None and p.dts is not None
        ]
        return tuple(sorted(times, key=lambda t: (t is None, t))), tuple(sorted(keys))

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, decoded one by one.

        Raises:
            InputError: if the file ends or breaks before its last frame; the message says where.
        """
        index = 0
        skipped = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            first = self._seek(container, stream, start)
            try:
                for packet in container.demux(stream):
                    skipped += packet.is_discard
                    for frame in packet.decode():
                        if first is not None and frame.pts is not None and frame.pts < first:
                            continue
                        if first is not None:
                            index, first = start, None
                        if frame.is_corrupt:
                            raise self._broken(index)
                        if index >= start:
                            yield self._upright(frame, index)
                        index += 1
            except av.FFmpegError:
                raise self._broken(index) from None
        if index + skipped < len(self):
            raise self._broken(index)

    def _seek(self, container: InputContainer, stream: VideoStream, start: int) -> int | None:
        """Go to the last key frame before `start`; returns its time, or None from the beginning."""
        if start == 0 or start >= len(self._times):
            return None
        time = self._times[start]
        # Without a time for every packet, counting from the beginning is the only sure way.
        if time is None or self._times[-1] is None:
            return None
        # Many containers find a key frame by its decoding time: sought by the frame's own time,
        # they may give one that is shown after it.
        before = [decoded for shown, decoded in self._packets[1] if shown <= time]
        if not before:
            return None
        container.seek(before[-1], stream=stream, backward=True)
        return time

    def _upright(self, frame: VideoFrame, index: int) -> Image:
        image = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        if turns := round(frame.rotation / 90) % 4:
            image = np.ascontiguousarray(np.rot90(image, turns))
        if index and image.shape[:2] != self.size:
            found, first = (f"{h} x {w}" for h, w in (image.shape[:2], self.size))
            raise InputError(
                f"{self._path}: frame {index} measures {found} (height x width) but the first one "
                f"{first}; encode it again at one size"
            )
        return image

    def _broken(self, index: int) -> InputError:
        return InputError(
            f"{self._path}: broken or truncated at frame {index} of {len(self)}; copy it again, or "
            "cut it before that frame"
        )


class VideoWriter:
    """Write frames to an mp4 file.

    The file is called NAME.partial.mp4 until it is whole. Whatever happens to the process, what
    was written until about two seconds before can be played; after an exception, everything.

    Example:
        >>> with VideoWriter("overlay.mp4", rate=25) as writer:  # doctest: +SKIP
        ...     writer.write(frame)

    Args:
        path: the file, ending in .mp4; an existing one is replaced on close.
        rate: frames per second.

    Raises:
        InputError: if the path does not end in .mp4, or its folder is missing.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float = 25.0) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise InputError(f"{path}: videos are written as .mp4; change the ending")
        if not self.path.parent.is_dir():
            raise InputError(f"{path}: no such folder {self.path.parent}; make it first")
        self.partial = self.path.with_name(f"{self.path.stem}.partial.mp4")
        self._rate = Fraction(rate).limit_denominator(1001)
        # Without fragments an mp4 is unreadable until its index is written at the very end.
        options = {
            "movflags": "frag_keyframe+empty_moov+default_base_moof",
            "flush_packets": "1",
        }
        self._container = av.open(str(self.partial), "w", options=options)
        self._stream: VideoStream | None = None
        self._size = (0, 0)

    def write(self, frame: Image) -> None:
        """Append a frame.

        Args:
            frame: (H, W, 3) uint8 RGB; an odd height or width is padded by repeating the edge.

        Raises:
            ValueError: if its size is not that of the first frame.
        """
        height, width = frame.shape[:2]
        if self._stream is None:
            self._stream = self._start(height, width)
        if (height, width) != self._size:
            raise ValueError(f"frame of {height} x {width} in a video of {self._size}")
        if height % 2 or width % 2:
            edges = (0, height % 2, 0, width % 2)
            frame = np.asarray(cv2.copyMakeBorder(frame, *edges, cv2.BORDER_REPLICATE))
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def _start(self, height: int, width: int) -> VideoStream:
        self._size = (height, width)
        has_x264 = "libx264" in av.codecs_available
        stream = self._container.add_stream("libx264" if has_x264 else "mpeg4", rate=self._rate)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(float(self._rate)))
        if has_x264:
            # Without it the same frames may be encoded differently twice.
            exact = "cpu-independent=1"
            stream.options = {"crf": "18", "preset": "veryfast", "x264-params": exact}
        else:
            stream.bit_rate = 4 * stream.height * stream.width
        return stream

    def _finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def close(self) -> None:
        """Finish the file and give it its name; without a frame there is no file."""
        self._finish()
        if self._stream is None:
            self.partial.unlink(missing_ok=True)
        else:
            self.partial.replace(self.path)

    def __enter__(self) -> VideoWriter:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; after an exception the playable beginning stays under its partial name."""
        if kind is None:
            self.close()
        else:
            self._finish()
            if self._stream is None:
                self.partial.unlink(missing_ok=True)
