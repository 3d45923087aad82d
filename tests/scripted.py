"""A model that follows a script: what it decodes depends on the frame and on what it remembers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm import Segmenter
from vosfm.decoders import Decoder
from vosfm.encoders import Encoder
from vosfm.mask_encoders import MaskEncoder
from vosfm.memory import Local, Memory, Reader
from vosfm.types import (
    Contents,
    Decoded,
    Encoding,
    Entry,
    Features,
    Geometry,
    Objects,
    Readout,
    Size,
    When,
)

SIZE = (4, 8)
LEFT, RIGHT = 0, 1

Script = Mapping[int, tuple[float, dict[int, tuple[float, float]]]]
"""Time -> logit of presence, and what is followed -> quality of the left and the right mask."""


def half(side: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[:, 4 * side : 4 * side + 4] = True
    return mask


def video(length: int) -> list[NDArray[np.uint8]]:
    """Frames that tell their time."""
    return [np.full((*SIZE, 3), time, np.uint8) for time in range(length)]


class Eye(Encoder):
    channels: Mapping[int, int] = {}
    width, stride = 3, 1

    def __init__(self) -> None:
        super().__init__((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def geometry(self, source: Size) -> Geometry:
        return Geometry(source, source, source)

    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        return images

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        return {}, image


class Whole(MaskEncoder):
    width, soft = 1, True

    def forward(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None = None
    ) -> Encoding:
        return Encoding(masks.float().unsqueeze(2))


class Last(Reader):
    """Reads the last mask."""

    reads, widths, embedding, encoding, rereads = ("local",), (1,), 3, 1, False
    modulates = True

    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        return Readout((views["local"].rows["mask"][:, :, -1],))

    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, Tensor],
    ) -> Entry:
        assert encoding is not None
        return Entry({"mask": encoding.maps})


class Scripted(Decoder):
    """Proposes the left and the right half of the frame, as a script has it."""

    embedding, readouts, stride, candidates, presence = 3, (1,), 1, 2, True
    skips: Mapping[int, int] = {}

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.rows: list[int] = []

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        (maps,) = readout.maps
        time = round(float(features.embedding[0, 0, 0, 0]) * 255)
        presence, table = self.script[time]
        follows = [LEFT if row[0, :, :4].mean() > 0.5 else RIGHT for row in maps[0]]
        self.rows.append(len(follows))
        sides = torch.stack([torch.from_numpy(half(side)) for side in (LEFT, RIGHT)])
        logits = (sides.float() * 20 - 10).expand(1, len(follows), -1, -1, -1)
        scores = torch.tensor([[table[side] for side in follows]])
        return Decoded(logits, scores=scores, presence=torch.full((1, len(follows)), presence))


def scripted(script: Script) -> Segmenter:
    memory = Memory({"local": Local()}, Last())
    return Segmenter(Eye(), Whole(), memory, Scripted(script)).eval()
