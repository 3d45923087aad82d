"""The two kinds of datasets: clips to train on and videos to test on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from vosfm.data.video import Image, Video
from vosfm.types import Clip


class Clips(Dataset[Clip], ABC):
    """Training clips without end: every epoch sees others, the same ones in every run.

    A sample is a function of (epoch, index) alone, so it does not depend on workers, on resuming
    or on global generators. Data loaders, which know one integer, ask for
    `dataset[epoch * len(dataset) + index]`; `ClipSampler` does that for them.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Clips of one epoch."""

    @abstractmethod
    def sample(self, epoch: int, index: int) -> Clip:
        """The clip `index` of an epoch, as a batch of one."""

    @property
    def broken(self) -> int:
        """Samples that could not be read so far."""
        return 0

    @property
    def sources(self) -> frozenset[str]:
        """Names of the videos that clips are taken from; none where they are made up."""
        return frozenset()

    def __getitem__(self, index: int) -> Clip:
        """The clip at a place in the endless sequence of epochs."""
        return self.sample(*divmod(index, len(self)))

    def __iter__(self) -> Iterator[Clip]:
        """The clips of epoch 0."""
        return (self.sample(0, index) for index in range(len(self)))


class Videos(Dataset[Video], ABC):
    """Videos in a fixed order."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def __getitem__(self, index: int) -> Video:
        """A video, opened lazily."""

    def __iter__(self) -> Iterator[Video]:
        """All videos, one after the other."""
        return (self[index] for index in range(len(self)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the videos; formats that know them without opening files say so."""
        return tuple(video.name for video in self)


class ListedVideos(Videos):
    """Videos whose names are known before any of them is opened."""

    @property
    @abstractmethod
    def sequences(self) -> tuple[str, ...]:
        """Names of the videos, in their order.

        Raises:
            InputError: if they do not lie as expected, or one is missing.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the videos."""
        return self.sequences

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.sequences)


class MixedClips(Clips):
    """Several kinds of clips as one: an epoch shows an epoch of each.

    Args:
        parts: the kinds by name, in this order; each contributes as many clips to an epoch as its
            own epoch has.

    Raises:
        ValueError: if there are none.
    """

    def __init__(self, parts: dict[str, Clips]) -> None:
        if not parts:
            raise ValueError("there are no clips to mix")
        self.parts = parts

    def __len__(self) -> int:
        """Clips of one epoch."""
        return sum(len(part) for part in self.parts.values())

    @property
    def broken(self) -> int:
        """Samples of all parts that could not be read so far."""
        return sum(part.broken for part in self.parts.values())

    @property
    def sources(self) -> frozenset[str]:
        """Names of all parts' videos."""
        return frozenset().union(*(part.sources for part in self.parts.values()))

    def sample(self, epoch: int, index: int) -> Clip:
        """The clip `index` of an epoch, as a batch of one."""
        for part in self.parts.values():
            if index < len(part):
                return part.sample(epoch, index)
            index -= len(part)
        raise IndexError(f"an epoch has {len(self)} clips")


def collate(samples: Sequence[Clip]) -> Clip:
    """Join clips into a batch, padding the object axis of each to the widest.

    Args:
        samples: clips of equal length and size.

    Returns:
        One clip; `present` is False where a sample was padded.

    Raises:
        ValueError: if there are no samples, or lengths or sizes differ; the message names them.
    """
    if not samples:
        raise ValueError("there are no clips to join")
    shapes = {tuple(s.frames.shape[1:]) for s in samples}
    if len(shapes) > 1:
        found = ", ".join(f"{s.names}: {tuple(s.frames.shape[1:])}" for s in samples)
        raise ValueError(f"clips of one batch must agree in length and size, not {found}")
    objects = max(s.masks.shape[2] for s in samples)
    voids = [s.void for s in samples]
    if any(v is not None for v in voids):
        voids = [
            s.frames.new_zeros(s.masks[:, :, 0].shape, dtype=torch.bool)
            if s.void is None
            else s.void
            for s in samples
        ]
    return Clip(
        frames=_join([s.frames for s in samples]),
        masks=_join([_widen(s.masks, 2, objects) for s in samples]),
        present=torch.cat([_widen(s.present, 1, objects) for s in samples]),
        void=torch.cat([v for v in voids if v is not None]) if voids[0] is not None else None,
        names=tuple(name for s in samples for name in s.names),
    )


def _join(tensors: Sequence[Tensor]) -> Tensor:
    """As `torch.cat`; in a worker at once in shared memory, by which its result must go anyway."""
    joined: Tensor = default_collate([row for tensor in tensors for row in tensor])
    return joined


def _widen(tensor: Tensor, axis: int, length: int) -> Tensor:
    shape = list(tensor.shape)
    if shape[axis] == length:
        return tensor
    shape[axis] = length - shape[axis]
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=axis)


def to_clip(
    frames: Sequence[Image],
    masks: NDArray[np.bool_],
    name: str,
    void: NDArray[np.bool_] | None = None,
) -> Clip:
    """A clip, as a batch of one, from arrays.

    Args:
        frames: T frames (H, W, 3) uint8 RGB.
        masks: (T, O, H, W) bool.
        name: the source, for messages.
        void: (T, H, W) bool, or None.
    """
    height, width = frames[0].shape[:2]
    pixels = np.empty((1, len(frames), 3, height, width), dtype=np.uint8)
    for place, frame in enumerate(frames):
        cv2.split(frame, list(pixels[0, place]))
    return Clip(
        frames=torch.from_numpy(pixels),
        masks=torch.from_numpy(np.ascontiguousarray(masks))[None],
        present=torch.ones(1, masks.shape[1], dtype=torch.bool),
        void=None if void is None else torch.from_numpy(np.ascontiguousarray(void))[None],
        names=(name,),
    )
