"""Videos cut into the clips that shards hold, frames and masks encoded."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from vosfm.data.images import decode_image, encode_jpeg, jpeg_size
from vosfm.data.shards.columns import Columns
from vosfm.data.shards.description import KEY, MOST_PIXELS, Description
from vosfm.data.shards.sample import Packed, pack_sample
from vosfm.data.truth import Truth
from vosfm.data.video import Annotation, Image, Mask, Video
from vosfm.data.video_truth import VideoTruth
from vosfm.errors import InputError
from vosfm.files import read_bytes

Pictures = Literal["annotated", "all"]

_LONGEST = 60
"""Characters of a video's name that a key keeps, where it cannot keep all."""


@dataclass(frozen=True)
class Cut:
    """How videos become clips.

    Args:
        length: T, annotated frames of a clip; None for whole videos.
        short_edge: the shorter side of larger frames is brought to so many pixels; None keeps all.
        quality: of JPEGs that have to be encoded, 1 to 100.
        pictures: of annotated frames alone, which training takes; or of all frames.

    Raises:
        InputError: if a value is out of range.
    """

    length: int | None = None
    short_edge: int | None = None
    quality: int = 95
    pictures: Pictures = "annotated"

    def __post_init__(self) -> None:
        for name, value, most in (
            ("length", self.length, None),
            ("short edge", self.short_edge, None),
            ("quality", self.quality, 100),
        ):
            if value is not None and (value < 1 or (most is not None and value > most)):
                limit = "at least 1" if most is None else f"1 to {most}"
                raise InputError(f"{name} is {value}: give {limit}")

    def clips(self, count: int) -> list[range]:
        """The places of each clip: T of them, one clip after the other.

        What is left at the end is a clip of its own if it has T / 2 places or more; else the last
        clip is so much longer.

        Args:
            count: annotated frames of the video.

        Example:
            >>> Cut(length=4).clips(9), Cut(length=4).clips(10)
            ([range(0, 4), range(4, 9)], [range(0, 4), range(4, 8), range(8, 10)])
        """
        if self.length is None or count <= self.length:
            return [range(count)]
        starts = list(range(0, count, self.length))
        if 2 * (count - starts[-1]) < self.length:
            starts.pop()
        return [range(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def cut(video: Video, how: Cut, skip: int = 0) -> Iterator[Packed]:
    """Cut a video, and encode one clip after the other.

    Pictures that are JPEGs already, and of the size that is wanted, are taken as they are. Of a
    clip that is not the whole video, only objects that it shows are told, each given where it is
    first in sight.

    Args:
        video: with masks.
        how: to cut and to encode it.
        skip: its first clips that are left out, without a look at them.

    Raises:
        InputError: if it has no masks, or a picture or a mask of it cannot be read.
    """
    truth = video.truth or VideoTruth(video)
    annotated = _annotated(video, truth)
    size = _wanted_size(video.size, how.short_edge)
    clips = how.clips(len(annotated))
    for places in clips[skip:]:
        shown = annotated[places.start : places.stop]
        frames: Sequence[int] = shown
        if how.pictures == "all":
            end = len(video) if places.stop == len(annotated) else annotated[places.stop]
            frames = range(shown[0] if places.start else 0, end)
        masks = [_columns(video, index, size) for index in shown]
        told = Description(
            source=video.name,
            first=frames[0],
            size=size,
            frame_names=tuple(video.frame_names[index] for index in frames),
            annotated=tuple(bisect_left(frames, index) for index in shown),
            numbers=tuple(int(n) for n in truth.numbers),
            length=int(truth.length),
            starts={i: p for i, p in sorted(truth.starts.items()) if p < len(annotated)},
            ranges=truth.ranges,
            # The truth of a video of no benchmark does not tell; its masks do.
            overlapping=truth.overlapping or (video.truth is None and any(map(_overlap, masks))),
            void=any(columns.hidden is not None for columns in masks),
            unseen=truth.unseen,
            attributes=truth.attributes,
            captions=truth.captions,
        )
        if len(clips) > 1 or size != video.size:
            told = _part(told, places, masks)
        placed = dict(zip(shown, masks, strict=True))
        yield pack_sample(
            key_of(video.name, places.start if len(clips) > 1 else None),
            told,
            list(_pictures(video, frames, size, how.quality)),
            [placed.get(index) for index in frames],
        )


def key_of(name: str, first: int | None = None) -> str:
    """What a clip is called: letters, digits, - and _ alone.

    Args:
        name: of the video; one that a key cannot hold is mended, and told apart by a checksum.
        first: place of its first frame, for a part of a video.

    Example:
        >>> key_of("bear"), key_of("bear", 10), key_of("a/b")
        ('bear', 'bear-00010', 'a_b-c14cddc033f6')
    """
    plain = "".join(c if KEY.fullmatch(c) else "_" for c in name)
    if plain != name or len(name) > _LONGEST:
        checksum = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        plain = f"{plain[:_LONGEST]}-{checksum[:12]}"
    return plain if first is None else f"{plain}-{first:05d}"


def _annotated(video: Video, truth: Truth) -> list[int]:
    """The frame of the video for each place of its truth."""
    if not truth.frame_names:
        raise InputError(f"{video.name}: no frame of this video has a mask; leave it out")
    at = {name: index for index, name in enumerate(video.frame_names)}
    if missing := [name for name in truth.frame_names if name not in at]:
        raise InputError(
            f"{video.name}: no picture of the annotated frame {missing[0]}; unpack the frames again"
        )
    found = [at[name] for name in truth.frame_names]
    if found != sorted(set(found)):
        raise InputError(f"{video.name}: its masks are not in the order of its frames; rename them")
    return found


def _part(told: Description, places: range, masks: Sequence[Columns]) -> Description:
    """Tell of some places of a video alone, and of the objects that their masks show."""
    starts: dict[int, int] = {}
    for object_id, start in told.starts.items():
        spoken = places if told.ranges is None else sorted({*places} & {*told.ranges[object_id]})
        for place in spoken:
            if place >= start and object_id in masks[place - places.start].ids:
                starts[object_id] = place
                break
    # A video that is only smaller keeps its numbers.
    first = told.numbers[places.start] if places.start else 0
    last = places.stop == len(told.numbers)
    return replace(
        told,
        numbers=tuple(n - first for n in told.numbers[places.start : places.stop]),
        length=(told.length if last else told.numbers[places.stop]) - first,
        starts={i: start - places.start for i, start in starts.items()},
        ranges=None
        if told.ranges is None
        else {
            i: tuple(p - places.start for p in told.ranges[i] if start <= p < places.stop)
            for i, start in starts.items()
        },
        unseen=None if told.unseen is None else told.unseen & starts.keys(),
    )


def _columns(video: Video, index: int, size: tuple[int, int]) -> Columns:
    """The masks of a frame, brought to a size and encoded."""
    note = video.annotation(index)
    whose = f"{video.name}, frame {video.frame_names[index]}"
    if note is None:
        raise InputError(f"{whose}: has no mask, though it should; unpack the annotations again")
    if note.masks.shape[1:] != video.size:
        mask, frame = (f"{h} x {w}" for h, w in (note.masks.shape[1:], video.size))
        raise InputError(f"{whose}: its masks measure {mask} (height x width), the frame {frame}")
    if size != video.size:
        void = None if note.void is None else _smaller(note.void[None], size)[0]
        note = Annotation(note.object_ids, _smaller(note.masks, size), void)
    try:
        return Columns.of(note, video.quality(index))
    except ValueError as error:
        raise InputError(f"{whose}: {error}; renumber them") from None


def _pictures(
    video: Video, frames: Sequence[int], size: tuple[int, int], quality: int
) -> Iterator[bytes]:
    """A JPEG of each of these frames, which ascend."""
    if video.files is not None:
        for index in frames:
            data = read_bytes(video.files[index], "picture")
            fits = size == video.size and sorted(jpeg_size(data) or ()) == sorted(size)
            # Decoded, so that a broken picture is found here and not in training.
            if fits and decode_image(data, str(video.files[index])).shape[:2] == size:
                yield data
            else:
                yield _jpeg(next(video.frames(index)), size, quality)
        return
    wanted = frozenset(frames)
    for index, image in enumerate(video.frames(frames[0]), frames[0]):
        if index in wanted:
            yield _jpeg(image, size, quality)
        if index == frames[-1]:
            return
    raise InputError(f"{video.name}: ends before frame {frames[-1]}; copy it again")


def _wanted_size(size: tuple[int, int], short_edge: int | None) -> tuple[int, int]:
    height, width = size
    if short_edge is not None and min(size) > short_edge:
        ratio = short_edge / min(size)
        height, width = round(height * ratio), round(width * ratio)
    if height * width > MOST_PIXELS:
        raise InputError(
            f"frames of {height} x {width} pixels, more than {MOST_PIXELS}; give --short-edge"
        )
    return height, width


def _jpeg(image: Image, size: tuple[int, int], quality: int) -> bytes:
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(image, quality)


def _smaller(masks: Mask, size: tuple[int, int]) -> Mask:
    """Take the nearest pixel, so that masks that do not overlap still do not."""
    return np.stack(
        [
            cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
            for mask in np.ascontiguousarray(masks)
        ]
        or [np.zeros((0, *size), np.bool_)]
    ).reshape(-1, *size)


def _overlap(columns: Columns) -> bool:
    """Whether masks of a frame overlap."""
    masks = [columns.mask(row, "") for row in range(len(columns.ids))]
    return bool(masks) and int(np.sum(masks, axis=0, dtype=np.uint8).max()) > 1
