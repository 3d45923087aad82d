"""What every encoder promises, on timm's backbones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from vosfm import InputError
from vosfm.encoders import TimmPyramid


@pytest.mark.parametrize("name", ["mobilenetv2_035", "test_resnet", "resnet10t"])
@pytest.mark.parametrize("corners", [True, False])
def test_contract(name: str, corners: bool) -> None:
    encoder = TimmPyramid(name, width=8, align_corners=corners).eval()
    with torch.inference_mode():
        features = encoder(torch.rand(2, 3, 70, 90))
    height, width = features.geometry.prepared
    assert features.image.shape == (2, 3, height, width)
    for stride, channels in encoder.channels.items():
        size = tuple(-(-side // stride) for side in (height, width))
        assert features.pyramid[stride].shape == (2, channels, *size)
    assert features.embedding.shape == (2, 8, *features.pyramid[encoder.stride].shape[2:])


def test_frames_are_resized_as_the_released_aot_does() -> None:
    """Cubic, without smoothing, on values that are not rounded in between."""
    frame = np.random.default_rng(0).random((70, 90, 3)).astype(np.float32)
    encoder = TimmPyramid("test_resnet", width=8)
    geometry = encoder.geometry((70, 90))
    ours = encoder.prepare(torch.from_numpy(frame).permute(2, 0, 1)[None], geometry)
    height, width = geometry.prepared
    resized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
    mean, std = encoder.mean.view(3).numpy(), encoder.std.view(3).numpy()
    theirs = torch.from_numpy((resized - mean) / std).permute(2, 0, 1)[None]
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-4)


def test_frozen_normalisation_stays_as_it_is() -> None:
    for frozen in (True, False):
        encoder = TimmPyramid("test_resnet", width=8, frozen_norm=frozen)
        norms = [m for m in encoder.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [m.running_mean.clone() for m in norms]
        encoder(torch.rand(2, 3, 64, 64))
        kept = [torch.equal(m.running_mean, b) for m, b in zip(norms, before, strict=True)]
        assert all(kept) if frozen else not any(kept)
        assert all(m.weight.requires_grad != frozen for m in norms)


def test_stochastic_depth_spares_frozen_stages() -> None:
    encoder = TimmPyramid("resnet10t", width=8, frozen_stages=3, drop_path=0.4)
    rates = {
        name.split(".")[0]: module.drop_prob
        for name, module in encoder.backbone.named_modules()
        if name.endswith("drop_path") and hasattr(module, "drop_prob")
    }
    # Of four blocks the first is never skipped; that of layer2 is frozen.
    assert rates == pytest.approx({"layer2": 0.0, "layer3": 0.8 / 3, "layer4": 0.4}, abs=1e-6)


def test_what_timm_does_not_have() -> None:
    with pytest.raises(InputError, match="timm has no model 'mobilenet_v99'"):
        TimmPyramid("mobilenet_v99")
    with pytest.raises(InputError, match="cannot be built at stride 16"):
        TimmPyramid("vit_tiny_patch16_224")
    with pytest.raises(InputError, match="none of stride 32"):
        TimmPyramid("test_resnet", strides=(32,))
    with pytest.raises(InputError, match=r"drop_path is 1\.0: give a rate in \[0, 1\)"):
        TimmPyramid("test_resnet", drop_path=1.0)
