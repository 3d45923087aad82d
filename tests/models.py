"""Models small enough for tests, and clips for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import vosfm

CONFIG = Path(__file__).parent / "configs" / "tiny.yaml"
"""A tiny AOT of 4 identities, with data and a trainer."""


def tiny(seed: int = 0) -> vosfm.Segmenter:
    """The model of CONFIG, the same weights for the same seed, with lively outputs."""
    torch.manual_seed(seed)
    segmenter = vosfm.build(str(CONFIG), mask_encoder={"gain": 30.0}).eval()
    # Fresh weights propagate nothing; louder ones make every input matter.
    torch.nn.init.normal_(segmenter.memory.reader.blocks[0].to_value.weight, std=0.5)
    torch.nn.init.normal_(segmenter.decoder.exit.weight, std=0.5)
    return segmenter


def video(length: int, size: tuple[int, int] = (64, 96), seed: int = 0) -> list[NDArray[np.uint8]]:
    """Frames of drifting noise."""
    chance = np.random.default_rng(seed)
    canvas = chance.integers(0, 256, (size[0], size[1] + 4 * length, 3), dtype=np.uint8)
    return [canvas[:, 4 * t : 4 * t + size[1]].copy() for t in range(length)]


def square(
    top: int, left: int, side: int = 20, size: tuple[int, int] = (64, 96)
) -> NDArray[np.bool_]:
    """A square mask."""
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask
