"""Training clips from annotated videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vosfm.data.corruption import Corruption
from vosfm.data.datasets import Clips, Videos
from vosfm.data.drawer import ClipDrawer
from vosfm.data.transforms import ColorJitter, paste
from vosfm.data.video import Video
from vosfm.data.warps import Warp
from vosfm.errors import InputError
from vosfm.types import Clip, Size

_TRIES = 20


class VideoClips(Clips):
    """Random clips of annotated videos: random start, random gaps, some of the objects.

    A picture is a video of one frame, so that pictures and a `StillWarp` make clips, too. Only
    annotated frames are drawn. A clip shows objects that are visible in its first frame, so
    a sample whose first frame shows none is drawn again, and so is one that cannot be read.

    Args:
        videos: where clips are taken from.
        length: T, frames of a clip; a shorter video is played to and fro.
        size: (H, W) of the result.
        objects: at most so many objects of a clip.
        max_gap: consecutive frames of a clip are 1 to so many annotated frames apart.
        reverse: chance that a clip runs backwards, in [0, 1].
        warp: geometric augmentation; None resizes the whole frame.
        color: augmentation of colors; None leaves them.
        merge: chance that the objects of a second video are pasted over a clip, in [0, 1].
        pixels: objects that show fewer pixels in the first frame are left out.
        clips: clips of one epoch; None for one per video.
        seed: of everything.
        allowed_corruption: the share of samples that may be unreadable, in [0, 1].
        quality: objects whose mask was noted to be worse in any frame of a clip are left out.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        videos: Videos | Sequence[Video],
        length: int = 5,
        size: Size = (256, 256),
        objects: int = 3,
        max_gap: int = 3,
        reverse: float = 0.5,
        warp: Warp | None = None,
        color: ColorJitter | None = None,
        merge: float = 0.0,
        pixels: int = 1,
        clips: int | None = None,
        seed: int = 0,
        allowed_corruption: float = 0.02,
        quality: float = 0.0,
    ) -> None:
        self._drawer = ClipDrawer(
            length, size, objects, max_gap, reverse, warp, color, pixels, quality
        )
        self.videos = videos
        self.merge = merge
        self.clips = clips
        self.seed = seed
        self._corruption = Corruption(allowed_corruption)

    def __len__(self) -> int:
        """Clips of one epoch.

        Raises:
            InputError: if there are no videos.
        """
        if len(self.videos) == 0:
            raise InputError("there are no videos to take clips from; check the split")
        return len(self.videos) if self.clips is None else self.clips

    @property
    def broken(self) -> int:
        """Samples that could not be read so far, over all workers."""
        return self._corruption.broken

    @property
    def sources(self) -> frozenset[str]:
        """Names of the videos."""
        if isinstance(self.videos, Videos):
            return frozenset(self.videos.names)
        return frozenset(video.name for video in self.videos)

    def sample(self, epoch: int, index: int) -> Clip:
        """The clip `index` of an epoch, as a batch of one.

        Raises:
            InputError: if too many samples cannot be read, or none of several shows an object.
        """
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.seed, epoch, index, attempt])
            # The first try goes through the videos in turn, so that an epoch shows them all.
            which = index if attempt == 0 else int(rng.integers(2**31))
            try:
                video = self.videos[which % len(self.videos)]
                name, shot = video.name, self._drawer.shot(video, rng)
                if self.merge and rng.random() < self.merge:
                    other = self.videos[int(rng.integers(len(self.videos)))]
                    over = self._drawer.shot(other, rng)
                    name, shot = f"{name} + {other.name}", paste(over, shot)
            except InputError as error:
                self._corruption.failed(error)
                continue
            self._corruption.passed()
            clip = self._drawer.choose(shot, name, rng)
            if clip is not None:
                return clip
        raise InputError(
            f"{_TRIES} samples in a row were broken or showed no object in their first frame, the "
            f"last from {video.name}; check the annotations"
        )
