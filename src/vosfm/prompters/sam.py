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
        side = self.prompt_encoder.image_embedding_size[0]
        expected = (1, self.prompt_encoder.embed_dim, side, side)
        if tuple(features.embedding.shape) != expected:
            raise InputError(
                f"the prompter reads features of {expected}, not of "
                f"{tuple(features.embedding.shape)}: give it an encoder of its own"
            )
        with torch.autocast(features.embedding.device.type, enabled=False):
            embedding = features.embedding.to(self.prompt_encoder.no_mask_embed.weight.dtype)
            low = [self._decode(embedding, one, features.geometry) for one in given]
            return restore(torch.cat(low), features.geometry)[:, 0]

    def _decode(self, embedding: Tensor, one: Box | Points, geometry: Geometry) -> Tensor:
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
        sparse, dense = self.prompt_encoder(points=points, boxes=box, masks=None)
        ambiguous = box is None and len(one.xy) == 1
        masks, quality = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=self.multimask and ambiguous,
        )
        best = quality[0].argmax()
        return masks[:, best, None]


def _placed(xy: Sequence[tuple[float, float]], geometry: Geometry) -> Tensor:
    """Points of the source frame in the prepared image, (1, P, 2) as x and y."""
    return to_prepared(torch.tensor([xy], dtype=torch.float64), geometry)
