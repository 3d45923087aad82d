"""The truth of a video that belongs to no benchmark."""

from __future__ import annotations

from bisect import bisect_left

from vosfm.data.truth import Truth
from vosfm.data.video import Mask, Video, in_order


class VideoTruth(Truth):
    """What a video of no benchmark is scored by: the masks of its own, of what is prompted.

    Args:
        video: the video.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        self._frames = video.annotated()
        self.name = video.name
        self.frame_names = tuple(video.frame_names[frame] for frame in self._frames)
        self.numbers = self._frames
        self.length = len(video)
        starts = {i: frame for frame, given in video.prompts().items() for i in given}
        # An object may be given in a frame without a mask of its own: from the next one on, then.
        self.starts = {i: bisect_left(self._frames, starts[i]) for i in sorted(starts)}
        self.object_ids = tuple(self.starts)
        self.unseen = video.unseen

    def masks(self, place: int) -> Mask:
        note = self._video.annotation(self._frames[place])
        assert note is not None
        return in_order(self.object_ids, note.object_ids, note.masks, self._video.size)

    def void(self, place: int) -> Mask | None:
        note = self._video.annotation(self._frames[place])
        return None if note is None else note.void
