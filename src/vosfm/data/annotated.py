"""Pictures and a truth, as a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vosfm.data.folder import read_frames
from vosfm.data.images import image_size
from vosfm.data.truth import Truth
from vosfm.data.video import Annotation, Image, Mask, Video
from vosfm.errors import InputError


class AnnotatedVideo(Video):
    """The pictures of a video, with the masks that a truth tells; each object given at its start.

    Args:
        truth: of the video.
        files: its pictures, in the order of time.
        annotated: which of them the truth speaks of, for each of its places.

    Raises:
        InputError: if the first picture is missing or broken.
    """

    truth: Truth

    def __init__(self, truth: Truth, files: Sequence[Path], annotated: Sequence[int]) -> None:
        self.truth = truth
        self.name = truth.name
        self.frame_names = tuple(file.stem for file in files)
        self.unseen = truth.unseen
        self._files = tuple(files)
        self._places = {frame: place for place, frame in enumerate(annotated)}

    @cached_property
    def size(self) -> tuple[int, int]:  # type: ignore[override]  # known once a picture is read
        """(H, W) of the first picture."""
        return image_size(self._files[0])

    @property
    def files(self) -> tuple[Path, ...]:
        """The picture of each frame."""
        return self._files

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, read one by one.

        Raises:
            InputError: if a frame is missing, broken or of another size than the first one.
        """
        return read_frames(self._files[start:], self.size)

    def annotated(self) -> tuple[int, ...]:
        """The frames that the truth speaks of."""
        return tuple(self._places)

    def reported(self) -> tuple[int, ...]:
        """The frames that the truth speaks of, since only they can be scored."""
        return self.annotated()

    def annotation(self, index: int) -> Annotation | None:
        """The masks of the objects in sight, or None where the truth does not speak.

        Raises:
            InputError: if the masks are damaged, or of another size than the frames.
        """
        if index not in self._places:
            return None
        masks = self._masks(index)
        seen = np.any(masks, (1, 2)).tolist()
        ids = tuple(i for i, there in zip(self.truth.object_ids, seen, strict=True) if there)
        return Annotation(ids, masks[seen], self.void(index))

    def void(self, index: int) -> Mask | None:
        """The pixels of a frame without a truth; None if there are none."""
        return self.truth.void(self._places[index]) if index in self._places else None

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """Frame index -> object id -> (H, W) bool mask of the objects that start there.

        Raises:
            InputError: if there is no object, or a mask is damaged.
        """
        if not self.truth.object_ids:
            raise InputError(f"{self.name}: no object in this video; leave it out")
        prompts: dict[int, dict[int, Mask]] = {}
        for index, place in self._places.items():
            starting = [i for i in self.truth.object_ids if self.truth.starts[i] == place]
            if starting:
                masks = dict(zip(self.truth.object_ids, self._masks(index), strict=True))
                prompts[index] = {i: masks[i] for i in starting}
        return prompts

    def _masks(self, index: int) -> Mask:
        masks = self.truth.masks(self._places[index])
        if masks.shape[1:] != self.size:
            mask, frame = (f"{h} x {w}" for h, w in (masks.shape[1:], self.size))
            raise InputError(
                f"{self._files[index]}: the frame measures {frame} (height x width) but its masks "
                f"{mask}; use the frames that the masks were drawn for"
            )
        return masks
