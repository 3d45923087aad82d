"""SAM as methods use it that prompt it again and again, and look into its decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.encoders import Encoder
from vosfm.errors import InputError
from vosfm.ops.resizing import restore, to_prepared
from vosfm.peers.peer import Image, Mask, to_tensor
from vosfm.prompters import Prompter, SamPrompter
from vosfm.types import Features

_SINGLE, _SEVERAL = slice(0, 1), slice(1, 4)
"""Which of SAM's mask tokens answer: the one for prompts that are clear, or those for others."""


@dataclass(frozen=True)
class Guidance:
    """What the decoder is told of a target beside the prompt.

    Attributes:
        attention: (N,) in [0, 1], how much the tokens shall look at each place of the image; None
            to let them look where they will.
        semantic: (C,), a feature of the target that is added to all tokens; None for none.
    """

    attention: Tensor | None = None
    semantic: Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """What SAM makes of a prompt.

    Attributes:
        logits: (K, h, w) at a quarter of the prepared size, of the whole prepared image.
        quality: (K,), the IoU that it expects of each, about [0, 1].
    """

    logits: Tensor
    quality: Tensor

    @property
    def best(self) -> int:
        """The mask that it expects most of."""
        return int(self.quality.argmax())


class Sam:
    """A SAM that is asked of one frame after the other; it keeps none of them.

    Args:
        prompter: with an encoder of its own; it is put into evaluation mode, and works where its
            weights are.

    Raises:
        InputError: if it is no SAM, or has no encoder.
    """

    def __init__(self, prompter: Prompter) -> None:
        if not isinstance(prompter, SamPrompter) or prompter.encoder is None:
            raise InputError(
                "this method needs a SAM with an encoder of its own: give a SamPrompter as "
                "configs/prompter have it, such as sam_vit_b"
            )
        self.prompter = prompter.eval()
        self._encoder: Encoder = prompter.encoder
        self._prompts: Any = prompter.prompt_encoder
        self._decoder: Any = prompter.mask_decoder

    @torch.no_grad()
    def look(self, frame: Image) -> Features:
        """Encode a frame (H, W, 3)."""
        features: Features = self._encoder(to_tensor(frame).to(self._encoder.mean.device))
        return features

    @torch.no_grad()
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
        """Ask about a frame.

        Args:
            features: of the frame.
            points: (P, 2), x and y in pixels of it.
            labels: (P,), 1 inside and 0 outside.
            box: left, top, right and bottom in pixels of the frame, the last ones inside it.
            mask: (h, w) logits of an answer before.
            several: for the three masks of an unclear prompt instead of the one of a clear.
            guidance: beside the prompt.
        """
        embedding = features.embedding.to(self._prompts.no_mask_embed.weight.dtype)
        given = corners = None
        if points is not None and labels is not None and len(points):
            known = torch.from_numpy(labels).to(embedding.device)[None]
            given = (self._placed(points, features), known)
        if box is not None:
            corners = self._placed(np.array(box, np.float32).reshape(2, 2), features).flatten(1)
        shape = None if mask is None else mask.to(embedding)[None, None]
        sparse, dense = self._prompts(points=given, boxes=corners, masks=shape)
        guidance = guidance or Guidance()
        logits, quality = self._decode(embedding + dense, sparse, guidance)
        chosen = _SEVERAL if several else _SINGLE
        return Answer(logits[0, chosen], quality[0, chosen])

    def restore(self, logits: Tensor, features: Features) -> Tensor:
        """Bring logits (K, h, w) to the size of the frame, (K, H, W)."""
        return restore(logits[None].float(), features.geometry)[0]

    def _placed(self, points: NDArray[np.float32], features: Features) -> Tensor:
        """(1, P, 2) in the prepared image."""
        placed = to_prepared(torch.from_numpy(points).double(), features.geometry)
        return placed.to(features.embedding)[None]

    def _decode(self, image: Tensor, sparse: Tensor, guidance: Guidance) -> tuple[Tensor, Tensor]:
        """Logits (1, 4, h, w) and quality (1, 4) of an image (1, C, h, w) and tokens (1, P, C).

        Source: Segment Anything, appendix A; `attend` for the guidance.
        """
        sam = self._decoder
        own = torch.cat((sam.iou_token.weight, sam.mask_tokens.weight))[None]
        positions = self._prompts.get_dense_pe()
        tokens, maps = attend(
            sam.transformer, image, positions, torch.cat((own, sparse), 1), guidance
        )
        maps = maps.transpose(1, 2).unflatten(2, image.shape[-2:])
        maps = sam.output_upscaling(maps)
        spoken = tokens[:, 1 : own.shape[1]].unbind(1)
        weights = torch.stack(
            [
                network(token)
                for network, token in zip(sam.output_hypernetworks_mlps, spoken, strict=True)
            ],
            1,
        )
        logits = (weights @ maps.flatten(2)).unflatten(2, maps.shape[-2:])
        return logits, sam.iou_prediction_head(tokens[:, 0])


