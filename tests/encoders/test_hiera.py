from __future__ import annotations

from typing import Any

import goldens
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vosfm.encoders import Hiera
from vosfm.errors import InputError

SMALL: dict[str, Any] = {
    "image_size": 64,
    "width": 8,
    "embed_dim": 8,
    "num_heads": 2,
    "stages": (1, 2, 2, 1),
    "global_blocks": (4,),
    "windows": (8, 4, 6, 3),
    "background_size": (3, 3),
}


def lively(**changes: Any) -> Hiera:
    """A small encoder whose position embeddings matter."""
    torch.manual_seed(0)
    encoder = Hiera(**{**SMALL, **changes})
    for parameter in encoder.trunk.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return encoder.eval()


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official weights by our names."""
    renamed = {}
    for key, weight in weights.items():
        key = key.removeprefix("image_encoder.")
        for old, new in (("mlp.layers.0", "mlp.fc1"), ("mlp.layers.1", "mlp.fc2")):
            key = key.replace(old, new)
        for index in range(4):
            key = key.replace(f"neck.convs.{index}.conv", f"lateral.{3 - index}")
        if not key.startswith("sam_mask_decoder"):
            renamed[key] = weight
    return renamed


@torch.inference_mode()
def test_numbers_of_the_released_tiny_one() -> None:
    golden = goldens.load("sam2_hiera_tiny_features", "sam2")
    weights = golden.weights()
    encoder = Hiera("tiny", image_size=256)
    encoder.load_state_dict(ours(weights))
    frames = golden.inputs["frames_small"].permute(0, 3, 1, 2).float() / 255
    features = encoder(frames.repeat_interleave(4, 2).repeat_interleave(4, 3))
    golden.check("image_mean", features.image.mean((2, 3)))
    for index, stage in enumerate(
        encoder.trunk.forward_intermediates(features.image, intermediates_only=True)
    ):
        golden.check(f"trunk_stage{index}_c::32_sp::2", stage[:, ::32, ::2, ::2])
    fine, middle, coarse = (features.pyramid[stride] for stride in (4, 8, 16))
    golden.check("fpn0_raw_c::32", fine[:, ::32])
    golden.check("fpn1_raw_c::16", middle[:, ::16])
    golden.check("fpn2_raw", features.embedding)
    assert coarse is features.embedding

    def project(level: Tensor, name: str) -> Tensor:
        name = f"sam_mask_decoder.{name}"
        return F.conv2d(level, weights[f"{name}.weight"], weights[f"{name}.bias"])

    golden.check("fpn0_s0_c::4", project(fine, "conv_s0")[:, ::4])
    golden.check("fpn1_s1_c::2", project(middle, "conv_s1")[:, ::2])


@pytest.mark.parametrize(
    ("name", "parameters", "background"),
    # As many as the official transformers have.
    [
        ("tiny", 26_849_472, 7),
        ("small", 33_947_328, 7),
        ("base_plus", 68_675_712, 14),
        ("large", 212_149_296, 7),
    ],
)
def test_released_sizes(name: Any, parameters: int, background: int) -> None:
    with torch.device("meta"):
        encoder = Hiera(name)
    assert sum(p.numel() for p in encoder.trunk.parameters()) == parameters
    assert encoder.trunk.pos_embed.shape[2:] == (background, background)
    assert encoder.image_size == (1024, 1024)
    assert encoder.channels == {4: 256, 8: 256, 16: 256}
    assert (encoder.width, encoder.stride) == (256, 16)


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (128, 160), (256, 320)])
def test_any_size(size: tuple[int, int]) -> None:
    """No window is whole at these sizes but those of the first stage."""
    encoder = lively(image_size=size)
    features = encoder(image(50, 70).expand(2, -1, -1, -1))
    assert features.image.shape == (2, 3, *size)
    for stride, channels in encoder.channels.items():
        level = features.pyramid[stride]
        assert level.shape == (2, channels, size[0] // stride, size[1] // stride)
    assert torch.equal(features.embedding[0], features.embedding[1])


def test_position_embeddings_at_another_size() -> None:
    """A background stretched over the image, and windows that repeat on it, as SAM 2 has them."""
    encoder = lively(image_size=(256, 320))
    encoder.trunk.patch_embed.proj.weight.data.zero_()
    encoder.trunk.patch_embed.proj.bias.data.zero_()
    seen: list[Tensor] = []
    encoder.trunk.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(image(256, 320))
    background = F.interpolate(encoder.trunk.pos_embed, size=(64, 80), mode="bicubic")
    windows = encoder.trunk.pos_embed_window.repeat(1, 1, 8, 10)
    torch.testing.assert_close(seen[0], (background + windows).permute(0, 2, 3, 1))


def test_windows_end_at_the_edge() -> None:
    """Maps of 10 by 6 in windows of 4: a change stays within its window, and its neighbours."""
    block = lively().trunk.blocks[2]
    maps = torch.randn(1, 10, 6, 16, generator=torch.Generator().manual_seed(0))
    changed = maps.clone()
    changed[0, 9, 5] += 100 * torch.randn(16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        differ = (block(maps) != block(changed))[0].any(-1)
    near = torch.zeros(10, 6, dtype=torch.bool)
    near[8:, 4:] = True
    assert torch.equal(differ, near)


def test_the_coarsest_stage_reaches_the_embedding_alone() -> None:
    encoder = lively()
    before = encoder(image(64, 64))
    encoder.get_parameter("lateral.3.bias").data.add_(1)
    after = encoder(image(64, 64))
    torch.testing.assert_close(after.embedding, before.embedding + 1)
    assert all(torch.equal(after.pyramid[s], before.pyramid[s]) for s in (4, 8))


class TestPreparation:
    @pytest.mark.parametrize("source", [(50, 70), (48, 200), (130, 90)])
    def test_as_pillow_resizes(self, source: tuple[int, int]) -> None:
        chance = np.random.default_rng(0)
        frame = chance.integers(90, 166, (*source, 3), dtype=np.uint8)
        theirs = Image.fromarray(frame).resize((96, 64), Image.Resampling.BICUBIC)
        error = self.resized(frame) - torch.from_numpy(np.array(theirs)).permute(2, 0, 1)
        # Pillow rounds to whole values of a byte after each direction.
        assert error.abs().max() < 1.5

    def test_edges_do_not_overshoot(self) -> None:
        frame = np.zeros((50, 70, 3), np.uint8)
        frame[20:, 30:] = 255
        resized = self.resized(frame)
        assert resized.min() > -0.001
        assert resized.max() < 255.001

    @staticmethod
    def resized(frame: NDArray[np.uint8]) -> Tensor:
        """What the encoder sees of a frame, (3, H, W) in bytes."""
        encoder = lively(image_size=(64, 96))
        images = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        prepared = encoder.prepare(images, encoder.geometry(frame.shape[:2]))
        return (prepared * encoder.std + encoder.mean)[0] * 255

    def test_of_the_right_size_only_normalised(self) -> None:
        encoder = lively()
        frame = image(64, 64)
        prepared = encoder.prepare(frame, encoder.geometry((64, 64)))
        assert torch.equal(prepared, (frame - encoder.mean) / encoder.std)

    def test_geometry(self) -> None:
        geometry = lively(image_size=(64, 96)).geometry((480, 854))
        assert geometry.source == (480, 854)
        assert geometry.content == geometry.prepared == (64, 96)
        assert not geometry.align_corners
        assert geometry.offset == (0, 0)


@pytest.mark.parametrize("frozen", [True, False])
def test_what_trains(frozen: bool) -> None:
    encoder = Hiera(**SMALL, frozen=frozen)
    for _ in range(2):
        assert encoder.trunk.training != frozen
        assert encoder.lateral.training != frozen
        encoder.train()
    features = encoder(image(64, 64))
    assert features.embedding.requires_grad != frozen
    if not frozen:
        sum(level.sum() for level in features.pyramid.values()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad != frozen
        assert (parameter.grad is not None) != frozen, name


def test_drop_path() -> None:
    encoder = lively(drop_path=0.5, frozen=False)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in encoder.trunk.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])

    def still(encoder: Hiera) -> bool:
        torch.manual_seed(0)
        return torch.equal(*(encoder(image(64, 64)).embedding for _ in range(2)))

    assert still(encoder)
    assert not still(encoder.train())
    assert still(lively(drop_path=0.5).train())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "huge"}, "no Hiera 'huge': give one of tiny, small, base_plus, large"),
        ({"image_size": 100}, "image_size is 100: give a multiple of 32"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": (64, 48)}, r"image_size is \(64, 48\): give a multiple of 32"),
        ({"image_size": (64, 64, 64)}, "two of them as height and width"),
        ({"drop_path": 1.0}, r"drop_path is 1\.0: give a rate in \[0, 1\)"),
        ({"stages": (1, 2, 1)}, r"stages \(1, 2, 1\): give four positive numbers"),
        ({"windows": (8, 4, 0, 7)}, r"windows \(8, 4, 0, 7\): give four positive numbers"),
        ({"windows": (6, 4, 6, 3)}, "the first must divide image_size / 4, which is 16 by 16"),
        ({"windows": (8, 4, 7, 7)}, "the first three are halved, give even ones"),
        ({"global_blocks": (6,)}, r"global_blocks \(6,\): there are blocks 0 to 5"),
        ({"global_blocks": (0, 3)}, r"\(0, 3\): block 3 is the first of its stage"),
        ({"num_heads": 3}, "embed_dim 8 is not a multiple of num_heads 3"),
    ],
)
def test_what_cannot_be_built(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Hiera(**{**SMALL, **change})
