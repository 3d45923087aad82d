"""YouTube-VOS as it lies on disk, in miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vosfm.data import write_labels

SIZE, SIDE, STEP = (64, 96), 16, 5
"""Of a frame, and of the square that every object is; a mask for every fifth frame."""

NAMES = tuple(f"{5 * place:05d}" for place in range(5))
"""Of the frames at 6 frames per second."""

CATEGORIES = {"0a": {1: "dog", 3: "anteater"}, "1b": {2: "cat", 5: "anteater"}}
"""Dogs and cats are in the training split, anteaters in no split that is released."""

PLACES = {
    "0a": {
        1: {0: (4, 4), 1: (4, 8), 2: (4, 12)},
        3: {2: (40, 60), 3: (40, 56), 4: (40, 52)},
    },
    "1b": {
        2: {1: (4, 40), 2: (8, 40), 3: (12, 40), 4: (16, 40)},
        5: {1: (44, 4), 2: (44, 8), 3: (44, 12), 4: (44, 16)},
    },
}
"""Video -> object -> number of the frame -> top left corner of its square.

Object 1 disappears, object 3 starts later, and the first frame of the second video is empty.
"""


def labels(video: str, place: int) -> NDArray[np.uint8]:
    """The true mask of the frame NAMES[place]."""
    mask = np.zeros(SIZE, np.uint8)
    for object_id, places in PLACES[video].items():
        if place in places:
            top, left = places[place]
            mask[top : top + SIDE, left : left + SIDE] = object_id
    return mask


def save_split(root: Path, split: str, all_frames: bool = False) -> Path:
    """Write a split: with masks of all frames for "train", else of the frames that bring objects.

    A mask that brings an object also shows those that are there already. Frames at 30 frames per
    second are brighter the later they are.
    """
    dense = split == "train"
    frames, masks = root / split / "JPEGImages", root / split / "Annotations"
    meta: dict[str, Any] = {}
    for video, objects in PLACES.items():
        (frames / video).mkdir(parents=True)
        (masks / video).mkdir(parents=True)
        starts = {min(places) for places in objects.values()}
        for place, name in enumerate(NAMES):
            save_frame(frames / video / f"{name}.jpg", STEP * place)
            if dense or place in starts:
                write_labels(masks / video / f"{name}.png", labels(video, place))
        if all_frames:
            folder = root / f"{split}_all_frames" / "JPEGImages" / video
            folder.mkdir(parents=True)
            for index in range(STEP * len(NAMES)):
                save_frame(folder / f"{index:05d}.jpg", index)
        meta[video] = {
            "objects": {
                str(object_id): {
                    "category": CATEGORIES[video][object_id],
                    "frames": [
                        NAMES[place]
                        for place in (places if dense else range(min(places), len(NAMES)))
                    ],
                }
                for object_id, places in objects.items()
            }
        }
    (root / split / "meta.json").write_text(json.dumps({"videos": meta}))
    return root / split


def save_frame(path: Path, index: int) -> None:
    """A picture of noise whose brightness tells its index."""
    noise = np.random.default_rng(index).integers(0, 40, (*SIZE, 3))
    Image.fromarray((noise + 8 * index).astype(np.uint8)).save(path)
