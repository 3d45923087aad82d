"""Values from SAM's image encoder."""

from __future__ import annotations

from functools import partial
from typing import Any

from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from vosfm.layers import convolve_image, convolve_rows
from vosfm.mask_encoders.value_encoder import ValueEncoder, with_planes
from vosfm.ops.resizing import resize
from vosfm.types import Features


class ViTValues(ValueEncoder):
    """A ViT as SAM's image encoder over image, mask and the other objects.

    A ViT knows one size of image. Where the encoder prepares images of another, they are stretched
    to it, and the maps back.

    Args:
        image_size: side of the square that the ViT sees, in pixels.
        patch: side of a patch, in pixels.
        embed_dim: channels of the tokens.
        depth: how many blocks there are.
        num_heads: of the attention.
        global_attn_indexes: the blocks that attend to the whole image, the others to windows.
        window_size: side of a window, in tokens.
        out_chans: channels of the ViT's maps.
        embedding: channels of the encoder's embedding.
        width: channels of the encoding.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if chunk is not positive.

    Source: MMPM, section 4 (ViT-B); the released code.
    """

    def __init__(
        self,
        image_size: int = 1024,
        patch: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11),
        window_size: int = 14,
        out_chans: int = 256,
        embedding: int = 256,
        width: int = 512,
        chunk: int | None = None,
    ) -> None:
        super().__init__(out_chans, embedding, width, chunk)
        vit: Any = ImageEncoderViT(
            img_size=image_size,
            patch_size=patch,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            out_chans=out_chans,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window_size,
            global_attn_indexes=tuple(global_attn_indexes),
        )
        vit.patch_embed.proj = with_planes(vit.patch_embed.proj)
        self.vit = vit
        self.image_size = image_size

    def share(self, features: Features) -> Tensor:
        return convolve_image(self.vit.patch_embed.proj, self._square(features.image))

    def network(self, share: Tensor, planes: Tensor) -> Tensor:
        vit = self.vit
        square = self._square(planes.flatten(0, 1)).unflatten(0, planes.shape[:2])
        maps = convolve_rows(vit.patch_embed.proj, share, square).flatten(0, 1)
        tokens = maps.movedim(1, 3) + vit.pos_embed
        for block in vit.blocks:
            tokens = block(tokens)
        return vit.neck(tokens.movedim(3, 1)).unflatten(0, planes.shape[:2])

    def _square(self, maps: Tensor) -> Tensor:
        return resize(maps, (self.image_size, self.image_size))
