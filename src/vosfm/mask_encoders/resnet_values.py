"""Values from a ResNet."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.layers import convolve_image, convolve_rows
from vosfm.mask_encoders.value_encoder import ValueEncoder, with_planes
from vosfm.types import Features


class ResNetValues(ValueEncoder):
    """A ResNet of timm's up to stride 16 over image, mask and the other objects.

    Args:
        embedding: channels of the encoder's embedding.
        width: channels of the encoding.
        name: of the timm model.
        frozen_norm: keep the statistics and the affine part of batch normalisation fixed, as
            fits pre-trained weights; training from scratch needs False.
        pretrained: load timm's ImageNet weights.
        chunk: how many objects are computed at once; None for all.

    Raises:
        InputError: if timm has no such ResNet; if chunk is not positive.

    Source: XMem, section 3.5 and the released code (ResNet-18), which pools before the first
    ReLU; the two commute.
    """

    def __init__(
        self,
        embedding: int = 1024,
        width: int = 512,
        name: str = "resnet18",
        frozen_norm: bool = False,
        pretrained: bool = False,
        chunk: int | None = None,
    ) -> None:
        if name.partition(".")[0] not in timm.list_models(module="resnet"):
            raise InputError(f"timm has no ResNet {name!r}: see timm.list_models(module='resnet')")
        backbone: Any = timm.create_model(name, pretrained, num_classes=0, global_pool="")
        stage = [info["module"] for info in backbone.feature_info].index("layer3")
        super().__init__(backbone.feature_info[stage]["num_chs"], embedding, width, chunk)
        backbone.prune_intermediate_layers([stage])
        conv = backbone.conv1
        if isinstance(conv, nn.Conv2d):
            backbone.conv1 = with_planes(conv)
        else:
            conv[0] = with_planes(conv[0])
        self.backbone = backbone
        self.frozen_norm = frozen_norm
        if frozen_norm:
            for norm in self._norms():
                norm.requires_grad_(False)
        self.train()

    def share(self, features: Features) -> Tensor:
        return convolve_image(self._stem()[0], features.image)

    def network(self, share: Tensor, planes: Tensor) -> Tensor:
        backbone = self.backbone
        first, *rest = self._stem()
        maps = convolve_rows(first, share, planes).flatten(0, 1)
        for layer in (*rest, backbone.bn1, backbone.act1, backbone.maxpool):
            maps = layer(maps)
        for stage in (backbone.layer1, backbone.layer2, backbone.layer3):
            maps = stage(maps)
        return maps.unflatten(0, planes.shape[:2])

    def train(self, mode: bool = True) -> ResNetValues:
        """Switch between training and evaluation; frozen normalisation stays in evaluation."""
        super().train(mode)
        if self.frozen_norm:
            for norm in self._norms():
                norm.eval()
        return self

    def _stem(self) -> list[Any]:
        """The convolutions that the backbone begins with, and what lies between them."""
        conv = self.backbone.conv1
        return list(conv) if isinstance(conv, nn.Sequential) else [conv]

    def _norms(self) -> list[nn.Module]:
        kind = nn.modules.batchnorm._BatchNorm
        return [module for module in self.backbone.modules() if isinstance(module, kind)]
