"""Small datasets and videos of rendered scenes, to collect from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from vosfm.data import Image, ProceduralVideo, VideoWriter, write_labels

SIZE = (64, 96)


def scene(seed: int, length: int = 8, size: tuple[int, int] = SIZE) -> ProceduralVideo:
    """Two objects before a background."""
    return ProceduralVideo(seed, length, size, objects=2)


def save_davis_scenes(root: Path, lengths: Iterable[int] = (8, 7)) -> Path:
    """Scenes in the layout of DAVIS 2017, val, called one, two and so on; their pictures are JPEGs.

    Returns:
        The root.
    """
    names = ("one", "two", "three", "four")
    chosen = []
    for number, (name, length) in enumerate(zip(names, lengths, strict=False)):
        video = scene(number, length)
        save_pictures(root / "JPEGImages/480p" / name, video.frames())
        (root / "Annotations/480p" / name).mkdir(parents=True)
        for index in range(length):
            note = video.annotation(index)
            assert note is not None
            labels = np.zeros(video.size, np.uint8)
            for object_id, mask in zip(note.object_ids, note.masks, strict=True):
                labels[mask] = object_id
            write_labels(root / "Annotations/480p" / name / f"{index:05d}.png", labels)
        chosen.append(name)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("\n".join(chosen) + "\n")
    return root


def save_pictures(folder: Path, frames: Iterable[Image]) -> Path:
    """Frames as 00000.jpg and so on; returns the folder."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), frame[..., ::-1])
    return folder


def save_video(path: Path, frames: Iterable[Image], rate: float = 25.0) -> Path:
    """Frames as an mp4; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path
