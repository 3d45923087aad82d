"""A video with masks: the one contract between files on disk and everything that reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vosfm.data.truth import Truth

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

VOID = 255
"""The label of pixels without a truth, in every index-mask format we read."""


@dataclass(frozen=True)
class Annotation:
    """The masks of one frame.

    Attributes:
        object_ids: the objects spoken of, in the order of `masks`.
        masks: (O, H, W) bool; they may overlap.
        void: (H, W) bool, pixels without a truth; None if there are none.
    """

    object_ids: tuple[int, ...]
    masks: Mask
    void: Mask | None = None

    @classmethod
    def from_labels(cls, labels: NDArray[Any]) -> Annotation:
        """Split an index mask (H, W), 0 background and 255 void, into one mask per object."""
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        ids = tuple(int(i) for i in present if i not in (0, VOID))
        masks = labels[None] == np.asarray(ids, dtype=labels.dtype).reshape(-1, 1, 1)
        void = labels == VOID if VOID in present else None
        return cls(ids, masks, void)


class Video(ABC):
    """Frames in order, with masks for some of them; read lazily, held nowhere.

    Attributes:
        name: what results are filed under.
        frame_names: stem of each frame, for the names of result files.
        size: (H, W) of every frame.
        unseen: ids of the objects whose category training has not shown; None if not known.
        truth: the annotation by which the benchmark scores it; None for a video of no benchmark.
    """

    name: str
    frame_names: tuple[str, ...]
    size: tuple[int, int]
    unseen: frozenset[int] | None = None
    truth: Truth | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frame_names)

    @property
    def files(self) -> tuple[Path, ...] | None:
        """The picture of each frame, where each is a file of its own; else None."""
        return None

    @abstractmethod
    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB each, decoded one by one."""

    @abstractmethod
    def annotation(self, index: int) -> Annotation | None:
        """The true masks of a frame, or None where it has none."""

    @property
    def lists_areas(self) -> bool:
        """Whether `areas` and `masks_of` decode nothing else: formats that override them say so."""
        return type(self).areas is not Video.areas

    def areas(self, index: int) -> dict[int, int]:
        """How much of an annotated frame each object covers.

        A format that knows it without decoding a mask overrides this, `masks_of` and `void`; clips
        are then drawn without decoding objects that they do not show.

        Args:
            index: of an annotated frame; any other has no areas.

        Returns:
            Object id -> pixels of its mask, of the objects in sight alone.

        Raises:
            InputError: if the annotation is damaged.
        """
        note = self.annotation(index)
        if note is None:
            return {}
        counts = np.count_nonzero(note.masks, axis=(1, 2)).tolist()
        return {i: n for i, n in zip(note.object_ids, counts, strict=True) if n}

    def masks_of(self, index: int, ids: Sequence[int]) -> Mask:
        """The masks of some objects in an annotated frame.

        Args:
            index: of the frame.
            ids: the O objects that are asked for.

        Returns:
            (O, H, W) bool, empty where an object is not in sight.

        Raises:
            InputError: if one of these masks is damaged.
        """
        note = self.annotation(index)
        if note is None:
            return np.zeros((len(ids), *self.size), np.bool_)
        return in_order(ids, note.object_ids, note.masks, self.size)

    def void(self, index: int) -> Mask | None:
        """The pixels (H, W) of an annotated frame without a truth; None if there are none.

        Raises:
            InputError: if they are damaged.
        """
        note = self.annotation(index)
        return None if note is None else note.void

    def quality(self, index: int) -> dict[int, float] | None:
        """How good the masks of a frame are said to be: the IoU that the data engine noted.

        Args:
            index: of an annotated frame.

        Returns:
            Object id -> IoU in [0, 1], of the objects in sight; None if nobody noted any.
        """
        return None

    def annotated(self) -> tuple[int, ...]:
        """The frames that have masks; formats that know it without reading them say so."""
        return tuple(i for i in range(len(self)) if self.annotation(i) is not None)

    def reported(self) -> tuple[int, ...]:
        """The frames whose results are asked for; a benchmark may ask for some of them."""
        return tuple(range(len(self)))

    @abstractmethod
    def prompts(self) -> dict[int, dict[int, Mask]]:
        """What a model is given: frame index -> object id -> (H, W) bool mask."""


def in_order(ids: Sequence[int], found: Sequence[int], masks: Mask, size: tuple[int, int]) -> Mask:
    """Bring masks into the order of ids.

    Args:
        ids: the O objects that are asked for.
        found: the objects that there are masks of.
        masks: (len(found), H, W) bool, in the order of `found`.
        size: (H, W).

    Returns:
        (O, H, W) bool, empty where an object was not found.
    """
    ordered = np.zeros((len(ids), *size), bool)
    for row, object_id in enumerate(ids):
        if object_id in found:
            ordered[row] = masks[found.index(object_id)]
    return ordered
