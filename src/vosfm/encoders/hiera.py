"""The image encoder of SAM 2."""

from __future__ import annotations

from typing import Any, Literal, get_args

import timm
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from vosfm.encoders.encoder import Encoder
from vosfm.errors import InputError
from vosfm.types import Geometry, Size

Name = Literal["tiny", "small", "base_plus", "large"]
"""The sizes that SAM 2 was released in."""


class Hiera(Encoder):
    """A hierarchical vision transformer, its levels projected to one width.

    Frames are stretched to `image_size`. The levels of strides 4 and 8 are projections of their
    stages alone; to that of stride 16, which is the embedding, the coarsest one is added. The
    released models are

    =========  =========  =========  ===========  =============  ============  ===============
    name       embed_dim  num_heads  stages       global_blocks  windows       background_size
    =========  =========  =========  ===========  =============  ============  ===============
    tiny       96         1          1, 2, 7, 2   5, 7, 9        8, 4, 14, 7   7, 7
    small      96         1          1, 2, 11, 2  7, 10, 13      8, 4, 14, 7   7, 7
    base_plus  112        2          2, 3, 16, 3  12, 16, 20     8, 4, 14, 7   14, 14
    large      144        2          2, 6, 36, 4  23, 33, 43     8, 4, 16, 8   7, 7
    =========  =========  =========  ===========  =============  ============  ===============

    Args:
        name: one of the released sizes. The arguments after `drop_path` change it; None leaves
            what the size has.
        image_size: side of the prepared image, or its height and width; multiples of 32. Released
            weights are of 1024; at another size their position embeddings are interpolated.
        width: channels of the embedding and of each level.
        frozen: train no weight, neither of the transformer nor of the projections.
        drop_path: how often the last block is skipped in training, in [0, 1); the others less
            often, the earlier the less. Without effect where frozen.
        embed_dim: channels of the first stage; each of the others has twice as many as the one
            before it.
        num_heads: of the attention in the first stage, doubled likewise.
        stages: blocks of the four stages.
        global_blocks: blocks whose tokens attend to the whole image; the others look at windows.
            The first blocks of the stages after the first cannot.
        windows: sides of a window in the four stages, in tokens. The first block of a stage still
            has the window of the stage before, and halves it. The first must divide a side in
            tokens, `image_size` / 4, since the position embeddings repeat with it.
        background_size: height and width of the position embeddings that are stretched over the
            image, under those that repeat.

    Raises:
        InputError: if there is no such size, or the arguments do not fit each other.

    Source: SAM 2, section 4 and the appendix on its architecture; Hiera; for the position
        embeddings, Window Attention Is Bugged.
    """

    def __init__(
        self,
        name: Name = "tiny",
        image_size: int | Size = 1024,
        width: int = 256,
        frozen: bool = True,
        drop_path: float = 0.0,
        embed_dim: int | None = None,
        num_heads: int | None = None,
        stages: tuple[int, ...] | None = None,
        global_blocks: tuple[int, ...] | None = None,
        windows: tuple[int, ...] | None = None,
        background_size: Size | None = None,
    ) -> None:
        super().__init__(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        if name not in get_args(Name):
            raise InputError(f"there is no Hiera {name!r}: give one of {', '.join(get_args(Name))}")
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(sides) != 2 or any(side < 32 or side % 32 for side in sides):
            raise InputError(
                f"image_size is {image_size}: give a multiple of 32, or two of them as height "
                "and width"
            )
        if not 0 <= drop_path < 1:
            raise InputError(f"drop_path is {drop_path}: give a rate in [0, 1)")
        for argument, values in (("stages", stages), ("windows", windows)):
            if values is not None and (len(values) != 4 or min(values) < 1):
                raise InputError(f"{argument} {tuple(values)}: give four positive numbers")
        trunk: Any = timm.create_model(
            f"sam2_hiera_{name}",
            num_classes=0,
            drop_path_rate=drop_path,
            embed_dim=embed_dim,
            num_heads=num_heads,
            stages=stages,
            global_att_blocks=global_blocks,
            window_spec=windows,
            global_pos_size=background_size,
        )
        trunk.reset_classifier(0, reset_other=True)  # a norm that SAM 2 does not have
        self.trunk: Any = trunk
        self.image_size: Size = (sides[0], sides[1])
        self._check_trunk()
        self.frozen = frozen
        self.stride = 16
        self.width = width
        self.channels = {4: width, 8: width, 16: width}
        self.lateral = nn.ModuleList(
            nn.Conv2d(level["num_chs"], width, 1) for level in self.trunk.feature_info
        )
        if frozen:
            self.requires_grad_(False)
        self.train()  # Lightning trains in the modes that a model was built with

    def geometry(self, source: Size) -> Geometry:
        return Geometry(source, self.image_size, self.image_size)

    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        if images.shape[-2:] != geometry.prepared:
            # Bicubic weights are negative in places, so that edges overshoot.
            images = F.interpolate(
                images, size=geometry.prepared, mode="bicubic", antialias=True
            ).clamp(0, 1)
        return (images - self.mean) / self.std

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        stages = self.trunk.forward_intermediates(image, intermediates_only=True)
        fine, middle, embedding, coarse = (
            project(stage) for project, stage in zip(self.lateral, stages, strict=True)
        )
        embedding = embedding + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return {4: fine, 8: middle, 16: embedding}, embedding

    def train(self, mode: bool = True) -> Hiera:
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
            self.lateral.eval()
        return self

    def _check_trunk(self) -> None:
        """What timm would only notice in the first frame, or not at all."""
        depth = len(self.trunk.blocks)
        if not all(0 <= index < depth for index in self.trunk.global_att_blocks):
            raise InputError(
                f"global_blocks {tuple(self.trunk.global_att_blocks)}: there are blocks 0 to "
                f"{depth - 1}"
            )
        for index in self.trunk.global_att_blocks:
            if self.trunk.blocks[index].pool is not None:
                raise InputError(
                    f"global_blocks {tuple(self.trunk.global_att_blocks)}: block {index} is the "
                    "first of its stage, which pools within windows; give another"
                )
        first = self.trunk.blocks[0]
        if first.dim_out % first.attn.num_heads:
            raise InputError(
                f"embed_dim {first.dim_out} is not a multiple of num_heads {first.attn.num_heads}"
            )
        window, *others = self.trunk.window_spec
        if any(side // 4 % window for side in self.image_size):
            raise InputError(
                f"windows {tuple(self.trunk.window_spec)}: the first must divide image_size / 4, "
                f"which is {self.image_size[0] // 4} by {self.image_size[1] // 4}"
            )
        if any(side % 2 for side in (window, *others[:2])):
            raise InputError(
                f"windows {tuple(self.trunk.window_spec)}: the first three are halved, give even "
                "ones"
            )
