"""The image encoder of SAM."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from vosfm.encoders.encoder import Encoder
from vosfm.errors import InputError
from vosfm.types import Geometry, Size

Padding = Literal["sam", "mmpm"]
"""Padded with zeros after normalising (SAM), or with black before it (the released MMPM)."""

_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
_PATCH = 16


class SamViT(Encoder):
    """A plain vision transformer with windows, as SAM trained it.

    Frames are resized until their longer side is `image_size`, and padded at the bottom and on the
    right to a square. The released models are

    ========  =========  =====  =========  ===================  =======
    size      embed_dim  depth  num_heads  global_attn_indexes  weights
    ========  =========  =====  =========  ===================  =======
    ViT-B     768        12     12         2, 5, 8, 11          90 M
    ViT-L     1024       24     16         5, 11, 17, 23        308 M
    ViT-H     1280       32     16         7, 15, 23, 31        637 M
    ========  =========  =====  =========  ===================  =======

    Args:
        image_size: side of the square, a multiple of 16. Released weights are of 1024; at another
            size their position embeddings are interpolated.
        embed_dim: channels of the tokens.
        depth: blocks.
        num_heads: of each attention.
        global_attn_indexes: blocks whose tokens attend to the whole image; the others look at
            windows.
        window_size: side of a window, in tokens.
        out_chans: channels of the embedding.
        skips: channels of levels at strides 4 and 8, for decoders with skip connections. They are
            learned: transposed convolutions of the tokens behind the first global block, or behind
            the first block where none is global. None for the embedding alone.
        padding: what surrounds the frame, see `Padding`.
        frozen: train no weight of the transformer; levels of `skips` train all the same.
        checkpoint: a released SAM to start from; its other parts are passed over.

    Raises:
        InputError: if the sizes do not fit each other, or the checkpoint is unusable or of a
            transformer of another size.

    Source: Segment Anything, section 3 and appendix A; ViTDet for the upsampling.
    """

    def __init__(
        self,
        image_size: int = 1024,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11),
        window_size: int = 14,
        out_chans: int = 256,
        skips: tuple[int, int] | None = None,
        padding: Padding = "sam",
        frozen: bool = True,
        checkpoint: str | None = None,
    ) -> None:
        super().__init__(_MEAN, _STD)
        if image_size < _PATCH or image_size % _PATCH:
            raise InputError(f"image_size is {image_size}: give a multiple of {_PATCH}")
        if embed_dim % num_heads:
            raise InputError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if padding not in get_args(Padding):
            raise InputError(f"padding is {padding!r}: give one of {get_args(Padding)}")
        if not all(0 <= index < depth for index in global_attn_indexes):
            raise InputError(
                f"global_attn_indexes {tuple(global_attn_indexes)}: there are blocks 0 to "
                f"{depth - 1}"
            )
        self.vit: Any = ImageEncoderViT(
            img_size=image_size,
            patch_size=_PATCH,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=4,
            out_chans=out_chans,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window_size,
            global_attn_indexes=tuple(global_attn_indexes),
        )
        self.image_size = image_size
        self.padding = padding
        self.frozen = frozen
        self.stride = _PATCH
        self.width = out_chans
        self.channels = {_PATCH: out_chans}
        self._early = min(global_attn_indexes, default=0)
        self.lift8: nn.Module | None = None
        self.lift4: nn.Module | None = None
        if skips is not None:
            self.channels = {4: skips[0], 8: skips[1], **self.channels}
            self.lift8 = nn.ConvTranspose2d(embed_dim, skips[1], 2, stride=2)
            self.lift4 = nn.Sequential(
                LayerNorm2d(skips[1]),
                nn.GELU(),
                nn.ConvTranspose2d(skips[1], skips[0], 2, stride=2),
            )
        if checkpoint is not None:
            # Reading files stands above the parts of a model.
            from vosfm.checkpoints.sam import load_image_encoder

            load_image_encoder(self, checkpoint)
        if frozen:
            self.vit.requires_grad_(False)
        self.train()  # Lightning trains in the modes that a model was built with

    def geometry(self, source: Size) -> Geometry:
        scale = self.image_size / max(source)
        height, width = (max(1, int(side * scale + 0.5)) for side in source)
        return Geometry(source, (height, width), (self.image_size, self.image_size))

    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        if images.shape[-2:] != geometry.content:
            images = F.interpolate(images, size=geometry.content, mode="bilinear", antialias=True)
        below = geometry.prepared[0] - geometry.content[0]
        beside = geometry.prepared[1] - geometry.content[1]
        if self.padding == "mmpm":
            return (F.pad(images, (0, beside, 0, below)) - self.mean) / self.std
        return F.pad((images - self.mean) / self.std, (0, beside, 0, below))

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.vit.patch_embed(image) + self.vit.pos_embed
            for index, block in enumerate(self.vit.blocks):
                tokens = block(tokens)
                if index == self._early:
                    early = tokens
            embedding = self.vit.neck(tokens.permute(0, 3, 1, 2))
        pyramid = {16: embedding}
        if self.lift8 is not None and self.lift4 is not None:
            level = self.lift8(early.permute(0, 3, 1, 2))
            pyramid = {4: self.lift4(level), 8: level, **pyramid}
        return pyramid, embedding

    def train(self, mode: bool = True) -> SamViT:
        """Switch between training and evaluation; a frozen transformer stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.vit.eval()
        return self
