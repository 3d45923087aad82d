"""Training clips from annotated videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.corruption import Corruption
from vosfm.data.datasets import Clips, Videos, to_clip
from vosfm.data.transforms import ColorJitter, Shot, paste, resize
from vosfm.data.video import Annotation, Image, Mask, Video
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
    ) -> None:
        for name, value in (
            ("length", length),
            ("objects", objects),
            ("max_gap", max_gap),
            ("pixels", pixels),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.videos = videos
        self.length = length
        self.size = (size[0], size[1])
        self.objects = objects
        self.max_gap = max_gap
        self.reverse = reverse
        self.warp = warp
        self.color = color
        self.merge = merge
        self.pixels = pixels
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
                name, shot = video.name, self._shot(video, rng)
                if self.merge and rng.random() < self.merge:
                    other = self.videos[int(rng.integers(len(self.videos)))]
                    name, shot = f"{name} + {other.name}", paste(self._shot(other, rng), shot)
            except InputError as error:
                self._corruption.failed(error)
                continue
            self._corruption.passed()
            areas = shot.masks[0].sum(axis=(1, 2))
            seen = np.flatnonzero(areas >= self.pixels)
            if seen.size:
                kept = np.sort(rng.permutation(seen)[: self.objects])
                return to_clip(shot.frames, shot.masks[:, kept], name, shot.void)
        raise InputError(
            f"{_TRIES} samples in a row were broken or showed no object in their first frame, the "
            f"last from {video.name}; check the annotations"
        )

    def _shot(self, video: Video, rng: Generator) -> Shot:
        """A clip of a video, with the objects that are annotated in its first frame."""
        annotated = video.annotated()
        if not annotated:
            raise InputError(f"{video.name}: no frame of this video has a mask; leave it out")
        indices = [annotated[i] for i in self._draw_frames(len(annotated), rng)]
        notes = {i: _annotation(video, i) for i in sorted(set(indices))}
        images = {i: _frame(video, i) for i in notes}
        ids = notes[indices[0]].object_ids
        masks = np.stack([_rows(notes[i], ids, video.size) for i in indices])
        void = None
        if any(note.void is not None for note in notes.values()):
            void = np.stack([_void(notes[i], video.size) for i in indices])
        shot = Shot(tuple(images[i] for i in indices), masks, void)
        shot = self.warp(shot, self.size, rng) if self.warp else resize(shot, self.size)
        return shot if self.color is None else self.color(shot, rng)

    def _draw_frames(self, count: int, rng: Generator) -> NDArray[np.int64]:
        """Places of `length` frames among `count` annotated ones."""
        widest = min(self.max_gap, max(1, (count - 1) // max(1, self.length - 1)))
        gaps = rng.integers(1, widest + 1, self.length - 1)
        steps = np.concatenate([[0], np.cumsum(gaps)])
        start = int(rng.integers(max(1, count - int(steps[-1]))))
        places = start + steps
        if rng.random() < self.reverse:
            places = places[::-1]
        # 0 1 2 1 0 1 ...: a video that is too short turns back at its ends.
        period = max(1, 2 * (count - 1))
        folded = places % period
        return np.asarray(np.minimum(folded, period - folded) if count > 1 else 0 * places)


def _frame(video: Video, index: int) -> Image:
    for image in video.frames(index):
        return image
    raise InputError(f"{video.name}: ends before frame {index}; copy it again")


def _annotation(video: Video, index: int) -> Annotation:
    annotation = video.annotation(index)
    if annotation is None:
        raise InputError(f"{video.name}: frame {index} has no mask any more; check the masks")
    return annotation


def _rows(annotation: Annotation, ids: Sequence[int], size: Size) -> Mask:
    """Masks (O, H, W) of these objects, empty where the frame does not show one."""
    rows = dict(zip(annotation.object_ids, annotation.masks, strict=True))
    empty = np.zeros(size, dtype=np.bool_)
    return np.stack([rows.get(i, empty) for i in ids]) if ids else np.zeros((0, *size), np.bool_)


def _void(annotation: Annotation, size: Size) -> Mask:
    return np.zeros(size, dtype=np.bool_) if annotation.void is None else annotation.void
