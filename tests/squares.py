"""Objects that are squares, so that their scores can be told by hand.

With a frame of 48 x 64 the tolerance of F is ceil(0.008 * 80) = 1 pixel. So a square of 16 pixels
that is one pixel off has J = 16 * 15 / (16 * 16 + 16) = 15 / 17 and F = 1; one that is somewhere
else, or of which nothing was found, has J = F = 0; and none where there is none has J = F = 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vosfm.data import write_labels

SIZE, SIDE = (48, 64), 16
OFF = 15 / 17
"""J of a square that is one pixel off."""

Corner = tuple[int, int]
"""Top and left of a square."""


def square(corner: Corner | None) -> NDArray[np.bool_]:
    """The mask of a square, or an empty one."""
    mask = np.zeros(SIZE, np.bool_)
    if corner is not None:
        top, left = corner
        mask[top : top + SIDE, left : left + SIDE] = True
    return mask


def save_frame(path: Path, index: int) -> None:
    """A picture of noise whose brightness tells its index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(index).integers(0, 40, (*SIZE, 3))
    Image.fromarray((noise + 20 * index).astype(np.uint8)).save(path)


def save_folders(path: Path, objects: Mapping[int, Mapping[str, Corner | None]]) -> None:
    """Results as ID/NAME.png: object -> frame -> its square."""
    for object_id, frames in objects.items():
        (path / str(object_id)).mkdir(parents=True)
        for name, corner in frames.items():
            mask = square(corner).astype(np.uint8)
            write_labels(path / str(object_id) / f"{name}.png", mask * np.uint8(object_id))


def save_index(path: Path, frames: Mapping[str, Mapping[int, Corner | None]]) -> None:
    """Results as NAME.png: frame -> object -> its square."""
    path.mkdir(parents=True)
    for name, objects in frames.items():
        labels = np.zeros(SIZE, np.uint8)
        for object_id, corner in objects.items():
            labels[square(corner)] = object_id
        write_labels(path / f"{name}.png", labels)
