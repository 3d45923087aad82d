"""Benchmarks as they lie on disk, in miniature: LVOS, MOSE, SA-V, Long Videos and PUMaVOS.

Every object is a square, so that scores can be worked out on paper; see `HALF_J` and `HALF_F`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vosfm.data import write_labels

SIZE, SIDE = (64, 96), 16
"""Of a frame, and of every square. The tolerance of F is ceil(0.008 * |SIZE|) = 1 pixel."""

Corner = tuple[int, int]
Objects = Mapping[int, Corner]
"""Object id -> top left corner of its square."""

HALF_J = 1 / 3
"""J of a square that is 8 pixels off to the side: of 2 * 16 * 16 pixels, 8 * 16 are in both, so
J = 128 / (512 - 128)."""

HALF_F = 22 / 64
"""F of the same. The boundary of a square is a ring of 4 * 16 pixels. Of its upper edge of 17, the
last 9 pixels lie on the other's and one more beside it; so 10 of the upper and 10 of the lower edge
are matched. Of the vertical edges, the one inside the other square touches its upper and its lower
edge with one pixel more each. That is 22 of 64 in both directions."""

STEP_J = (SIDE - 1) / (SIDE + 1)
"""J of a square that is one pixel off; its F is 1, for the tolerance is one pixel."""


def half(corner: Corner) -> Corner:
    """A square 8 pixels to the right."""
    return corner[0], corner[1] + SIDE // 2


def step(corner: Corner) -> Corner:
    """A square one pixel lower."""
    return corner[0] + 1, corner[1]


def square(corner: Corner) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE] = True
    return mask


def write_frame(path: Path, objects: Objects) -> None:
    """An index PNG; a later object covers an earlier one."""
    labels = np.zeros(SIZE, np.uint8)
    for object_id, corner in objects.items():
        labels[square(corner)] = object_id
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels)


def write_object(path: Path, corner: Corner | None) -> None:
    """A PNG of one object, empty without a corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, np.zeros(SIZE, np.uint8) if corner is None else 255 * square(corner))


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", SIZE[::-1], "gray").save(folder / f"{name}.jpg")


LVOS_NAMES = [f"{number:08d}" for number in range(1, 32, 5)]

LVOS_META = {
    "seen1": {"1": ("1", "31", "7"), "2": ("11", "26", "4")},
    "new1": {"3": ("1", "26", "6")},
}
"""Video -> object -> start, end, frame_nums of its range."""

A, B = (4, 4), (40, 40)


def lvos_truth(video: str) -> list[Objects]:
    """The squares of each of LVOS_NAMES. Object 1 hides in frame 16, object 2 in frame 21."""
    if video == "new1":
        return [{3: A}] * 6
    return [{1: A}, {1: A}, {1: A, 2: B}, {2: B}, {1: A}, {1: A, 2: B}, {1: A}]


def lvos_results(video: str) -> list[Objects]:
    """Their results, see `tests/test_benchmarks.py` for the scores; wrong where nothing counts."""
    if video == "new1":
        return [{}] + [{3: step(A)}] * 4 + [{}]
    return [{2: A}, {1: A, 2: B}, {1: half(A)}, {2: B}, {1: A, 2: B}, {}, {2: B}]


def save_lvos(root: Path, split: str = "valid") -> Path:
    """A split of LVOS 2, with attributes and captions; returns the folder of results."""
    folder, results = root / split, root / "results"
    for video in LVOS_META:
        truth, found = lvos_truth(video), lvos_results(video)
        write_pictures(folder / "JPEGImages" / video, LVOS_NAMES[: len(truth)])
        for name, objects, wrong in zip(LVOS_NAMES, truth, found, strict=False):
            write_frame(folder / "Annotations" / video / f"{name}.png", objects)
            write_frame(results / video / f"{name}.png", wrong)
    ranges = {
        video: {
            "objects": {
                key: {"frame_range": dict(zip(("start", "end", "frame_nums"), told, strict=True))}
                for key, told in objects.items()
            }
        }
        for video, objects in LVOS_META.items()
    }
    (folder / f"{split}_meta.json").write_text(json.dumps({"videos": ranges}))
    told = {"seen1": {"attributes": ["OCC", "LR"]}, "new1": {"attributes": ["LR"]}}
    (folder / f"{split}_meta_attribute.json").write_text(
        json.dumps({"sets": [split], "attributes": ["OCC", "LR"], "videos": told})
    )
    captions = {"seen1": {"objects": {"1": {"caption": "a gray square"}}}}
    (folder / f"{split}_expression_meta.json").write_text(json.dumps({"videos": captions}))
    (root / "unseen_videos.txt").write_text("new1\nnone of these\n")
    return results


