"""One clip of a shard: its members as bytes, and the video that they are.

Members, in order: KEY.json, its `Description`; then for each frame KEY.00000.jpg, its picture, and
KEY.00000.masks, its `Columns`, if it has masks. WebDataset groups them by the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from vosfm.data.images import decode_image, jpeg_size
from vosfm.data.shards.columns import Columns
from vosfm.data.shards.description import Description
from vosfm.data.truth import Truth
from vosfm.data.video import Annotation, Image, Mask, Video, in_order
from vosfm.errors import InputError


class SampleError(InputError):
    """One sample is broken; those behind it can be read.

    Attributes:
        shard: the number of its shard; -1 if it is of none.
        place: its place in the shard.
    """

    def __init__(self, message: str, shard: int = -1, place: int = -1) -> None:
        super().__init__(message)
        self.shard = shard
        self.place = place


@dataclass(frozen=True)
class Packed:
    """A sample as it lies in a shard, undecoded.

    Attributes:
        key: its name.
        members: what follows the key and a dot in the name of each member, such as "00000.jpg";
            and its bytes.
        shard: the number of its shard; -1 if it is of none.
        place: its place in the shard.
        origin: the shard, for messages.
    """

    key: str
    members: tuple[tuple[str, bytes], ...] = field(repr=False)
    shard: int = -1
    place: int = -1
    origin: str = ""

    @property
    def whose(self) -> str:
        """What messages call it."""
        return f"{self.origin}: {self.key}" if self.origin else self.key

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(len(data) for _, data in self.members)


def pack_sample(
    key: str,
    description: Description,
    pictures: Sequence[bytes],
    masks: Sequence[Columns | None],
) -> Packed:
    """Join what a clip is made of.

    Args:
        key: as `description.KEY` allows.
        description: of the clip.
        pictures: a JPEG of each of its F frames.
        masks: of each frame; None for those without.
    """
    members = [("json", description.to_bytes())]
    for index, (picture, columns) in enumerate(zip(pictures, masks, strict=True)):
        members.append((f"{index:05d}.jpg", picture))
        if columns is not None:
            members.append((f"{index:05d}.masks", columns.to_bytes()))
    return Packed(key, tuple(members))


class PackedVideo(Video):
    """A clip of a shard; pictures and masks are decoded when they are asked for, and not kept.

    It is called by its key. Areas and qualities are known without decoding a mask, and `masks_of`
    decodes those that it is asked for alone.

    Args:
        packed: the sample.

    Attributes:
        description: what its first member tells.
        source: name of the video that it was taken from.

    Raises:
        SampleError: if a member is missing, or the description is damaged.
    """

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._members = dict(packed.members)
        self._columns: dict[int, Columns] = {}
        with self._blamed():
            told = self._member("json")
            self.description = Description.from_bytes(told, f"{packed.whose}.json")
        self.name = packed.key
        self.source = self.description.source
        self.frame_names = self.description.frame_names
        self.size = self.description.size
        self.unseen = self.description.unseen

    @property
    def truth(self) -> PackedTruth:  # type: ignore[override]  # made anew: a cycle would keep both
        """Its annotation, by which it is scored."""
        return PackedTruth(self.name, self.description, partial(_itself, self))

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, decoded one by one.

        Raises:
            SampleError: if a picture is missing, damaged, no JPEG, or declares another size.
        """
        for index in range(start, len(self)):
            with self._blamed():
                name = f"{index:05d}.jpg"
                data, whose = self._member(name), f"{self._packed.whose}.{name}"
                # Before decoding: a few bytes can declare a picture of 65500 x 65500.
                if sorted(jpeg_size(data) or ()) != sorted(self.size):
                    raise InputError(
                        f"{whose}: not a JPEG of {self.size[0]} x {self.size[1]} (height x width), "
                        "as its sample says; pack the video again"
                    )
                image = decode_image(data, whose)
                if image.shape[:2] != self.size:
                    raise InputError(f"{whose}: turned, so that its masks do not fit; pack again")
            yield image

    def annotated(self) -> tuple[int, ...]:
        """The frames that have masks."""
        return self.description.annotated

    def reported(self) -> tuple[int, ...]:
        """The frames that have masks, since only they can be scored."""
        return self.annotated()

    def annotation(self, index: int) -> Annotation | None:
        """The masks of the objects in sight, or None where a frame has none.

        Raises:
            SampleError: if the masks are damaged.
        """
        columns = self._read(index)
        if columns is None:
            return None
        masks = self._decoded(index, range(len(columns.ids)))
        return Annotation(columns.ids, masks, self.void(index))

    def void(self, index: int) -> Mask | None:
        """(H, W) bool, pixels of a frame without a truth; None if there are none.

        Raises:
            SampleError: if they are damaged.
        """
        columns = self._read(index)
        with self._blamed():
            return None if columns is None else columns.void(self._whose(index))

    @property
    def lists_areas(self) -> bool:
        """Whether all that is annotated are masks: not where pixels have no truth."""
        return not self.description.void

    def areas(self, index: int) -> dict[int, int]:
        """Object id -> pixels of its mask, of the objects in sight; no mask is decoded."""
        columns = self._read(index)
        return {} if columns is None else dict(zip(columns.ids, columns.areas, strict=True))

    def masks_of(self, index: int, ids: Sequence[int]) -> Mask:
        """(O, H, W) bool masks of these objects, empty out of sight; no other one is decoded.

        Raises:
            SampleError: if one of these masks is damaged.
        """
        columns = self._read(index)
        found = () if columns is None else tuple(i for i in columns.ids if i in ids)
        rows = [columns.ids.index(i) for i in found] if columns is not None else []
        return in_order(ids, found, self._decoded(index, rows), self.size)

    def quality(self, index: int) -> dict[int, float] | None:
        """Object id -> IoU that the data engine noted; None if it noted none."""
        columns = self._read(index)
        if columns is None or columns.quality is None:
            return None
        noted = zip(columns.ids, columns.quality, strict=True)
        return {i: quality for i, quality in noted if quality is not None}

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """Frame index -> object id -> (H, W) bool mask of the objects that start there, in sight.

        Raises:
            InputError: if there is no object, or a mask is damaged.
        """
        starts = self.description.starts
        if not starts:
            raise InputError(f"{self.name}: no object in this video; leave it out")
        prompts: dict[int, dict[int, Mask]] = {}
        for place in sorted(set(starts.values())):
            index = self.annotated()[place]
            seen = self.areas(index)
            ids = [i for i, start in starts.items() if start == place and i in seen]
            if ids:
                prompts[index] = dict(zip(ids, self.masks_of(index, ids), strict=True))
        return prompts

    def _read(self, index: int) -> Columns | None:
        """The masks of a frame, not decoded; kept, since they are small."""
        if index not in self._columns:
            name = f"{index:05d}.masks"
            if index not in self.description.annotated:
                return None
            with self._blamed():
                data = self._member(name)
                self._columns[index] = Columns.from_bytes(data, self.size, self._whose(index))
        return self._columns[index]

    def _decoded(self, index: int, rows: Sequence[int]) -> Mask:
        masks = np.empty((len(rows), *self.size), np.bool_)
        columns = self._read(index)
        if columns is not None:
            with self._blamed():
                for at, row in enumerate(rows):
                    masks[at] = columns.mask(row, self._whose(index))
        return masks

    def _member(self, name: str) -> bytes:
        if name not in self._members:
            raise InputError(f"{self._packed.whose}.{name}: missing; pack the video again")
        return self._members[name]

    def _whose(self, index: int) -> str:
        return f"{self._packed.whose}.{index:05d}.masks"

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Say of an error which sample it is of."""
        try:
            yield
        except SampleError:
            raise
        except InputError as error:
            raise SampleError(str(error), self._packed.shard, self._packed.place) from None


class PackedTruth(Truth):
    """What a clip of a shard is scored and described by.

    Args:
        name: of the clip.
        description: of it.
        opened: opens it, when masks are asked for.
    """

    def __init__(
        self, name: str, description: Description, opened: Callable[[], PackedVideo]
    ) -> None:
        self._opened = opened
        self._annotated = description.annotated
        self.name = name
        self.frame_names = tuple(description.frame_names[i] for i in description.annotated)
        self.numbers = description.numbers
        self.length = description.length
        self.starts = description.starts
        self.object_ids = tuple(description.starts)
        self.ranges = description.ranges
        self.overlapping = description.overlapping
        self.unseen = description.unseen
        self.attributes = description.attributes
        self.captions = description.captions

    def masks(self, place: int) -> Mask:
        return self._opened().masks_of(self._annotated[place], self.object_ids)

    def void(self, place: int) -> Mask | None:
        return self._opened().void(self._annotated[place])


def _itself(video: PackedVideo) -> PackedVideo:
    return video
