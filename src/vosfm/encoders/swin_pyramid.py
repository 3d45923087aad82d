"""Swin at any size, as dense prediction uses it."""

from __future__ import annotations

from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn

from vosfm.encoders.timm_pyramid import TimmPyramid
from vosfm.errors import InputError
from vosfm.types import Size


class SwinPyramid(TimmPyramid):
    """A Swin Transformer of timm's, kept up to its coarsest level, each level normalised.

    Weights and their names are timm's. Its maps are padded to whole windows first and shifted
    then, as in Swin for detection and segmentation; timm shifts first, which is another function
    wherever a map is no whole number of windows.

    Args:
        name: of the timm model.
        width: channels of the embedding, a 1x1 projection of the coarsest level.
        strides: of the pyramid's levels; later stages are left out.
        long_edge: larger frames are shrunk to this; None for no limit. Frames are resized to
            sides that the coarsest stride divides.
        frozen_stages: how many of the first stages do not train, nor skip any layer. The patch
            embedding is the first; merging patches counts to the stage that it leads to.
        frozen_norm: as every encoder has it; a Swin has no batch normalisation to freeze.
        drop_path: how often the last layer of the whole Swin is skipped in training, in [0, 1);
            the others less often, the earlier the less.
        pretrained: load timm's ImageNet weights.

    Raises:
        InputError: if timm has no such Swin, or it lacks a stage; if drop_path is out of range.

    Source: Swin Transformer, sections 3.1 and 3.2; the layout of AOT's released code.
    """

    def __init__(
        self,
        name: str = "swin_base_patch4_window7_224",
        width: int = 256,
        strides: tuple[int, ...] = (4, 8, 16),
        long_edge: int | None = 1040,
        frozen_stages: int = 0,
        frozen_norm: bool = False,
        drop_path: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        known = timm.list_models(module="swin_transformer")
        if name.partition(".")[0] not in known:
            raise InputError(f"timm has no Swin {name!r}: there are {', '.join(known)}")
        super().__init__(
            name,
            width=width,
            strides=strides,
            stride=strides[-1],
            cut=True,
            align_corners=False,
            long_edge=long_edge,
            frozen_stages=frozen_stages,
            frozen_norm=frozen_norm,
            drop_path=drop_path,
            pretrained=pretrained,
        )
        for stage in self.backbone.layers:
            stage.blocks = nn.Sequential(
                *(Block(block, shifted=index % 2 == 1) for index, block in enumerate(stage.blocks))
            )
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels.values())

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        maps = self.backbone.forward_intermediates(
            image, indices=self._indices, intermediates_only=True
        )
        levels = [
            norm(level.movedim(1, 3)).movedim(3, 1).contiguous()
            for norm, level in zip(self.norms, maps, strict=True)
        ]
        return dict(zip(self.strides, levels, strict=True)), self.project(levels[-1])

    @staticmethod
    def _create(name: str, stride: int, drop_path: float, **options: Any) -> Any:
        return timm.create_model(name, strict_img_size=False, drop_path_rate=drop_path, **options)

    def _end(self, stages: int) -> str:
        return "patch_embed" if stages == 1 else super()._end(stages - 1)


class Block(nn.Module):
    """Attention within windows, then a perceptron, on maps (B, h, w, C) of any size.

    Args:
        block: timm's, whose weights are used.
        shifted: whether windows lie half a window aside, so that neighbours meet.

    Source: Swin Transformer, section 3.2 and Figure 4.
    """

    def __init__(self, block: Any, shifted: bool) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.attn = block.attn
        self.drop_path1 = block.drop_path1
        self.norm2 = block.norm2
        self.mlp = block.mlp
        self.drop_path2 = block.drop_path2
        self.window: Size = block.window_size
        self.shift = (self.window[0] // 2, self.window[1] // 2) if shifted else None

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps + self.drop_path1(self._attend(self.norm1(maps)))
        return maps + self.drop_path2(self.mlp(self.norm2(maps)))

    def _attend(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[1:3]
        maps = F.pad(maps, (0, 0, 0, -width % self.window[1], 0, -height % self.window[0]))
        if self.shift is None:
            maps = self._attend_windows(maps, None)
        else:
            down, right = self.shift
            maps = torch.roll(maps, (-down, -right), (1, 2))
            maps = self._attend_windows(maps, self._apart(maps, self.shift))
            maps = torch.roll(maps, (down, right), (1, 2))
        return maps[:, :height, :width]

    def _attend_windows(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        size = (maps.shape[1], maps.shape[2])
        windows = self.attn(window_partition(maps, self.window).flatten(1, 2), mask)
        return window_reverse(windows.unflatten(1, self.window), self.window, *size)

    def _apart(self, maps: Tensor, shift: Size) -> Tensor:
        """Keep what came around the edge from what it lies beside: (windows, N, N), 0 or -100."""
        (height, width), (down, right) = maps.shape[1:3], shift
        below = torch.arange(height, device=maps.device) >= height - down
        beyond = torch.arange(width, device=maps.device) >= width - right
        piece = (2 * below[:, None] + beyond)[None, ..., None]
        pieces = window_partition(piece, self.window).flatten(1)
        apart = pieces[:, :, None] != pieces[:, None, :]
        return maps.new_zeros(apart.shape).masked_fill(apart, -100.0)
