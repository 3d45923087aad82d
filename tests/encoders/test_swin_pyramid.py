"""Swin at any size."""

from __future__ import annotations

import pytest
import timm
import torch

from vosfm import InputError
from vosfm.encoders import SwinPyramid

NAME = "swin_tiny_patch4_window7_224"


@pytest.fixture(scope="module")
def encoder() -> SwinPyramid:
    torch.manual_seed(0)
    return SwinPyramid(NAME, width=8, long_edge=96).eval()


@pytest.mark.parametrize("size", [(64, 96), (70, 90), (23, 25), (160, 200)])
def test_any_size(encoder: SwinPyramid, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        features = encoder(torch.rand(2, 3, *size))
    height, width = features.geometry.prepared
    assert height % 16 == width % 16 == 0
    assert max(height, width) <= 96
    assert features.image.shape == (2, 3, height, width)
    assert not features.geometry.align_corners
    assert encoder.channels == {4: 96, 8: 192, 16: 384}
    for stride, channels in encoder.channels.items():
        level = features.pyramid[stride]
        assert level.shape == (2, channels, height // stride, width // stride)
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level[:, 0]), rtol=0, atol=1e-5)
    assert features.embedding.shape == (2, 8, height // 16, width // 16)


def test_timm_agrees_where_windows_are_whole(encoder: SwinPyramid) -> None:
    theirs = timm.create_model(NAME, num_classes=0, strict_img_size=False).eval()
    left = theirs.load_state_dict(encoder.backbone.state_dict(), strict=False)
    assert not left.unexpected_keys
    image = torch.rand(2, 3, 112, 112)
    with torch.inference_mode():
        levels = theirs.forward_intermediates(image, indices=[0, 1, 2], intermediates_only=True)
        pyramid, _ = encoder.extract(image)
    for level, ours in zip(levels, pyramid.values(), strict=True):
        normed = torch.nn.functional.layer_norm(level.movedim(1, 3), level.shape[1:2])
        torch.testing.assert_close(ours, normed.movedim(3, 1), rtol=1e-5, atol=1e-5)


def test_windows_end_at_the_edge(encoder: SwinPyramid) -> None:
    """A shifted window leaves three rows and columns at the beginning; none meets the far end."""
    straight, shifted = encoder.backbone.layers[0].blocks
    maps = torch.randn(1, 10, 12, 96)
    changed = maps.clone()
    changed[0, 0, 0] = 100 * torch.randn(96)
    with torch.inference_mode():
        for block, side in ((straight, 7), (shifted, 3)):
            differ = (block(maps) != block(changed))[0].any(-1)
            near = torch.zeros(10, 12, dtype=torch.bool)
            near[:side, :side] = True
            assert torch.equal(differ, near)


def test_frozen_stages_neither_train_nor_drop() -> None:
    encoder = SwinPyramid(NAME, frozen_stages=3, drop_path=0.3)
    frozen = [n for n, p in encoder.backbone.named_parameters() if not p.requires_grad]
    assert {".".join(n.split(".")[:2]) for n in frozen} == {
        "patch_embed.proj",
        "patch_embed.norm",
        "layers.0",
        "layers.1",
    }
    assert all(p.requires_grad for p in encoder.backbone.layers[2].parameters())
    assert all(p.requires_grad for p in encoder.norms.parameters())
    rates = [
        [getattr(block.drop_path1, "drop_prob", 0.0) for block in stage.blocks]
        for stage in encoder.backbone.layers
    ]
    # Twelve blocks in all; the last two, with 0.3 at the end, are left out.
    assert rates[:2] == [[0.0, 0.0], [0.0, 0.0]]
    assert rates[2] == pytest.approx([0.3 * i / 11 for i in range(4, 10)], abs=1e-6)


def test_the_patch_embedding_is_the_first_stage() -> None:
    encoder = SwinPyramid(NAME, frozen_stages=1)
    frozen = [n for n, p in encoder.named_parameters() if not p.requires_grad]
    assert {n.split(".")[1] for n in frozen} == {"patch_embed"}


def test_nothing_is_dropped_unless_asked_for(encoder: SwinPyramid) -> None:
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        still = encoder(image).embedding
        encoder.train()
        assert torch.equal(encoder(image).embedding, still)
        encoder.eval()
    lively = SwinPyramid(NAME, drop_path=0.5).train()
    with torch.inference_mode():
        assert not torch.equal(lively(image).embedding, lively(image).embedding)


def test_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match=r"timm has no Swin 'resnet50': there are .*swin_tiny"):
        SwinPyramid("resnet50")
    with pytest.raises(InputError, match="has no Swin 'swinv2_tiny_window8_256'"):
        SwinPyramid("swinv2_tiny_window8_256")
    with pytest.raises(InputError, match="none of stride 64"):
        SwinPyramid(NAME, strides=(4, 64))
    with pytest.raises(InputError, match=r"drop_path is 1\.5"):
        SwinPyramid(NAME, drop_path=1.5)
