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
    # Fresh weights propagate next to nothing; these let the past decide what is seen.
    block = segmenter.memory.reader.blocks[0]
    for weight, std in (
        (block.to_key.weight, 3.0),
        (block.to_value.weight, 0.5),
        (block.long_term.project.weight, 1.0),
        (block.short_term.project.weight, 1.0),
        (segmenter.decoder.exit.weight, 0.5),
    ):
        torch.nn.init.normal_(weight, std=std)
    for skip in (segmenter.decoder.skip4, segmenter.decoder.skip8, segmenter.decoder.skip16):
        skip.weight.data.mul_(0.02)
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


def layered(seed: int = 0) -> vosfm.Segmenter:
    """A small AOST of three depths and 4 identities, with lively outputs."""
    torch.manual_seed(seed)
    segmenter = vosfm.build("aost_nano", mask_encoder={"gain": 30.0}).eval()
    for block in segmenter.memory.reader.blocks:
        for linear in (block.to_key_value, block.long_term.project, block.short_term.project):
            torch.nn.init.normal_(linear.weight, std=0.5)
    torch.nn.init.normal_(segmenter.decoder.exit.weight, std=0.5)
    for skip in (segmenter.decoder.skip4, segmenter.decoder.skip8, segmenter.decoder.skip16):
        skip.weight.data.mul_(0.02)
    return segmenter
