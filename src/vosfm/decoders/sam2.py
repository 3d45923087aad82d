"""SAM 2's mask decoder: three candidates, their quality, and whether the object is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from vosfm.decoders.decoder import Decoder
from vosfm.decoders.sam2_prompts import (
    PromptEncoder,
    as_points,
    best_of,
    nothing,
    overlay,
    prepare_masks,
    smooth,
)
from vosfm.errors import InputError
from vosfm.layers import MLP, FeatureFusion, TwoWayTransformer, check_chunk
from vosfm.layers.feature_fusion import ImageShare
from vosfm.proposals import SURE
from vosfm.types import (
    Box,
    Decoded,
    Features,
    Objects,
    Points,
    Prompt,
    Readout,
    Size,
)

ABSENT = -1024.0
"""Logit of every pixel of an object that is not in the frame."""

_CLAMP = 32.0  # largest logit that a mask is pointed out on


class _Frame(NamedTuple):
    """What depends on the image alone: maps (B, C, h, w), and positions (1, N, C) of its tokens."""

    positions: Tensor
    skip4: Tensor | None
    skip8: Tensor | None
    share: ImageShare | None


class _Answer(NamedTuple):
    """Logits (n, K, h, w), scores (n, K) and mask tokens (n, K, C) of n objects."""

    logits: Tensor
    scores: Tensor
    tokens: Tensor


_Ask = Callable[[Tensor, Tensor], _Answer]
"""From tokens (n, P, C) and maps (n, C, h, w) to candidates."""


class Sam2Decoder(Decoder):
    """Decodes every object alone, from the frame as its memory sees it; understands prompts.

    A transformer lets a token for the object's presence, one for the quality of its masks, one
    for each mask, and those of the prompt attend to the map, which then climbs to stride 4 in two
    stages; skip connections of the image, the same for all objects, join at each.

    A readout that is the frame as its memory sees it is decoded as it is; any other is fused with
    the embedding first.

    Weights that speak of points and of the single mask alone do not train: clips give masks.

    Args:
        embedding: channels of the encoder's embedding.
        readouts: channels of each map of the readout; a hidden state is read, not updated.
        skips: channels of the pyramid at strides 4 and 8; None for no skip connections.
        width: channels of the tokens, a multiple of 16; a quarter of it at stride 8 and an eighth
            at stride 4.
        multimask_points: up to how many points, a box counting two, are answered with three
            candidates; more are clear, and answered with one.
        stability_delta: a single mask is stable if it hardly changes when its logits are cut at
            this and its negative instead of 0.
        stability_threshold: outside of training, a single mask of which less than this share is
            stable gives way to the best of the three; None to keep it.
        chunk: how many objects are computed at once, to bound the memory; None for all.
        fused: whether the readout is fused with the embedding; None to do so unless readout and
            embedding are one map each, of `width` channels. Say True for a memory that has such a
            map without showing the frame in it.

    Raises:
        InputError: if an argument is out of range; in forward, if the encoder lacks the levels.

    Source: SAM 2, appendix D.1, "prompt encoder and mask decoder"; the layout of the released
        code.
    """

    stride = 4
    candidates = 3
    presence = True
    prompted = True

    def __init__(
        self,
        embedding: int = 256,
        readouts: tuple[int, ...] = (256,),
        skips: tuple[int, int] | None = (256, 256),
        width: int = 256,
        multimask_points: int = 1,
        stability_delta: float = 0.05,
        stability_threshold: float | None = 0.98,
        chunk: int | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__()
        if width < 16 or width % 16:
            raise InputError(f"width is {width}: give a multiple of 16")
        if stability_delta < 0:
            raise InputError(f"stability_delta is {stability_delta}: give at least 0")
        if stability_threshold is not None and not 0 <= stability_threshold <= 1:
            raise InputError(
                f"stability_threshold is {stability_threshold}: give a share from 0 to 1, or null"
            )
        check_chunk(chunk)
        self.embedding = embedding
        self.readouts = tuple(readouts)
        self.skips = {} if skips is None else dict(zip((4, 8), skips, strict=True))
        self.multimask_points = multimask_points
        self.stability_delta = stability_delta
        self.stability_threshold = stability_threshold
        self.chunk = chunk
        self.fuse = None
        alike = (embedding, *self.readouts) == (width, width)
        if fused is False and not alike:
            raise InputError(
                f"fused is false, but the embedding has {embedding} and the readout "
                f"{self.readouts} channels: give both one map of {width}, or leave fused out"
            )
        if fused or not alike:
            self.fuse = FeatureFusion(embedding, sum(readouts), width, width)
        self.prompts = PromptEncoder(width)
        self.mask_prompt = nn.Conv2d(1, 1, 4, 4)
        self.object_token = nn.Parameter(torch.randn(1, width))
        self.quality_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(4, width))
        self.transformer = TwoWayTransformer(width)
        self.climb8 = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.norm8 = LayerNorm2d(width // 4)
        self.climb4 = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.skip4 = self.skip8 = None
        if skips is not None:
            self.skip4 = nn.Conv2d(skips[0], width // 8, 1)
            self.skip8 = nn.Conv2d(skips[1], width // 4, 1)
        self.hyper = nn.ModuleList(MLP(width, width, width, width // 8) for _ in range(4))
        self.quality = MLP(width, 256, 256, 4)
        self.presence_head = MLP(width, width, width, 1)
        self.to_pointer = MLP(width, width, width, width)
        self.no_pointer = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.no_pointer, std=0.02)
        # Of an object that it takes to be absent, a mask would have nothing to learn from.
        last = self.presence_head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, 2.0)
        self.prompts.points.requires_grad_(False)
        self.hyper[0].requires_grad_(False)

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        maps = _side_by_side(readout, objects.count)
        points = self.prompts.without_points(*maps.shape[:2])
        return self.decode(
            maps,
            points,
            self.prompts.without_masks(*maps.shape[:2]),
            self.look(features),
            self.three,
        )

    def prompt(
        self,
        features: Features,
        readout: Readout,
        objects: Objects,
        prompt: Prompt,
        drawn: Mapping[int, Box | Points],
        tracked: Decoded | None,
        fresh: Tensor,
    ) -> Decoded:
        """Decode a frame that something is given with, see `Decoder.prompt`.

        A given mask is believed: the decoder only makes a pointer of it, from the embedding as no
        memory has seen it. Boxes and points are decoded from the readout, and on top of what was
        tracked of their object, if it was. Where there is one answer only, all three candidates
        are alike, and the last two have a score of -1.
        """
        decoded = tracked or nothing(features, objects.count, len(self.no_pointer))
        columns = prompt.given.any(0).nonzero()[:, 0].tolist()
        if columns:
            believed = self._believe(features, prompt.masks[:, columns])
            decoded = overlay(decoded, columns, believed, prompt.given[:, columns])
        if not drawn:
            return decoded
        alike: dict[int, list[int]] = defaultdict(list)
        for column, one in drawn.items():
            alike[len(as_points(one)[1])].append(column)
        maps, frame = _side_by_side(readout, objects.count), self.look(features)
        for count, columns in alike.items():
            points = self.prompts.embed_drawn([drawn[c] for c in columns], features.geometry)
            dense = self.prompts.without_masks(1, len(columns))
            if tracked is not None:
                seen = self.prompts.embed_masks(best_of(tracked, columns).clamp(-_CLAMP, _CLAMP))
                new = fresh[:, columns].to(seen.device)[..., None, None, None]
                dense = torch.where(new, dense, seen)
            ask = self.three if count <= self.multimask_points else self.one
            found = self.decode(maps[:, columns], points, dense, frame, ask)
            decoded = overlay(decoded, columns, found, torch.ones_like(fresh[:, columns]))
        return decoded

    def look(self, features: Features) -> _Frame:
        """Compute what all objects share."""
        if self.skip4 is None or self.skip8 is None:
            return self._look_at_embedding(features)
        pyramid = features.pyramid
        if not {4, 8} <= pyramid.keys() or features.geometry.align_corners:
            raise InputError(
                "the decoder's skip connections need levels at strides 4 and 8 whose sides are "
                f"multiples of each other; the encoder has strides {sorted(pyramid)}, "
                f"align_corners={features.geometry.align_corners}: give the decoder skips=None"
            )
        skips = {"skip4": self.skip4(pyramid[4]), "skip8": self.skip8(pyramid[8])}
        return self._look_at_embedding(features)._replace(**skips)

    def decode(
        self, maps: Tensor, points: Tensor, dense: Tensor, frame: _Frame, ask: _Ask
    ) -> Decoded:
        """Decode objects.

        Args:
            maps: (B, O, C, h, w), of the readout.
            points: (B, O, P, width), embedded.
            dense: (B, O, width, h, w) or (B, O, width, 1, 1), embedded masks.
            frame: what they share.
            ask: `three` or `one`.

        Returns:
            Logits (B, O, 3, 4h, 4w) of float32, scores (B, O, 3), presence (B, O) and candidates
            "pointer" (B, O, 3, width).
        """
        size, parts = (maps.shape[-2], maps.shape[-1]), []
        for some, their_points, their_dense in zip(*self._chunks(maps, points, dense), strict=True):
            shape = some.shape[:2]
            tokens, image = self._attend(some, their_points, their_dense, frame)
            presence = self.presence_head(tokens[:, 0])[:, 0].float()
            logits, scores, spoken = ask(tokens, self._climb(image, size, frame))
            logits = torch.where((presence > 0)[:, None, None, None], logits.float(), ABSENT)
            said = (logits, scores.float(), presence, self._pointers(spoken, presence))
            parts.append([leaf.unflatten(0, shape) for leaf in said])
        logits, scores, presence, pointers = (
            torch.cat(leaves, 1) for leaves in zip(*parts, strict=True)
        )
        return Decoded(logits, scores=scores, presence=presence, candidates={"pointer": pointers})

    def three(self, tokens: Tensor, maps: Tensor) -> _Answer:
        """The three candidates for what is not clear."""
        spoken, scores = tokens[:, 3:6], self.quality(tokens[:, 1]).sigmoid()[:, 1:]
        return _Answer(_masks(spoken, maps, self.hyper[1:]), scores, spoken)

    def one(self, tokens: Tensor, maps: Tensor) -> _Answer:
        """The candidate for what is clear, three times; the best of the three if it is unstable."""
        spoken = tokens[:, 2:3]
        logits = _masks(spoken, maps, self.hyper[:1])
        scores = self.quality(tokens[:, 1]).sigmoid()[:, :1]
        if self.stability_threshold is not None and not self.training:
            others = self.three(tokens, maps)
            best = others.scores.argmax(1, keepdim=True)
            inside, around = (
                (logits > cut).flatten(1).sum(1)
                for cut in (self.stability_delta, -self.stability_delta)
            )
            stable = (inside >= self.stability_threshold * around)[:, None]
            scores = torch.where(stable, scores, others.scores.take_along_dim(best, 1))
            other = others.logits.take_along_dim(best[..., None, None], 1)
            logits = torch.where(stable[..., None, None], logits, other)
        return _Answer(
            logits.expand(-1, 3, -1, -1),
            F.pad(scores, (0, 2), value=-1.0),
            spoken.expand(-1, 3, -1),
        )

    def _attend(
        self, maps: Tensor, points: Tensor, dense: Tensor, frame: _Frame
    ) -> tuple[Tensor, Tensor]:
        """Tokens (n, P, C) and maps (n, N, C) of objects, after they have seen each other."""
        if self.fuse is not None and frame.share is not None:
            maps = self.fuse.complete(frame.share, maps)
        image = (maps + dense).flatten(0, 1).flatten(2).transpose(1, 2)
        own = torch.cat((self.object_token, self.quality_token, self.mask_tokens))
        tokens = torch.cat((own.expand(len(image), -1, -1), points.flatten(0, 1)), 1)
        seen: tuple[Tensor, Tensor] = self.transformer(tokens, image, frame.positions)
        return seen

    def _climb(self, image: Tensor, size: Size, frame: _Frame) -> Tensor:
        """Maps (B*O, C, 4h, 4w) of tokens (B*O, N, C)."""
        maps = image.transpose(1, 2).unflatten(2, size)
        maps = F.gelu(self.norm8(_joined(self.climb8(maps), frame.skip8)))
        return F.gelu(_joined(self.climb4(maps), frame.skip4))

    def _look_at_embedding(self, features: Features) -> _Frame:
        """What all objects share of the embedding, for those that need no skip connections."""
        height, width = features.embedding.shape[-2:]
        positions = self.prompts.grid((height, width)).flatten(0, 1)[None]
        share = None if self.fuse is None else self.fuse.share(features.embedding)
        return _Frame(positions, None, None, share)

    def _pointers(self, tokens: Tensor, presence: Tensor) -> Tensor:
        """Pointers (..., K, C) of tokens (..., K, C), where objects are present (...)."""
        there = (presence > 0)[..., None, None]
        return torch.where(there, self.to_pointer(tokens), self.no_pointer)

    def _believe(self, features: Features, masks: Tensor) -> Decoded:
        """What masks (B, O, H, W) say of their objects."""
        masks, frame = prepare_masks(masks, features.geometry), self._look_at_embedding(features)
        batch, count = masks.shape[:2]
        height, width = features.embedding.shape[-2:]
        size = (4 * height, 4 * width)
        if self.fuse is None:
            maps = features.embedding[:, None].expand(-1, count, -1, -1, -1)
        else:  # what a memory says that knows nothing
            zeros = features.embedding.new_zeros(1, 1, sum(self.readouts), height, width)
            maps = zeros.expand(batch, count, -1, -1, -1)
        points = self.prompts.without_points(batch, count)
        parts = []
        for some, their_points, their_masks in zip(*self._chunks(maps, points, masks), strict=True):
            hints = self.mask_prompt(their_masks.flatten(0, 1)[:, None])[:, 0]
            hints = smooth(hints.unflatten(0, their_masks.shape[:2]), size)
            dense = self.prompts.embed_masks(hints)
            tokens, _ = self._attend(some, their_points, dense, frame)
            presence = self.presence_head(tokens[:, 0])[:, 0]
            pointers = self._pointers(tokens[:, 2:3], presence)
            parts.append(pointers.unflatten(0, their_masks.shape[:2]))
        presence = (masks.flatten(2).amax(2) * 2 - 1) * SURE
        there = (presence > 0)[..., None, None]
        pointers = torch.where(there, torch.cat(parts, 1), self.no_pointer)
        return Decoded(
            smooth((masks * 2 - 1) * SURE, size)[:, :, None].expand(-1, -1, 3, -1, -1),
            scores=presence.new_tensor((1.0, -1.0, -1.0)).expand(batch, count, -1),
            presence=presence,
            candidates={"pointer": pointers.expand(-1, -1, 3, -1)},
        )

    def _chunks(self, *leaves: Tensor) -> list[tuple[Tensor, ...]]:
        """Leaves (B, O, ...), a few objects at a time."""
        return [leaf.split(self.chunk or max(1, leaf.shape[1]), 1) for leaf in leaves]


def _side_by_side(readout: Readout, count: int) -> Tensor:
    """The maps of a readout as one, (B, O, C, h, w)."""
    maps = [each.expand(-1, count, -1, -1, -1) for each in readout.maps]
    return maps[0] if len(maps) == 1 else torch.cat(maps, 2)


def _joined(maps: Tensor, skip: Tensor | None) -> Tensor:
    """Maps (B*O, C, h, w) of objects with those (B, C, h, w) of the image that they share."""
    if skip is None:
        return maps
    return (maps.unflatten(0, (len(skip), -1)) + skip[:, None]).flatten(0, 1)


def _masks(tokens: Tensor, maps: Tensor, networks: nn.ModuleList) -> Tensor:
    """Logits (n, K, h, w) that K tokens (n, K, C) give of maps (n, c, h, w)."""
    weights = [network(t) for network, t in zip(networks, tokens.unbind(1), strict=True)]
    return (torch.stack(weights, 1) @ maps.flatten(2)).unflatten(2, maps.shape[-2:])
