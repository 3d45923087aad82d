"""What every peer promises: a method that is not one of our models, used as a tracker is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.errors import InputError
from vosfm.prompters import Prompter
from vosfm.prompts import Given, check_any, check_end, to_masks
from vosfm.tracker import Prompts, Result, nothing
from vosfm.types import Box, Points

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Drawing = Callable[[Image, Sequence[Box | Points]], Tensor]
"""From a frame and P boxes and points in it to logits (P, H, W)."""

View = TypeVar("View")
"""What a method makes of one frame, for all objects."""

Known = TypeVar("Known")
"""What a method knows of one object."""


class Peer(ABC):
    """A method of video object segmentation, used like `vosfm.Tracker`.

    It keeps nothing between two streams.

    Args:
        exclusive: whether a pixel belongs to one object at most. With False, masks may overlap.
        prompter: what makes masks of boxes and points; None where masks alone can be given.
    """

    def __init__(self, exclusive: bool = True, prompter: Prompter | None = None) -> None:
        self.exclusive = exclusive
        self.prompter = prompter

    @abstractmethod
    def track(self, frames: Iterable[Image], prompts: Prompts | None = None) -> Iterator[Result]:
        """Track through a stream.

        Args:
            frames: (H, W, 3) uint8 RGB each, any iterable, read one at a time.
            prompts: what is given, by the frame's index in the stream. Frames before the first
                prompt give results without objects.

        Yields:
            The masks of each frame; an object that is lost has an empty one.

        Raises:
            InputError: if nothing is ever given, a prompt lies past the end, a frame has another
                size than the first, or a prompt does not fit its frame.
        """


@dataclass(frozen=True)
class Found(Generic[Known]):
    """What is found of an object in a frame.

    Attributes:
        logits: (H, W) float32, above 0 inside. Of objects that claim the same pixel and exclude
            each other, the one with the highest has it.
        score: confidence in [0, 1].
        known: what is known of the object now, but for the mask that comes of it.
    """

    logits: NDArray[np.float32]
    score: float
    known: Known


class FrameByFrame(Peer, Generic[View, Known]):
    """A method that looks at each frame once and knows a fixed amount of every object.

    What is known of an object never changes in place: a frame makes something new of it.
    """

    @abstractmethod
    def look(self, frame: Image, index: int, before: View | None) -> View:
        """Take a frame in.

        Args:
            frame: (H, W, 3).
            index: of it in the stream.
            before: of the frame before; None if there was none, or nobody to be followed.
        """

    @abstractmethod
    def begin(self, view: View, mask: Mask, object_id: int) -> Known:
        """Get to know an object by the mask (H, W), never empty, that is given of it."""

    @abstractmethod
    def find(self, view: View, known: Mapping[int, Known]) -> Mapping[int, Found[Known]]:
        """Find all objects that nothing is given of."""

    @abstractmethod
    def update(self, view: View, known: Known, mask: Mask, object_id: int) -> Known:
        """Know an object after a frame in which its mask was found.

        Args:
            view: of the frame.
            known: as `find` has it.
            mask: (H, W), empty where the object is lost.
            object_id: of the object.
        """

    def track(self, frames: Iterable[Image], prompts: Prompts | None = None) -> Iterator[Result]:
        known: dict[int, Known] = {}
        view: View | None = None
        for index, frame, given in prompted(frames, prompts or {}, self.exclusive, self._predict):
            if not known and not given:
                yield nothing(index, (frame.shape[0], frame.shape[1]))
                continue
            view = self.look(frame, index, view)
            old = {i: one for i, one in known.items() if i not in given}
            found = self.find(view, old) if old else {}
            masks = settle(found, given, self.exclusive)
            scores = {i: one.score if masks[i].any() else 0.0 for i, one in found.items()}
            # Objects stay in the order in which they joined.
            for i in (*known, *(i for i in given if i not in known)):
                known[i] = (
                    self.begin(view, masks[i], i)
                    if i in given
                    else self.update(view, found[i].known, masks[i], i)
                )
            del frame
            yield Result(
                index,
                tuple(known),
                np.stack([masks[i] for i in known]),
                np.array([scores.get(i, 1.0) for i in known], np.float32),
            )

    def _predict(self, frame: Image, drawn: Sequence[Box | Points]) -> Tensor:
        if self.prompter is None or self.prompter.encoder is None:
            raise InputError(f"{type(self).__name__} is given masks alone, not boxes or points")
        with torch.no_grad():
            pixels = to_tensor(frame).to(self.prompter.encoder.mean.device)
            return self.prompter(self.prompter.encoder(pixels), drawn).cpu()


def prompted(
    frames: Iterable[Image],
    prompts: Prompts,
    exclusive: bool,
    predict: Drawing,
) -> Iterator[tuple[int, Image, dict[int, Mask]]]:
    """The frames of a stream with the masks that are given with them, checked.

    Args:
        frames: as of `Peer.track`.
        prompts: as of `Peer.track`.
        exclusive: whether a pixel belongs to one object at most.
        predict: from a frame and what is drawn in it to logits (P, H, W).

    Yields:
        Index, frame, and object id -> (H, W) mask.

    Raises:
        InputError: as `Peer.track`.
    """
    check_any(prompts)
    for index, frame in enumerate(checked(frames, prompts)):
        yield index, frame, _masks(prompts.get(index, {}), frame, index, exclusive, predict)


def checked(frames: Iterable[Image], prompts: Prompts) -> Iterator[Image]:
    """The frames of a stream, each checked before it is passed on.

    Args:
        frames: as of `Peer.track`.
        prompts: as of `Peer.track`.

    Raises:
        InputError: if a frame is no picture, or of another size than the first, or a prompt lies
            past the end.
    """
    if isinstance(frames, Sized):
        check_end(prompts, len(frames))
    size, count = None, 0
    for count, frame in enumerate(frames, 1):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InputError(
                f"frame {count - 1}: {frame.dtype} of shape {frame.shape}, need uint8 (H, W, 3)"
            )
        size = size or frame.shape
        if frame.shape != size:
            raise InputError(
                f"frame {count - 1} is {frame.shape[0]}x{frame.shape[1]}, the stream "
                f"{size[0]}x{size[1]}: resize the frames, or track another stream"
            )
        yield frame
    check_end(prompts, count)


def settle(
    found: Mapping[int, Found[Known]], given: Mapping[int, Mask], exclusive: bool
) -> dict[int, Mask]:
    """Decide which pixels are whose.

    Args:
        found: object id -> what was found of it.
        given: object id -> (H, W), which stands as it was given.
        exclusive: whether a pixel belongs to one object at most; given masks then displace others,
            and of those found the highest logit has the pixel, the first of equals.

    Returns:
        Object id -> (H, W).
    """
    masks = {i: one.logits > 0 for i, one in found.items()}
    if exclusive and found:
        best = np.stack([one.logits for one in found.values()]).argmax(0)
        taken = np.any(list(given.values()), axis=0) if given else np.False_
        masks = {i: mask & (best == row) & ~taken for row, (i, mask) in enumerate(masks.items())}
    return masks | dict(given)


def to_tensor(frame: Image) -> Tensor:
    """A frame as encoders take it, (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255


def _masks(
    given: Mapping[int, Given], frame: Image, index: int, exclusive: bool, predict: Drawing
) -> dict[int, Mask]:
    if not given:
        return {}
    size = (frame.shape[0], frame.shape[1])
    masks = to_masks(given, size, index, exclusive, torch.device("cpu"), partial(predict, frame))
    return {object_id: mask.numpy() for object_id, mask in masks.items()}
