"""Any timm backbone as an encoder."""

from __future__ import annotations

from typing import Any

import timm
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from vosfm.encoders.encoder import Encoder
from vosfm.errors import InputError
from vosfm.ops.resizing import enclose, fit, pad
from vosfm.types import Geometry, Size


class TimmPyramid(Encoder):
    """A timm backbone, kept at a finest stride, with a 1x1 projection of its deepest map.

    Args:
        name: of the timm model.
        width: channels of the embedding; None for those of the deepest map, without projection.
        strides: of the pyramid's levels; of several stages with one stride, the first is taken.
        stride: of the embedding; later stages are dilated instead of strided.
        cut: leave out what lies behind the coarsest level; the embedding is then made of it.
        align_corners: frames are resized to sides of 16k+1 (True) or 16k (False).
        long_edge: larger frames are shrunk to this; None for no limit.
        padding: pad frames on all sides to multiples of the stride, as XMem does, instead of
            stretching them; `align_corners` must be False.
        short_edge: with padding, frames are shrunk until their shorter side is this; None for no
            limit.
        frozen_stages: how many of the first stages do not train, nor skip any layer. The stem
            counts to the first.
        frozen_norm: keep the statistics and the affine part of batch normalisation fixed, as
            fits pre-trained weights; training from scratch needs False.
        drop_path: how often the last layer is skipped in training, in [0, 1); the others less
            often, the earlier the less (stochastic depth).
        pretrained: load timm's ImageNet weights.

    Raises:
        InputError: if timm has no such model, it cannot keep the stride, or lacks a stage; if
            drop_path is out of range, or padding is to meet aligned corners.
    """

    def __init__(
        self,
        name: str,
        width: int | None = 256,
        strides: tuple[int, ...] = (4, 8, 16),
        stride: int = 16,
        cut: bool = False,
        align_corners: bool = True,
        long_edge: int | None = 1040,
        padding: bool = False,
        short_edge: int | None = None,
        frozen_stages: int = 0,
        frozen_norm: bool = False,
        drop_path: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        if not timm.is_model(name):
            raise InputError(f"timm has no model {name!r}: see timm.list_models()")
        if not 0 <= drop_path < 1:
            raise InputError(f"drop_path is {drop_path}: give a rate in [0, 1)")
        if padding and align_corners:
            raise InputError("padded frames have sides of 16k: give align_corners=False")
        try:
            backbone = self._create(
                name, stride, drop_path, pretrained=pretrained, num_classes=0, global_pool=""
            )
        except (TypeError, AssertionError, NotImplementedError) as error:
            raise InputError(f"{name} cannot be built at stride {stride}: {error}") from None
        settings = backbone.pretrained_cfg
        super().__init__(settings["mean"], settings["std"])
        levels = [info["reduction"] for info in backbone.feature_info]
        missing = [s for s in strides if s not in levels]
        if missing:
            raise InputError(f"{name} has stages of strides {levels}, none of stride {missing[0]}")
        self._indices = [levels.index(s) for s in strides]
        self.backbone: Any = backbone
        self.strides = tuple(strides)
        self.stride = stride
        self.channels = {
            s: backbone.feature_info[i]["num_chs"]
            for s, i in zip(strides, self._indices, strict=True)
        }
        deepest = backbone.num_features
        if cut:
            backbone.prune_intermediate_layers(self._indices, prune_norm=True)
            deepest = self.channels[strides[-1]]
        self.width = width or deepest
        self.project: nn.Module = nn.Identity()
        if width is not None:
            self.project = nn.Conv2d(deepest, width, 1)
            nn.init.xavier_uniform_(self.project.weight)
        self.align_corners = align_corners
        self.long_edge = long_edge
        self.padding = padding
        self.short_edge = short_edge
        self.frozen_norm = frozen_norm
        self._freeze(frozen_stages)
        self.train()  # Lightning trains in the modes that a model was built with

    def geometry(self, source: Size) -> Geometry:
        if self.padding:
            return enclose(source, self.stride, self.short_edge)
        return fit(source, self.stride, self.align_corners, self.long_edge)

    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        if self.padding:
            if geometry.content != images.shape[-2:]:
                images = F.interpolate(
                    images, size=geometry.content, mode="bilinear", antialias=True
                )
            return pad((images - self.mean) / self.std, geometry)
        if geometry.prepared != geometry.source:
            images = F.interpolate(images, size=geometry.prepared, mode="bicubic")
        return (images - self.mean) / self.std

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        final, levels = self.backbone.forward_intermediates(image, indices=self._indices)
        return dict(zip(self.strides, levels, strict=True)), self.project(final)

    def train(self, mode: bool = True) -> TimmPyramid:
        """Switch between training and evaluation; frozen normalisation stays in evaluation."""
        super().train(mode)
        if self.frozen_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @staticmethod
    def _create(name: str, stride: int, drop_path: float, **options: Any) -> Any:
        if drop_path:  # not every backbone knows of it
            options["drop_path_rate"] = drop_path
        return timm.create_model(name, output_stride=stride, **options)

    def _end(self, stages: int) -> str:
        """The module that so many stages end with."""
        name: str = self.backbone.feature_info[stages - 1]["module"]
        return name

    def _freeze(self, stages: int) -> None:
        last = self._end(stages) if stages else ""
        reached = False
        for name, module in self.backbone.named_modules():
            inside = name == last or name.startswith(f"{last}.")
            if not stages or (reached and not inside):
                break
            reached |= inside
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
        if self.frozen_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.requires_grad_(False)
