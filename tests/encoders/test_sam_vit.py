from __future__ import annotations

from pathlib import Path
from typing import Any

import goldens
import pytest
import torch
from torch import Tensor

from vosfm import fusion
from vosfm.encoders import SamViT
from vosfm.errors import InputError

SMALL: dict[str, Any] = {
    "image_size": 64,
    "embed_dim": 16,
    "depth": 3,
    "num_heads": 2,
    "global_attn_indexes": (1,),
    "window_size": 3,
    "out_chans": 8,
}


def lively(**changes: Any) -> SamViT:
    """A small transformer whose position embeddings are not zero."""
    torch.manual_seed(0)
    encoder = SamViT(**{**SMALL, **changes})
    for parameter in encoder.vit.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return encoder.eval()


def save(encoder: SamViT, path: Path) -> str:
    weights = {f"image_encoder.{key}": value for key, value in encoder.vit.state_dict().items()}
    torch.save({**weights, "mask_decoder.iou_token.weight": torch.zeros(1)}, path)
    return str(path)


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_numbers_of_the_transformer(tmp_path: Path) -> None:
    golden = goldens.load("mmpm_image_encoder", "mmpm")
    vit = golden.params["vit"]
    torch.save(golden.weights(), tmp_path / "sam.pth")
    encoder = SamViT(
        image_size=vit["img_size"],
        embed_dim=vit["embed_dim"],
        depth=vit["depth"],
        num_heads=vit["num_heads"],
        global_attn_indexes=tuple(vit["global_attn_indexes"]),
        window_size=vit["window_size"],
        out_chans=vit["out_chans"],
        checkpoint=str(tmp_path / "sam.pth"),
    )
    pyramid, embedding = encoder.extract(golden.inputs["image"])
    golden.check("f16", embedding)
    assert pyramid == {16: embedding}


class TestPreparation:
    golden = goldens.load("sam_preprocess_mmpm", "mmpm")

    @pytest.mark.parametrize("name", ["image0", "image1"])
    @pytest.mark.parametrize(
        ("padding", "expected"), [("sam", "sam_norm_then_pad"), ("mmpm", "mmpm_pad_then_norm")]
    )
    def test_as_sam_and_mmpm_do(self, name: str, padding: Any, expected: str) -> None:
        encoder = SamViT(**SMALL, padding=padding)
        frame = self.golden.inputs[name].permute(2, 0, 1)[None].float() / 255
        geometry = encoder.geometry((frame.shape[2], frame.shape[3]))
        assert geometry.content == tuple(self.golden.outputs[f"resized_{name}"].shape[:2])
        prepared = encoder.prepare(frame, geometry)
        theirs = self.golden.outputs[f"{expected}_{name}"][None]
        assert prepared.shape == theirs.shape
        # Theirs rounds to whole values of a byte after each direction.
        error = ((prepared - theirs) * encoder.std).abs() * 255
        height, width = geometry.content
        assert error[..., :height, :width].max() <= 1
        error[..., :height, :width] = 0
        assert error.max() < 1e-3

    def test_sizes(self) -> None:
        with torch.device("meta"):
            encoder = SamViT(**{**SMALL, "image_size": 1024})
        for source, content in zip(
            self.golden.inputs["sizes"].tolist(),
            self.golden.outputs["shapes"].tolist(),
            strict=True,
        ):
            geometry = encoder.geometry(tuple(source))
            assert list(geometry.content) == content
            assert geometry.prepared == (1024, 1024)


def test_levels_for_skip_connections() -> None:
    encoder = lively(skips=(4, 6))
    features = encoder(image(40, 64))
    assert encoder.channels == {4: 4, 8: 6, 16: 8}
    shapes = {stride: tuple(level.shape[1:]) for stride, level in features.pyramid.items()}
    assert shapes == {4: (4, 16, 16), 8: (6, 8, 8), 16: (8, 4, 4)}
    alone = lively()
    alone.vit.load_state_dict(encoder.vit.state_dict())
    assert torch.equal(features.embedding, alone(image(40, 64)).embedding)


def test_levels_come_from_the_first_global_block() -> None:
    encoder = lively(skips=(4, 6))
    before = encoder(image(40, 64)).pyramid
    encoder.vit.blocks[2].mlp.lin2.bias.data.add_(1)
    after = encoder(image(40, 64)).pyramid
    assert [torch.equal(before[stride], after[stride]) for stride in (4, 8, 16)] == [1, 1, 0]
    encoder.vit.blocks[1].mlp.lin2.bias.data.add_(1)
    assert not torch.equal(encoder(image(40, 64)).pyramid[8], before[8])


