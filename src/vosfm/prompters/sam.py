"""Boxes and points as SAM understands them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor

from vosfm.encoders import SamViT
from vosfm.errors import InputError
from vosfm.ops.resizing import restore, to_prepared
from vosfm.prompters.prompter import Prompter
from vosfm.types import Box, Features, Geometry, Points

_STRIDE = 16


class SamPrompter(Prompter):
    """SAM's prompt encoder and mask decoder.

    A single point is ambiguous: of the three masks that SAM then makes, the one is taken that it
    thinks best of. Its weights do not train with the model that it is a part of, and it computes
    in the precision of its weights, since coordinates do not survive bfloat16.

    Args:
        embed_dim: channels of the features.
        image_size: side of the square that the features are made of, in pixels.
        encoder: whose features it reads; None for those of the model, whose encoder must then be
            the SAM that the prompter was trained with.
        multimask: choose from three masks where a single point is given; False for the one mask
            that SAM makes otherwise.
        checkpoint: a released SAM, for the prompter and its encoder.

    Raises:
        InputError: if the encoder makes features of another kind, or the checkpoint is unusable or
            of another model.

    Source: Segment Anything, section 3 and appendix A.
    """

    candidates = 3

    def __init__(
        self,
        embed_dim: int = 256,
        image_size: int = 1024,
        encoder: SamViT | None = None,
        multimask: bool = True,
        checkpoint: str | None = None,
    ) -> None:
        super().__init__()
        if encoder is not None and (encoder.width, encoder.image_size) != (embed_dim, image_size):
            raise InputError(
                f"the prompter reads {embed_dim} channels of images of {image_size}, its encoder "
                f"makes {encoder.width} of {encoder.image_size}: give both the same"
            )
        tokens = image_size // _STRIDE
        self.encoder = encoder
        self.multimask = multimask
        self.prompt_encoder: Any = PromptEncoder(
            embed_dim=embed_dim,
            image_embedding_size=(tokens, tokens),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        )
        self.mask_decoder: Any = MaskDecoder(
            transformer_dim=embed_dim,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=embed_dim, num_heads=8, mlp_dim=2048
            ),
        )
        if checkpoint is not None:
            # Reading files stands above the parts of a model.
            from vosfm.checkpoints.sam import load_prompter

            load_prompter(self, checkpoint)
        self.requires_grad_(False)

    def forward(self, features: Features, given: Sequence[Box | Points]) -> Tensor:
        embedding = self._embedding(features)
        with torch.autocast(embedding.device.type, enabled=False):
            low = [self._best(embedding, one, features.geometry) for one in given]
            return restore(torch.cat(low), features.geometry)[:, 0]

    def every(self, features: Features, points: Tensor) -> tuple[Tensor, Tensor]:
        """Find the three masks that SAM tells for each prompt, see `Prompter.every`.

        Their logits are at a quarter of the prepared size. Whatever `multimask` says, it is the
        tokens of the three masks that answer.
        """
        embedding = self._embedding(features)
        labels = torch.ones(points.shape[:2], dtype=torch.int64, device=embedding.device)
        with torch.autocast(embedding.device.type, enabled=False):
            placed = to_prepared(points.double(), features.geometry).to(embedding)
            return self._decode(embedding, (placed, labels), None, several=True)

    def _embedding(self, features: Features) -> Tensor:
        """(1, C, h, w), in the precision of the weights."""
        side = self.prompt_encoder.image_embedding_size[0]
        expected = (1, self.prompt_encoder.embed_dim, side, side)
        if tuple(features.embedding.shape) != expected:
            raise InputError(
                f"the prompter reads features of {expected}, not of "
                f"{tuple(features.embedding.shape)}: give it an encoder of its own"
            )
        return features.embedding.to(self.prompt_encoder.no_mask_embed.weight.dtype)

    def _best(self, embedding: Tensor, one: Box | Points, geometry: Geometry) -> Tensor:
        """(1, 1, h, w) logits at a quarter of the prepared size."""
        if isinstance(one, Box):
            one = Points((), (), one)
        points = box = None
        if one.box is not None:
            corners = ((one.box.x0, one.box.y0), (one.box.x1, one.box.y1))
            box = _placed(corners, geometry).to(embedding).flatten(1)
        if one.xy:
            labels = torch.tensor([one.labels], device=embedding.device)
            points = _placed(one.xy, geometry).to(embedding), labels
        ambiguous = box is None and len(one.xy) == 1
        masks, quality = self._decode(embedding, points, box, self.multimask and ambiguous)
        best = quality[0].argmax()
        return masks[:, best, None]

    def _decode(
        self,
        embedding: Tensor,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        several: bool,
    ) -> tuple[Tensor, Tensor]:
        """Logits (Q, K, h, w) and quality (Q, K) of Q prompts in the prepared image.

        Args:
            embedding: (1, C, h, w).
            points: places (Q, P, 2) and labels (Q, P).
            boxes: (Q, 4).
            several: three masks for each prompt instead of one.
        """
        sparse, dense = self.prompt_encoder(points=points, boxes=boxes, masks=None)
        masks, quality = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return masks, quality


def _placed(xy: Sequence[tuple[float, float]], geometry: Geometry) -> Tensor:
    """Points of the source frame in the prepared image, (1, P, 2) as x and y."""
    return to_prepared(torch.tensor([xy], dtype=torch.float64), geometry)