MOSE_NAMES = [f"{number:05d}" for number in range(6)]
MOSE_TRUTH: list[Objects] = [{1: A}, {1: A}, {1: A, 4: B}, {4: B}, {1: A, 4: B}, {1: A, 4: B}]
MOSE_RESULT: list[Objects] = [{}, {1: A}, {1: half(A)}, {4: half(B)}, {1: A}, {}]


def save_mose(root: Path, split: str = "train") -> Path:
    """A split of MOSE with one video; only its first mask unless it is train."""
    folder, results = root / split, root / "results"
    write_pictures(folder / "JPEGImages/0a1b", MOSE_NAMES)
    for name, truth, found in zip(MOSE_NAMES, MOSE_TRUTH, MOSE_RESULT, strict=True):
        if split == "train" or name == MOSE_NAMES[0]:
            write_frame(folder / "Annotations/0a1b" / f"{name}.png", truth)
        write_frame(results / "0a1b" / f"{name}.png", found)
    return results


SAV_NAMES = [f"{number:05d}" for number in range(0, 17, 4)]
OVER = (10, 10)
"""Of a square that overlaps the one at A."""

SAV_TRUTH: dict[str, dict[str, list[Corner | None]]] = {
    "sav_000001": {"000": [A, A, A, A, A], "001": [OVER, None, OVER, OVER, OVER]},
    "sav_000002": {"000": [A, None, None, None, A]},
}
SAV_RESULT: dict[str, dict[str, list[Corner | None]]] = {
    "sav_000001": {"000": [None, A, half(A), A, None], "001": [None, None, OVER, None, None]},
    "sav_000002": {"000": [A, None, A, A, None]},
}


def save_sav(root: Path, split: str = "val") -> Path:
    """A split of SA-V, with pictures at 24 and masks at 6 frames a second."""
    folder, results = root / f"sav_{split}", root / "results"
    for video, objects in SAV_TRUTH.items():
        write_pictures(
            folder / "JPEGImages_24fps" / video, [f"{number:05d}" for number in range(17)]
        )
        for key, corners in objects.items():
            wrong = SAV_RESULT[video][key]
            for name, truth, found in zip(SAV_NAMES, corners, wrong, strict=True):
                write_object(folder / "Annotations_6fps" / video / key / f"{name}.png", truth)
                write_object(results / video / key / f"{name}.png", found)
    (folder / f"sav_{split}.txt").write_text("\n".join(SAV_TRUTH) + "\n")
    return results


LONG_NAMES = [f"{number:05d}" for number in range(0, 9, 2)]
LONG_TRUTH: list[Objects] = [{1: A, 3: B}, {1: A, 3: B}, {1: A}, {1: A, 3: B}, {1: A, 3: B}]
LONG_RESULT: list[Objects] = [{}, {1: A, 3: B}, {1: half(A), 2: B}, {1: A}, {}]


def save_long_videos(root: Path) -> Path:
    """One of the long videos, with masks of every second frame and results of all."""
    results = root / "results"
    write_pictures(root / "JPEGImages/rat", [f"{number:05d}" for number in range(9)])
    for name, truth, found in zip(LONG_NAMES, LONG_TRUTH, LONG_RESULT, strict=True):
        write_frame(root / "Annotations/rat" / f"{name}.png", truth)
        write_frame(results / "rat" / f"{name}.png", found)
    for number in range(1, 9, 2):
        write_frame(results / "rat" / f"{number:05d}.png", {9: A})
    (root / "val.txt").write_text("rat\n")
    return results


def save_pumavos(root: Path) -> Path:
    """Two of the videos of PUMaVOS, with the squares of MOSE."""
    results = root / "results"
    for video in ("chair", "skz"):
        names = [f"frame_{number:06d}" for number in range(6)]
        write_pictures(root / "JPEGImages" / video, names)
        for name, truth, found in zip(names, MOSE_TRUTH, MOSE_RESULT, strict=True):
            write_frame(root / "Annotations" / video / f"{name}.png", truth)
            write_frame(results / video / f"{name}.png", found)
    return results


def save_davis(root: Path) -> Path:
    """A sequence of DAVIS with its list."""
    names = [f"{number:05d}" for number in range(6)]
    write_pictures(root / "JPEGImages/480p/dog", names)
    for name, truth, found in zip(names, MOSE_TRUTH, MOSE_RESULT, strict=True):
        write_frame(root / "Annotations/480p/dog" / f"{name}.png", truth)
        write_frame(root / "results/dog" / f"{name}.png", found)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("dog\n")
    return root / "results"
