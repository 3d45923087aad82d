"""Weights of classifiers as the start of an encoder, by every name that they go by."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from models import tiny
from torch import Tensor, nn

import vosfm
from vosfm.checkpoints import load_backbone
from vosfm.errors import InputError

IMAGES = torch.rand(1, 3, 65, 81, generator=torch.Generator().manual_seed(0))


def _lively(model: nn.Module) -> nn.Module:
    """Statistics of a normalisation that has seen something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def _saved(model: nn.Module, folder: Path) -> Path:
    torch.save(model.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def test_mobilenet_of_torchvision_and_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = _lively(torchvision.models.mobilenet_v2())
    segmenter = vosfm.build("aot_t").eval()
    load_backbone(segmenter, _saved(theirs, tmp_path))
    encoder = segmenter.encoder
    with torch.inference_mode():
        image = encoder.prepare(IMAGES, encoder.geometry((65, 81)))
        level = theirs.features[:7](image)  # stride 8
        torch.testing.assert_close(encoder.extract(image)[0][8], level, rtol=1e-4, atol=1e-4)
    other = vosfm.build("aot_t").eval()
    load_backbone(other, _saved(encoder.backbone, tmp_path))
    for key, value in encoder.backbone.state_dict().items():
        assert torch.equal(other.encoder.backbone.state_dict()[key], value)


def _folded(theirs: nn.Module) -> dict[str, Tensor]:
    """Every convolution with the normalisation behind it folded in, for images in [-1, 1]."""
    weights = {}
    for number, block in enumerate(theirs.features):
        modules = [m for m in block.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
        pairs = list(zip(modules[::2], modules[1::2], strict=True))
        names = {1: [""], 2: ["dw.", "proj."], 3: ["expand.", "dw.", "proj."]}[len(pairs)]
        for name, (conv, norm) in zip(names, pairs, strict=True):
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            weights[f"features.{number}.{name}weight"] = conv.weight * gain[:, None, None, None]
            weights[f"features.{number}.{name}bias"] = norm.bias - norm.running_mean * gain
    weights["classifier.weight"] = torch.zeros(3, 1280, 1, 1)
    return {key: value.detach() for key, value in weights.items()}


def test_a_folded_mobilenet(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = _lively(torchvision.models.mobilenet_v2())
    torch.save(_folded(theirs), tmp_path / "folded.pth")
    segmenter = vosfm.build("aot_t").eval()
    load_backbone(segmenter, tmp_path / "folded.pth")
    encoder = segmenter.encoder
    with torch.inference_mode():
        stem = encoder.backbone.bn1(
            encoder.backbone.conv_stem(encoder.prepare(IMAGES, encoder.geometry((65, 81))))
        )
        expected = theirs.features[0](2 * IMAGES - 1)
        # Zero, with which both pad, is the mean color of one and gray of the other.
        torch.testing.assert_close(
            F.relu6(stem)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            encoder.backbone.blocks[:3](expected),
            theirs.features[1:7](expected),
            rtol=1e-4,
            atol=1e-4,
        )


def test_resnet_of_torchvision_without_its_last_stage(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet50()
    segmenter = vosfm.build("r50_aot_l")
    load_backbone(segmenter, _saved(theirs, tmp_path))
    for key, value in segmenter.encoder.backbone.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    with pytest.raises(InputError, match=r"layer3\.7|left over"):
        load_backbone(segmenter, _saved(torchvision.models.resnet101(), tmp_path))


def test_swin_of_its_authors(tmp_path: Path) -> None:
    name = "swin_tiny_patch4_window7_224"
    theirs = timm.create_model(name).state_dict()
    authors = {}
    for key, value in theirs.items():
        stage, _, rest = key.removeprefix("layers.").partition(".")
        if rest.startswith("downsample"):
            key = f"layers.{int(stage) - 1}.{rest}"
        authors[key.replace("head.fc", "head")] = value
    authors["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    authors["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    torch.save({"model": authors}, tmp_path / "swin.pth")
    segmenter = vosfm.build(
        "swinb_aot_l", encoder={"name": name}, decoder={"skips": [96, 192, 384]}
    )
    load_backbone(segmenter, tmp_path / "swin.pth")
    ours = segmenter.encoder.backbone.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_what_cannot_be_a_start(tmp_path: Path) -> None:
    segmenter = tiny()
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    with pytest.raises(InputError, match=r"weights\.pth: a checkpoint of another model"):
        load_backbone(segmenter, _saved(torchvision.models.resnet18(), tmp_path))
    with pytest.raises(InputError, match=r"conv_stem\.weight is"):
        load_backbone(segmenter, _saved(timm.create_model("mobilenetv2_100"), tmp_path))
    with pytest.raises(InputError, match="no such checkpoint"):
        load_backbone(segmenter, tmp_path / "nothing.pth")
    assert all(torch.equal(value, before[key]) for key, value in segmenter.state_dict().items())


def test_the_encoder_of_another_segmenter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learned = vosfm.build("aot_nano")
    _lively(learned)
    task = {f"segmenter.{key}": value for key, value in learned.state_dict().items()}
    run = tmp_path / "run.ckpt"
    torch.save({"state_dict": {**task, "loss.weight": torch.zeros(1)}}, run)
    for path in (run, _saved(learned, tmp_path)):
        other = vosfm.build("ddmemory_nano")
        load_backbone(other, path)
        for key, value in other.encoder.state_dict().items():
            assert torch.equal(value, learned.encoder.state_dict()[key]), key
    with pytest.raises(InputError, match="another model: missing"):
        load_backbone(vosfm.build("aot_t"), run)
    load_backbone(vosfm.build("mmpm_tiny"), _saved(vosfm.build("mmpm_tiny"), tmp_path))
