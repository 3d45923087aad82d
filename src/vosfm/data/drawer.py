"""One training clip of one video: which frames, which objects, seen through which window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.datasets import to_clip
from vosfm.data.transforms import ColorJitter, Shot, View
from vosfm.data.video import Annotation, Image, Mask, Video, in_order
from vosfm.data.warps import Warp, WholeFrame
from vosfm.errors import InputError
from vosfm.types import Clip, Size

_CHOICE = 8
"""Masks of the first frame that are decoded at once, for each object wanted, where a warp looks for
a place with objects: so many that it still finds one, and so few that others need no decoding."""

_LENIENCE = 4
"""An object may show this much more of itself than its area tells: edges mirror, pixels round."""


class ClipDrawer:
    """Random clips of a video: random start, random gaps, some of the objects.

    Only annotated frames are drawn. A clip shows objects that are visible in its first frame.

    A video that knows the areas of its masks without decoding them (`Video.lists_areas`) is asked
    for the masks of single objects: those of the first frame one after the other, in random order,
    until enough of them are inside of the window, and then those of the objects found, in the other
    frames. All others stay as they are stored. A warp that looks for a place with objects sees a
    random choice of them.

    Args:
        length: T, frames of a clip; a shorter video is played to and fro.
        size: (H, W) of the result.
        objects: at most so many objects of a clip.
        max_gap: consecutive frames of a clip are 1 to so many annotated frames apart.
        reverse: chance that a clip runs backwards, in [0, 1].
        warp: geometric augmentation; None resizes the whole frame.
        color: augmentation of colors; None leaves them.
        pixels: objects that show fewer pixels in the first frame are left out.
        quality: objects whose mask was noted to be worse in any frame of the clip are left out, in
            [0, 1]; where nobody noted anything, all are good.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        length: int = 5,
        size: Size = (256, 256),
        objects: int = 3,
        max_gap: int = 3,
        reverse: float = 0.5,
        warp: Warp | None = None,
        color: ColorJitter | None = None,
        pixels: int = 1,
        quality: float = 0.0,
    ) -> None:
        for name, value in (
            ("length", length),
            ("objects", objects),
            ("max_gap", max_gap),
            ("pixels", pixels),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not 0 <= quality <= 1:
            raise ValueError(f"quality must lie in [0, 1], not {quality}")
        self.length = length
        self.size = (size[0], size[1])
        self.objects = objects
        self.max_gap = max_gap
        self.reverse = reverse
        self.warp = warp or WholeFrame()
        self.color = color
        self.pixels = pixels
        self.quality = quality

    def draw(self, video: Video, rng: Generator) -> Clip | None:
        """A clip of a video.

        Args:
            video: what it is taken from.
            rng: all chance comes from it.

        Returns:
            A batch of one; None if the first frame shows none of its objects.

        Raises:
            InputError: if the video cannot be read, or no frame of it has a mask.
        """
        return self.choose(self.shot(video, rng), video.name, rng)

    def choose(self, shot: Shot, name: str, rng: Generator) -> Clip | None:
        """A clip of some of the objects that are visible in the first frame; None if none is."""
        areas = [np.count_nonzero(mask) for mask in shot.masks[0]]
        seen = np.flatnonzero(np.asarray(areas) >= self.pixels)
        if not seen.size:
            return None
        kept = np.sort(rng.permutation(seen)[: self.objects])
        return to_clip(shot.frames, shot.masks[:, kept], name, shot.void)

    def shot(self, video: Video, rng: Generator) -> Shot:
        """A clip before its objects are chosen: all of the first frame, or those sampled already.

        Raises:
            InputError: as `draw`.
        """
        annotated = video.annotated()
        if not annotated:
            raise InputError(f"{video.name}: no frame of this video has a mask; leave it out")
        indices = [annotated[i] for i in self._draw_frames(len(annotated), rng)]
        look = self._single if video.lists_areas else self._whole
        shot = look(video, indices, rng)
        return shot if self.color is None else self.color(shot, rng)

    def _whole(self, video: Video, indices: Sequence[int], rng: Generator) -> Shot:
        """These frames, with the objects that are annotated in the first one."""
        notes = {i: _annotation(video, i) for i in sorted(set(indices))}
        images = {i: _frame(video, i) for i in notes}
        ids = self._good(video, indices, notes[indices[0]].object_ids)
        masks = np.stack(
            [in_order(ids, notes[i].object_ids, notes[i].masks, video.size) for i in indices]
        )
        void = _voids([notes[i].void for i in indices], video.size)
        shot = Shot(tuple(images[i] for i in indices), masks, void)
        return self.warp(shot, self.size, rng)

    def _single(self, video: Video, indices: Sequence[int], rng: Generator) -> Shot:
        """These frames, with as many objects as are wanted; nothing else is decoded."""
        first = indices[0]
        areas = video.areas(first)
        order = rng.permutation(np.array(self._good(video, indices, tuple(areas)), np.int64))
        ids: list[int] = order.tolist()
        known: dict[int, Mask] = {}
        if self.warp.looks:
            some = ids[: _CHOICE * self.objects]
            known = dict(zip(some, video.masks_of(first, some), strict=True))
        outline = _outline(video.size, len(indices), list(known.values()))
        views = self.warp.views(outline, self.size, rng)
        growth = abs(np.linalg.det(views[0].matrix[:, :2])) * _LENIENCE
        seen: dict[int, Mask] = {}
        for i in [i for i in ids if areas[i] * growth >= self.pixels]:
            mask = known[i][None] if i in known else video.masks_of(first, [i])
            shown = views[0].masks(mask)
            if np.count_nonzero(shown) >= self.pixels:
                seen[i] = shown[0]
            if len(seen) == self.objects:
                break
        return _seen(video, indices, views, {i: seen[i] for i in sorted(seen)})

    def _good(self, video: Video, indices: Sequence[int], ids: Sequence[int]) -> tuple[int, ...]:
        """Those of the objects whose masks are good enough wherever the clip shows them."""
        if not self.quality:
            return tuple(ids)
        noted = [video.quality(i) or {} for i in sorted(set(indices))]
        return tuple(i for i in ids if min(q.get(i, 1.0) for q in noted) >= self.quality)

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


def _seen(
    video: Video, indices: Sequence[int], views: Sequence[View], first: Mapping[int, Mask]
) -> Shot:
    """These frames and objects, each frame by its view, one after the other to keep them in cache.

    Args:
        video: what they are of.
        indices: T frames.
        views: of each.
        first: object id -> its mask in the first frame, as it is seen already.
    """
    ids, size = list(first), views[0].size
    frames: dict[int, Image] = {}
    masks = {0: _stacked(list(first.values()), size)}
    voids: dict[int, Mask] = {}
    for index in sorted(set(indices)):
        # A short video shows a frame more than once, each time by another view.
        places = [place for place, shown in enumerate(indices) if shown == index]
        image, void = _frame(video, index), video.void(index)
        frames.update({place: views[place].image(image) for place in places})
        if void is not None:
            voids.update({place: views[place].masks(void[None])[0] for place in places})
        if later := [place for place in places if place]:
            layers = video.masks_of(index, ids)
            masks.update({place: views[place].masks(layers) for place in later})
    order = range(len(indices))
    return Shot(
        tuple(frames[place] for place in order),
        np.stack([masks[place] for place in order]),
        _voids([voids.get(place) for place in order], size),
    )


def _outline(size: Size, length: int, masks: Sequence[Mask]) -> Shot:
    """All that a warp looks at: the number and size of frames, the masks (H, W) of the first."""
    blank = np.broadcast_to(np.uint8(0), (*size, 3))
    return Shot((blank,) * length, _stacked(masks, size)[None])


def _frame(video: Video, index: int) -> Image:
    for image in video.frames(index):
        return image
    raise InputError(f"{video.name}: ends before frame {index}; copy it again")


def _annotation(video: Video, index: int) -> Annotation:
    annotation = video.annotation(index)
    if annotation is None:
        raise InputError(f"{video.name}: frame {index} has no mask any more; check the masks")
    return annotation


def _stacked(masks: Sequence[Mask], size: Size) -> Mask:
    """(O, H, W), of any number of masks (H, W)."""
    return np.stack(masks) if masks else np.zeros((0, *size), dtype=np.bool_)


def _voids(voids: Sequence[Mask | None], size: Size) -> Mask | None:
    """(T, H, W), of a clip whose frames may have pixels without a truth; None if none has."""
    if all(void is None for void in voids):
        return None
    return np.stack([np.zeros(size, np.bool_) if void is None else void for void in voids])
