"""SAM's mask decoder, led by a memory instead of prompts."""

from __future__ import annotations

from typing import Any, Literal

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from vosfm.decoders.decoder import Decoder
from vosfm.errors import InputError
from vosfm.layers import FeatureFusion, check_chunk
from vosfm.types import Decoded, Features, Objects, Readout

_SINGLE, _MULTIPLE = slice(0, 1), slice(1, 4)
"""Which of SAM's mask tokens speak: the one for prompts that are clear, or those for others."""


class SamDecoder(Decoder):
    """Decodes every object alone: its readout, fused with the image, takes the prompt's place.

    A transformer lets SAM's tokens and the fused map attend to each other; the map climbs to
    stride 4 in two stages, at each of which a skip connection of the image joins. What depends on
    the image alone is computed once and shared by all objects.

    Weights that never speak, such as those of the mask tokens left out, do not train.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout; the hidden state is one of them, and is
            read, not updated.
        skips: channels of the pyramid at strides 4 and 8; None for no skip connections.
        width: channels of the tokens, a multiple of 16; a quarter of it at stride 8 and an eighth
            at stride 4. SAM's is 256.
        candidates: 1 for SAM's token of the one mask, 3 for those of its three, with scores.
        chunk: how many objects are computed at once, to bound the memory; None for all.

    Raises:
        InputError: if an argument is out of range.

    Source: MMPM, the mask decoder of its figure ("SAM decoder with skip connection", two-stage
        resolution); Segment Anything, appendix A; SAM 2 for the place of the skips. The code that
        MMPM's authors released decodes otherwise.
    """

    def __init__(
        self,
        embedding: int = 256,
        readouts: tuple[int, ...] = (512, 64),
        skips: tuple[int, int] | None = None,
        width: int = 256,
        candidates: Literal[1, 3] = 1,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if candidates not in (1, 3):
            raise InputError(f"candidates is {candidates}: SAM has tokens for 1 mask or for 3")
        if width < 16 or width % 16:
            raise InputError(f"width is {width}: give a multiple of 16")
        check_chunk(chunk)
        self.embedding = embedding
        self.readouts = tuple(readouts)
        self.skips = {} if skips is None else dict(zip((4, 8), skips, strict=True))
        self.stride = 4
        self.candidates: int = candidates
        self.chunk = chunk
        self.fuse = FeatureFusion(embedding, sum(readouts), width, width)
        self.positions: Any = PositionEmbeddingRandom(width // 2)
        self.mask_decoder: Any = MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, num_heads=8, mlp_dim=2048),
        )
        self.skip4 = self.skip8 = None
        if skips is not None:
            self.skip4 = nn.Conv2d(skips[0], width // 8, 1)
            self.skip8 = nn.Conv2d(skips[1], width // 4, 1)
        self._tokens = _SINGLE if candidates == 1 else _MULTIPLE
        speaking = range(4)[self._tokens]
        for index, network in enumerate(self.mask_decoder.output_hypernetworks_mlps):
            network.requires_grad_(index in speaking)
        self.mask_decoder.iou_prediction_head.requires_grad_(candidates > 1)

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        embedding = features.embedding
        rows = max(maps.shape[1] for maps in readout.maps)
        seen = torch.cat([maps.expand(-1, rows, -1, -1, -1) for maps in readout.maps], 2)
        skip4, skip8 = self._skips(features)
        with torch.autocast(embedding.device.type, enabled=False):  # bfloat16 blurs positions
            positions = self.positions((embedding.shape[-2], embedding.shape[-1]))[None]
        image = self.fuse.share(embedding)
        parts = [
            self._decode(self.fuse.complete(image, part), positions, skip4, skip8)
            for part in seen.split(self.chunk or rows, 1)
        ]
        logits = torch.cat([part[0] for part in parts], 1)
        if self.candidates == 1:
            return Decoded(logits)
        return Decoded(logits, scores=torch.cat([part[1] for part in parts], 1).sigmoid())

    def _skips(self, features: Features) -> tuple[Tensor | None, Tensor | None]:
        """The skip connections at strides 4 and 8, (B, C, h, w)."""
        if self.skip4 is None or self.skip8 is None:
            return None, None
        pyramid = features.pyramid
        if not {4, 8} <= pyramid.keys() or features.geometry.align_corners:
            raise InputError(
                "the decoder's skip connections need levels at strides 4 and 8 whose sides are "
                f"multiples of each other; the encoder has strides {sorted(pyramid)}, "
                f"align_corners={features.geometry.align_corners}: give it `skips` or "
                "align_corners=False, or give the decoder skips=None"
            )
        return self.skip4(pyramid[4]), self.skip8(pyramid[8])

    def _decode(
        self, fused: Tensor, positions: Tensor, skip4: Tensor | None, skip8: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, O, K, h, w) and raw scores (B, O, K) of maps (B, O, C, h, w)."""
        sam = self.mask_decoder
        batch, count, _, height, width = fused.shape
        maps = fused.flatten(0, 1)
        tokens = torch.cat((sam.iou_token.weight, sam.mask_tokens.weight))
        tokens, maps = sam.transformer(maps, positions, tokens.expand(len(maps), -1, -1))
        maps = maps.transpose(1, 2).unflatten(2, (height, width))
        climb8, norm8, act8, climb4, act4 = sam.output_upscaling
        maps = act8(norm8(_joined(climb8(maps), skip8, count)))
        maps = act4(_joined(climb4(maps), skip4, count))
        weights = torch.stack(
            [
                network(token)
                for network, token in zip(
                    sam.output_hypernetworks_mlps[self._tokens],
                    tokens[:, 1:].unbind(1)[self._tokens],
                    strict=True,
                )
            ],
            1,
        )
        logits = (weights @ maps.flatten(2)).unflatten(2, maps.shape[-2:])
        scores = sam.iou_prediction_head(tokens[:, 0])[:, self._tokens]
        return logits.unflatten(0, (batch, count)), scores.unflatten(0, (batch, count))


def _joined(maps: Tensor, skip: Tensor | None, count: int) -> Tensor:
    """Maps (B*O, C, h, w) of objects with those (B, C, h, w) of the image that they share."""
    if skip is None:
        return maps
    return (maps.unflatten(0, (-1, count)) + skip[:, None]).flatten(0, 1)
