"""A video seen from its end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from vosfm.data.file import VideoFile
from vosfm.data.video import Annotation, Image, Mask, Video


class Backward(Video):
    """The same video, last frame first; frame t of it is frame `last - t` of the other.

    Pictures are read one by one. A video file can only be decoded forward, so it is read in blocks
    of frames from the back, of which one is held at a time.

    Args:
        video: read lazily, and never held.
        last: the frame to begin with; None for the last one.
        block: frames of a video file that are held at most.

    Raises:
        ValueError: if there is no such frame, or a block holds none.
    """

    def __init__(self, video: Video, last: int | None = None, block: int = 32) -> None:
        last = len(video) - 1 if last is None else last
        if not 0 <= last < len(video) or block < 1:
            raise ValueError(f"frame {last} of {len(video)}, in blocks of {block}")
        self._video = video
        self._block = block if isinstance(video, VideoFile) else 1
        self.last = last
        self.name = video.name
        self.frame_names = tuple(reversed(video.frame_names[: last + 1]))
        self.size = video.size
        self.unseen = video.unseen

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB each.

        Raises:
            InputError: as the video.
        """
        end = len(self) - start
        while end > 0:
            begin = max(end - self._block, 0)
            held = list(islice(self._video.frames(begin), end - begin))
            while held:
                yield held.pop()
            end = begin

    def annotation(self, index: int) -> Annotation | None:
        """The true masks of a frame, or None where it has none."""
        return self._video.annotation(self.last - index)

    def annotated(self) -> tuple[int, ...]:
        """The frames that have masks."""
        return self._mirrored(self._video.annotated())

    def reported(self) -> tuple[int, ...]:
        """The frames whose results are asked for."""
        return self._mirrored(self._video.reported())

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """What the video gives of its frames up to `last`, by the frames of this one."""
        given = self._video.prompts()
        return {index: given[self.last - index] for index in self._mirrored(tuple(given))}

    def _mirrored(self, frames: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(self.last - frame for frame in frames if frame <= self.last))
