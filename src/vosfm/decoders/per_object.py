"""Decoders that see one object at a time, many of them at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.decoders.decoder import Decoder
from vosfm.errors import InputError
from vosfm.layers import FeatureFusion, HiddenUpdate, check_chunk
from vosfm.types import Decoded, Features, Objects, Readout


class PerObject(Decoder):
    """Fuses the embedding with an object's readout, decodes it, and moves its hidden state on.

    What depends on the image alone is computed once and shared by all objects.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout, the hidden state last.
        width: channels of the fused map; half of it where the hidden state looks.
        scales: channels of the maps that `decode` gives, coarsest first.
        hidden: channels of the hidden state; None where there is none, and all maps of the
            readout are of the memory.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if the hidden state is not the last map of the readout, or chunk is not
            positive; in forward, if the readout has other maps.
    """

    def __init__(
        self,
        embedding: int,
        readouts: tuple[int, ...],
        width: int,
        scales: Sequence[int],
        hidden: int | None,
        chunk: int | None,
    ) -> None:
        super().__init__()
        if hidden is not None and readouts[-1] != hidden:
            raise InputError(
                f"the last of readouts {tuple(readouts)} must be the hidden state, of {hidden} "
                "channels: add it, or set hidden to null"
            )
        check_chunk(chunk)
        self.embedding = embedding
        self.readouts = tuple(readouts)
        self.skips: dict[int, int] = {}
        self.updates = hidden is not None
        self.chunk = chunk
        self.fuse = FeatureFusion(embedding, sum(readouts), width, width)
        self.predict = nn.Conv2d(scales[-1], 1, 3, padding=1)
        self.update = None
        if hidden is not None:
            self.update = HiddenUpdate((*scales[:-1], scales[-1] + 1), width // 2, hidden)

    @abstractmethod
    def share(self, features: Features) -> tuple[Tensor, ...]:
        """What the image adds to `decode`, the same for every object; (B, C, h, w) each."""

    @abstractmethod
    def decode(
        self, fused: Tensor, shared: tuple[Tensor, ...], align_corners: bool
    ) -> tuple[Tensor, ...]:
        """Decode fused maps (B, R, width, h, w): the maps of each scale, coarsest first.

        The finest of them predicts the logits.
        """

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        channels = tuple(maps.shape[2] for maps in readout.maps)
        if channels != self.readouts:
            raise InputError(
                f"the decoder takes readouts {self.readouts}, the memory gives {channels}: "
                "they must agree"
            )
        count = objects.count
        maps = [m.expand(-1, count, -1, -1, -1) for m in readout.maps]
        if not count:
            return self._nothing(features, maps[-1])
        embedded, shared = self.fuse.share(features.embedding), self.share(features)
        logits, states = [], []
        for part in zip(*(m.split(self.chunk or count, 1) for m in maps), strict=True):
            fused = self.fuse.complete(embedded, torch.cat(part, 2))
            scales = self.decode(fused, shared, features.geometry.align_corners)
            finest = scales[-1]
            predicted = self.predict(F.relu(finest.flatten(0, 1)))
            logits.append(predicted.unflatten(0, finest.shape[:2]))
            if self.update is not None:
                seen = (*((coarser,) for coarser in scales[:-1]), (finest, logits[-1]))
                states.append(self.update(seen, part[-1]))
        return Decoded(_join(logits), carry={"hidden": _join(states)} if states else {})

    def _nothing(self, features: Features, hidden: Tensor) -> Decoded:
        level = features.pyramid.get(self.stride, features.embedding)
        logits = level.new_zeros(level.shape[0], 0, 1, *level.shape[-2:])
        return Decoded(logits, carry={"hidden": hidden} if self.update is not None else {})


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
