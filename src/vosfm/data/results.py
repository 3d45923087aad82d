"""The masks of one video on disk, as PNGs named like its frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vosfm.data.masks import read_labels, write_labels
from vosfm.data.video import VOID, Annotation, Mask
from vosfm.errors import InputError


class FrameMasks(Protocol):
    """The masks of one frame, such as a `vosfm.Result`.

    Attributes:
        frame: index of the frame in the video.
        object_ids: of the masks.
        masks: (O, H, W) bool.
    """

    @property
    def frame(self) -> int: ...
    @property
    def object_ids(self) -> tuple[int, ...]: ...
    @property
    def masks(self) -> Mask: ...


class ResultFolder:
    """A folder with the masks of a video; every file in it is whole at any time.

    Masks that exclude each other lie in one palette PNG per frame, NAME.png, each pixel the id of
    its object. Masks that may overlap lie in one folder per object, ID/NAME.png.

    Args:
        path: the folder; made with the first frame.
        frame_names: stem of each frame.
        overlap: whether masks may overlap.
    """

    def __init__(
        self, path: str | os.PathLike[str], frame_names: Sequence[str], overlap: bool = False
    ) -> None:
        self.path = Path(path)
        self.frame_names = tuple(frame_names)
        self.overlap = overlap

    def write(self, result: FrameMasks) -> None:
        """Write the masks of a frame.

        Args:
            result: of any frame; an object without pixels is background in an index mask, and an
                empty PNG in its own folder.

        Raises:
            InputError: if a PNG cannot hold an id, or masks overlap that may not.
        """
        for object_id in result.object_ids:
            if not 0 < object_id < VOID:
                raise InputError(
                    f"object {object_id}: index PNGs hold the ids 1 to {VOID - 1}; renumber it"
                )
        name = f"{self.frame_names[result.frame]}.png"
        if self.overlap:
            for object_id, mask in zip(result.object_ids, result.masks, strict=True):
                folder = self.path / str(object_id)
                folder.mkdir(parents=True, exist_ok=True)
                write_labels(folder / name, mask * np.uint8(object_id))
            return
        if len(result.masks) > 1 and int(result.masks.sum(0, dtype=np.uint16).max()) > 1:
            raise InputError(
                f"{self.path / name}: one index mask cannot hold objects that overlap; write one "
                "folder per object (--overlap on the command line)"
            )
        labels = np.zeros(result.masks.shape[1:], np.uint8)
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            labels[mask] = object_id
        self.path.mkdir(parents=True, exist_ok=True)
        write_labels(self.path / name, labels)

    def read(self, frame: int) -> Annotation:
        """Read the masks of a frame back.

        Args:
            frame: its index in the video.

        Returns:
            The masks; of an index mask only those that have a pixel.

        Raises:
            InputError: if they were not written, or are damaged.
        """
        name = f"{self.frame_names[frame]}.png"
        if not self.overlap:
            return Annotation.from_labels(read_labels(self.path / name))
        files = {
            int(file.parent.name): file
            for file in self.path.glob(f"*/{name}")
            if file.parent.name.isdecimal()
        }
        if not files:
            raise InputError(f"{self.path}: no masks of frame {name}; track it first")
        ids = tuple(sorted(files))
        return Annotation(ids, np.stack([read_labels(files[i]) > 0 for i in ids]))