def attend(
    transformer: Any, image: Tensor, positions: Tensor, tokens: Tensor, guidance: Guidance
) -> tuple[Tensor, Tensor]:
    """Let tokens and an image see each other in SAM's two-way transformer, led to a target.

    Without guidance this is what the transformer does by itself. The target's feature is added to
    the tokens and to their positions, and again before every later layer. What the tokens attend
    to in the image, in each layer but not in the last attention, is the softmax of the attention
    that they would have had and the guidance together.

    Args:
        transformer: `segment_anything.modeling.TwoWayTransformer`.
        image: (1, C, h, w).
        positions: (1, C, h, w).
        tokens: (1, P, C).
        guidance: of the target.

    Returns:
        Tokens (1, P, C) and image (1, h*w, C).

    Source: PerSAM, section 3.2, target-guided attention (Eq. 5-6) and target-semantic prompting
        (Eq. 7). Where the paper adds the feature to the tokens once, its released code adds it in
        place, and so as it is told here.
    """
    keys, places = (maps.flatten(2).transpose(1, 2) for maps in (image, positions))
    added = torch.zeros_like(tokens[:1, :1]) if guidance.semantic is None else guidance.semantic
    tokens = tokens + added
    queries = tokens
    for number, layer in enumerate(transformer.layers):
        if number:
            queries = queries + added
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(q=queries, k=queries, v=queries)
        else:
            placed = queries + tokens
            queries = queries + layer.self_attn(q=placed, k=placed, v=queries)
        queries = layer.norm1(queries)
        seen = _guided(
            layer.cross_attn_token_to_image,
            queries + tokens,
            keys + places,
            keys,
            guidance.attention,
        )
        queries = layer.norm2(queries + seen)
        queries = layer.norm3(queries + layer.mlp(queries))
        shown = layer.cross_attn_image_to_token(q=keys + places, k=queries + tokens, v=queries)
        keys = layer.norm4(keys + shown)
    last = transformer.final_attn_token_to_image(
        q=queries + tokens + added, k=keys + places, v=keys
    )
    return transformer.norm_final_attn(queries + last), keys


def _guided(
    attention: Any, query: Tensor, key: Tensor, value: Tensor, wanted: Tensor | None
) -> Tensor:
    """One attention of SAM, (1, P, C), with its weights drawn to where they are wanted."""
    if wanted is None:
        return attention(q=query, k=key, v=value)
    query, key, value = (
        attention._separate_heads(project(maps), attention.num_heads)
        for project, maps in (
            (attention.q_proj, query),
            (attention.k_proj, key),
            (attention.v_proj, value),
        )
    )
    weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(3)
    weights = (weights + wanted).softmax(3)
    return attention.out_proj(attention._recombine_heads(weights @ value))


def box_of(mask: Mask, margin: int = 0) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a mask (H, W) that is not empty, its last pixels included.

    Args:
        mask: of an object.
        margin: pixels by which it is widened, within the frame.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    bottom, right = (side - 1 for side in mask.shape)
    return (
        float(max(0, columns[0] - margin)),
        float(max(0, rows[0] - margin)),
        float(min(right, columns[-1] + margin)),
        float(min(bottom, rows[-1] + margin)),
    )