@pytest.mark.parametrize("frozen", [True, False])
def test_what_trains(frozen: bool) -> None:
    encoder = SamViT(**SMALL, skips=(4, 6), frozen=frozen)
    assert encoder.training
    assert encoder.vit.training != frozen
    features = encoder(image(64, 64))
    sum(level.sum() for level in features.pyramid.values()).backward()
    assert features.embedding.requires_grad != frozen
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (not frozen or not name.startswith("vit."))
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_checkpoint_of_another_image_size(tmp_path: Path) -> None:
    """Embeddings that vary slowly over the image mean the same at half its size."""
    large = lively(image_size=128)
    line = torch.linspace(-1, 1, 8)
    large.vit.pos_embed.data = (line[:, None] + 2 * line)[None, :, :, None].expand(1, 8, 8, 16)
    table = torch.linspace(-1, 1, 15)[:, None].expand(15, 8)
    large.vit.blocks[1].attn.rel_pos_h.data = table.clone()
    small = SamViT(**SMALL, checkpoint=save(large, tmp_path / "sam.pth"))
    ends = torch.tensor([-0.86, 0.86])
    assert small.vit.pos_embed.shape == (1, 4, 4, 16)
    torch.testing.assert_close(
        small.vit.pos_embed[0, 1, [0, 3], 0] - small.vit.pos_embed[0, 1, :, 0].mean(),
        2 * ends,
        atol=0.1,
        rtol=0,
    )
    got = small.vit.blocks[1].attn.rel_pos_h[:, 0]
    assert got.shape == (7,)
    torch.testing.assert_close(got, torch.linspace(-1, 1, 7), atol=0.1, rtol=0)
    assert torch.equal(small.vit.blocks[0].attn.rel_pos_h, large.vit.blocks[0].attn.rel_pos_h)
    again = SamViT(**{**SMALL, "image_size": 128}, checkpoint=str(tmp_path / "sam.pth"))
    assert torch.equal(again(image(99, 128)).embedding, large(image(99, 128)).embedding)


def test_fusing_does_not_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to fold in it, and a frame takes long."""
    encoder = lively()
    monkeypatch.setattr(SamViT, "extract", None)
    copy = fusion._folded(encoder)
    assert copy is not encoder
    assert torch.equal(copy.get_parameter("vit.pos_embed"), encoder.vit.pos_embed)


class TestErrors:
    def test_a_transformer_of_another_size(self, tmp_path: Path) -> None:
        path = save(lively(), tmp_path / "sam_vit_x.pth")
        with pytest.raises(InputError) as error:
            SamViT(**{**SMALL, "embed_dim": 32}, checkpoint=path)
        for words in ("sam_vit_x.pth", "width 16, 3 blocks", "width 32, 3 blocks"):
            assert words in str(error.value)
        with pytest.raises(InputError, match=r"3 blocks.*the encoder is a.*2 blocks"):
            SamViT(**{**SMALL, "depth": 2}, checkpoint=path)

    def test_released_sizes_have_names(self, tmp_path: Path) -> None:
        weights = {"image_encoder.patch_embed.proj.bias": torch.zeros(1280)}
        weights |= {f"image_encoder.blocks.{i}.norm1.bias": torch.zeros(1) for i in range(32)}
        torch.save(weights, tmp_path / "sam.pth")
        with (
            torch.device("meta"),
            pytest.raises(
                InputError, match=r"ViT-H \(width 1280, 32 blocks\).*ViT-B \(width 768, 12 blocks\)"
            ),
        ):
            SamViT(checkpoint=str(tmp_path / "sam.pth"))

    def test_no_sam(self, tmp_path: Path) -> None:
        torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
        with pytest.raises(InputError, match=r"other\.pth: not a checkpoint of SAM"):
            SamViT(**SMALL, checkpoint=str(tmp_path / "other.pth"))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"image_size": 100}, "image_size is 100: give a multiple of 16"),
            ({"num_heads": 3}, "embed_dim 16 is not a multiple of num_heads 3"),
            ({"global_attn_indexes": (3,)}, "there are blocks 0 to 2"),
            ({"padding": "zero"}, "padding is 'zero'"),
        ],
    )
    def test_arguments(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            SamViT(**{**SMALL, **change})
