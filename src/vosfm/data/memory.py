"""A video that already lies in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vosfm.data.video import Annotation, Image, Mask, Video


class ArrayVideo(Video):
    """Frames and masks that are arrays already.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        masks: (T, O, H, W) bool, or None where there is no truth; they may overlap.
        name: what results are filed under.
        object_ids: of the masks; 1, 2, ... if None.

    Raises:
        ValueError: if shapes or types do not fit.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        masks: NDArray[np.bool_] | None = None,
        name: str = "array",
        object_ids: Sequence[int] | None = None,
    ) -> None:
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(f"frames must be (T, H, W, 3) uint8, not {frames.shape}")
        if masks is not None:
            if masks.shape[::2] != (len(frames), frames.shape[1]) or masks.dtype != np.bool_:
                raise ValueError(f"masks {masks.shape} do not fit frames {frames.shape}")
            if object_ids is not None and len(object_ids) != masks.shape[1]:
                raise ValueError(f"{len(object_ids)} ids for {masks.shape[1]} masks")
        self.name = name
        self.frame_names = tuple(f"{index:05d}" for index in range(len(frames)))
        self.size = (frames.shape[1], frames.shape[2])
        self._frames = frames
        self._masks = masks
        count = 0 if masks is None else masks.shape[1]
        self.object_ids = tuple(object_ids or range(1, count + 1))

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB each."""
        return iter(self._frames[start:])

    def annotated(self) -> tuple[int, ...]:
        """All frames, if there are masks."""
        return () if self._masks is None else tuple(range(len(self)))

    def annotation(self, index: int) -> Annotation | None:
        """The true masks of a frame, or None if there are none."""
        return None if self._masks is None else Annotation(self.object_ids, self._masks[index])

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """The masks of frame 0, of all objects that can be seen in it."""
        if self._masks is None:
            return {}
        rows = zip(self.object_ids, self._masks[0], strict=True)
        return {0: {i: mask for i, mask in rows if mask.any()}}
