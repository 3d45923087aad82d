"""Small videos and models as files, as a user of the command line has them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from models import tiny

from vosfm.data import ProceduralVideo, Video, write_labels


def save_tiny(path: Path, seed: int = 0) -> Path:
    """Its weights as a file."""
    torch.save(tiny(seed).state_dict(), path)
    return path


def scene(length: int = 8, seed: int = 0) -> Video:
    """A rendered video of two objects."""
    return ProceduralVideo(seed, length, (64, 64), objects=2)


def save_scene(folder: Path, video: Video, ids: tuple[int, int] = (1, 2)) -> tuple[Path, Path]:
    """Frames, and the first mask with these ids; of 8 frames, the fifth brings the second object.

    Returns:
        The folder of frames and the first mask.
    """
    frames, masks = folder / "frames", folder / "masks"
    frames.mkdir(parents=True)
    masks.mkdir()
    for name, frame in zip(video.frame_names, video.frames(), strict=True):
        cv2.imwrite(str(frames / f"{name}.jpg"), frame[..., ::-1])
    labels = np.zeros(video.size, np.uint8)
    for object_id, mask in video.prompts()[0].items():
        labels[mask] = ids[object_id - 1]
    write_labels(folder / "first.png", labels)
    write_labels(masks / "00000.png", np.where(labels == ids[0], labels, 0))
    if len(video) > 4:
        later = np.zeros(video.size, np.uint8)
        later[20:40, 20:40] = ids[1]
        write_labels(masks / "00004.png", later)
    return frames, folder / "first.png"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder; of videos the name alone, their encoder is not exact."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        str(file.relative_to(folder)): b"" if file.suffix == ".mp4" else file.read_bytes()
        for file in files
    }
