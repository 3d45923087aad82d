"""Where a readout for all objects of a group meets a decoder that sees one object."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vosfm.decoders.decoder import Decoder
from vosfm.types import Decoded, Features, Objects, Readout


class PerIdentity(Decoder):
    """Spreads the readout of an identity group over its objects, for a decoder of single objects.

    Each identity has a learned weight for every channel of the readout: what of it speaks of an
    object with this identity.

    Args:
        decoder: sees every object by itself, without moving a hidden state on.
        identities: n, objects per group, as the mask encoder has them.
    """

    identities: int

    def __init__(self, decoder: Decoder, identities: int = 10) -> None:
        super().__init__()
        self.decoder = decoder
        self.identities = identities
        self.stride = decoder.stride
        self.embedding = decoder.embedding
        self.readouts = decoder.readouts
        self.skips = decoder.skips
        # A hidden state would be of an object, where the memory keeps one of a group.
        self.updates = decoder.updates
        self.candidates = decoder.candidates
        self.presence = decoder.presence
        self.weights = nn.Parameter(torch.randn(identities, sum(decoder.readouts)))

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        device = self.weights.device
        row = objects.row.to(device)
        weights = self.weights[(objects.slot % self.identities).to(device)]  # (B, O, C)
        parts = weights.split(self.readouts, 2)
        maps = tuple(
            _of(rows, row) * part[..., None, None]
            for rows, part in zip(readout.maps, parts, strict=True)
        )
        slot = torch.arange(objects.count).expand_as(objects.slot)
        alone = replace(objects, slot=slot, identities=None)
        return self.decoder(features, replace(readout, maps=maps), alone)


def _of(maps: Tensor, row: Tensor) -> Tensor:
    """The maps (B, O, C, h, w) of each object's row, of maps (B, R, C, h, w) or (B, 1, C, h, w)."""
    if maps.shape[1] == 1:
        return maps.expand(-1, row.shape[1], -1, -1, -1)
    return maps.take_along_dim(row[..., None, None, None], 1)
