"""Scenes of squares that differ in colour, and a SAM that sees nothing but colour.

Green and blue tell what a pixel belongs to; red is a texture that moves with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.collect.prompting import Proposer
from vosfm.peers.sam import Answer, Guidance, Sam
from vosfm.prompters import Prompter
from vosfm.types import Features, Geometry

SIZE = (64, 96)
COLOURS = {1: (40, 200), 2: (200, 40), 3: (200, 200), 4: (120, 120)}
"""Object id -> its green and blue; the background has none."""

Places = Mapping[int, tuple[int, int, int]]
"""Object id -> top, left and side of its square."""


def masks(places: Places) -> dict[int, NDArray[np.bool_]]:
    """The squares, the later ones in front; empty where an object is out of sight."""
    shown: dict[int, NDArray[np.bool_]] = {}
    for object_id, (top, left, side) in places.items():
        mask = np.zeros(SIZE, bool)
        mask[top : top + side, left : left + side] = True
        shown = {i: other & ~mask for i, other in shown.items()}
        shown[object_id] = mask
    return shown


def frame(places: Places) -> NDArray[np.uint8]:
    """A picture of the squares."""
    textures = np.random.default_rng(0)
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[..., 0] = _texture(textures, SIZE)
    for object_id in sorted(COLOURS):
        patch = np.zeros((*SIZE, 3), np.uint8)
        patch[..., 0] = _texture(textures, SIZE)
        patch[..., 1:] = COLOURS[object_id]
        if object_id in places:
            top, left, side = places[object_id]
            here = picture[top : top + side, left : left + side]
            here[:] = patch[: here.shape[0], : here.shape[1]]
    return picture


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 256, (size[0] // 3 + 1, size[1] // 3 + 1), dtype=np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


class Regions(Proposer):
    """Proposes every connected region of a colour, and in some frames something that is not there.

    Args:
        wrong: call -> masks that are proposed besides.
    """

    def __init__(self, wrong: Mapping[int, Sequence[NDArray[np.bool_]]] | None = None) -> None:
        self.wrong = wrong or {}
        self.calls = 0

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        found = [np.all(image[..., 1:] == colour, axis=2) for colour in COLOURS.values()]
        found += self.wrong.get(self.calls, [])
        self.calls += 1
        return np.stack([mask for mask in found if mask.any()] or [np.zeros(SIZE, bool)])


@dataclass(frozen=True)
class Asked:
    """What a SAM was asked."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    box: tuple[float, float, float, float] | None
    mask: Tensor | None
    several: bool
    guidance: Guidance | None


@dataclass
class Filling(Sam):
    """Fills the region of equal colour around the first point inside, unless a point outside is in.

    Its features are colours, pixel by pixel. Of three masks, the second is the region, the first a
    part of it and the third the whole frame.
    """

    prompter: Prompter | None = None
    quality: float = 0.9
    asked: list[Asked] = field(default_factory=list)

    def look(self, frame: NDArray[np.uint8]) -> Features:
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        colours = torch.cat((pixels[:, 1:] - 0.3, torch.full_like(pixels[:, :1], 0.05)), 1)
        size = (frame.shape[0], frame.shape[1])
        return Features(pixels, {}, colours, Geometry(size, size, size))

    def ask(
        self,
        features: Features,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        box: tuple[float, float, float, float] | None = None,
        mask: Tensor | None = None,
        several: bool = False,
        guidance: Guidance | None = None,
    ) -> Answer:
        assert points is not None
        assert labels is not None
        self.asked.append(Asked(points, labels, box, mask, several, guidance))
        colours = features.embedding[0].numpy()
        x, y = np.rint(points[labels == 1][0]).astype(int)
        near = np.abs(colours - colours[:, y, x][:, None, None]).max(0) < 0.02
        _, parts = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
        region = parts == parts[y, x]
        for x, y in np.rint(points[labels == 0]).astype(int):
            if region[y, x]:
                region[:] = False
        if not np.any(colours[:2, region] > 0):
            region[:] = False  # the background is nothing
        part = region & (np.cumsum(region, 1) <= 2)
        shown = [part, region, np.ones_like(region)] if several else [region]
        logits = torch.from_numpy(np.stack(shown)).float() * 20 - 10
        quality = [0.5, self.quality, 0.2] if several else [self.quality]
        return Answer(logits, torch.tensor(quality))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
