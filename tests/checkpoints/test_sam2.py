from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import goldens
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import vosfm
from vosfm import zoo
from vosfm.checkpoints import sam2
from vosfm.checkpoints.loading import load
from vosfm.search import MemoryTree

OFFICIAL = {
    "sam2_tiny": (468, 38_946_242),
    "sam2_small": (516, 46_044_098),
    "sam2_base_plus": (612, 80_833_922),
    "sam2_large": (900, 224_430_386),
    "sam2_1_tiny": (471, 38_962_754),
    "sam2_1_small": (519, 46_060_610),
    "sam2_1_base_plus": (615, 80_850_434),
    "sam2_1_large": (903, 224_446_898),
}
"""Tensors and numbers in the state dicts of the released models."""

ONLY_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")


@cache
def _meta_model(name: str) -> vosfm.Segmenter:
    """A model without numbers: of any size, at no cost."""
    with torch.device("meta"):
        return vosfm.build(name)


def _released() -> dict[str, Tensor]:
    """The state dict of a SAM 2.1 tiny by Meta's keys; every tensor holds a number of its own."""
    shapes = goldens.load("sam2_e2e_mask_1obj", system="sam2").description["weights"]
    return {
        key: torch.tensor(float(index)).expand(shape) for index, (key, shape) in enumerate(shapes)
    }


def _2_0(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key not in ONLY_2_1}


class TestConfigs:
    @pytest.mark.parametrize("name", OFFICIAL)
    def test_as_many_numbers_as_the_released_model(self, name: str) -> None:
        weights = _meta_model(name).state_dict()
        # Four embeddings of points are one tensor here.
        count, numbers = OFFICIAL[name]
        assert len(weights) == count - 3
        assert sum(value.numel() for value in weights.values()) == numbers

    @pytest.mark.parametrize("name", [name for name in OFFICIAL if "2_1" in name])
    def test_a_long_one_is_the_same_model(self, name: str) -> None:
        _, short = zoo._read("model", name)
        _, long = zoo._read("model", f"{name}_long")
        assert set(long["model"]) == {"segmenter", "search"}
        assert long["model"]["segmenter"] == short["model"]["segmenter"]
        assert isinstance(zoo.build_search(f"{name}_long"), MemoryTree)

    def test_every_config_is_counted(self) -> None:
        there = {name.removesuffix("_long") for name in zoo.names() if name.startswith("sam2_")}
        assert there == set(OFFICIAL)


class TestTranslation:
    @pytest.mark.parametrize("name", ["sam2_1_tiny", "sam2_tiny"])
    def test_every_key_has_its_place(self, name: str) -> None:
        state = _released() if name == "sam2_1_tiny" else _2_0(_released())
        assert len(state) == OFFICIAL[name][0]
        ours = _meta_model(name).state_dict()
        translated = sam2.translate(state)
        assert {k: v.shape for k, v in translated.items()} == {k: v.shape for k, v in ours.items()}

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ("image_encoder.neck.convs.0.conv.bias", "encoder.lateral.3.bias"),
            (
                "image_encoder.trunk.blocks.9.mlp.layers.1.bias",
                "encoder.trunk.blocks.9.mlp.fc2.bias",
            ),
            ("maskmem_tpos_enc", "memory.reader.temporal"),
            ("no_obj_embed_spatial", "memory.reader.absent"),
            ("memory_attention.norm.weight", "memory.reader.norm.weight"),
            (
                "memory_attention.layers.1.cross_attn_image.k_proj.weight",
                "memory.reader.layers.1.cross_attention.to_key.weight",
            ),
            ("memory_attention.layers.3.norm2.bias", "memory.reader.layers.3.norm_cross.bias"),
            ("memory_encoder.fuser.layers.1.pwconv1.weight", "mask_encoder.blocks.1.expand.weight"),
            ("sam_mask_decoder.conv_s1.bias", "decoder.skip8.bias"),
            (
                "sam_mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.bias",
                "decoder.transformer.layers.1.image_to_token.project.bias",
            ),
            (
                "sam_mask_decoder.output_hypernetworks_mlps.2.layers.1.weight",
                "decoder.hyper.2.1.weight",
            ),
            ("sam_mask_decoder.iou_token.weight", "decoder.quality_token"),
            ("no_obj_ptr", "decoder.no_pointer"),
        ],
    )
    def test_names(self, theirs: str, ours: str) -> None:
        state = _released()
        assert sam2.translate(state)[ours].flatten()[0] == state[theirs].flatten()[0]

    @pytest.mark.parametrize(
        ("hugging_face", "meta"),
        [
            (
                "vision_encoder.backbone.blocks.1.layer_norm2.bias",
                "image_encoder.trunk.blocks.1.norm2.bias",
            ),
            ("vision_encoder.neck.convs.3.bias", "image_encoder.neck.convs.3.conv.bias"),
            (
                "memory_encoder.mask_downsampler.layers.2.layer_norm.bias",
                "memory_encoder.mask_downsampler.encoder.7.bias",
            ),
            (
                "mask_decoder.iou_prediction_head.proj_in.bias",
                "sam_mask_decoder.iou_prediction_head.layers.0.bias",
            ),
            (
                "mask_decoder.iou_prediction_head.layers.0.bias",
                "sam_mask_decoder.iou_prediction_head.layers.1.bias",
            ),
            ("object_pointer_proj.proj_out.bias", "obj_ptr_proj.layers.2.bias"),
            ("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
        ],
    )
    def test_hugging_face(self, hugging_face: str, meta: str) -> None:
        value = torch.ones(1, 3)
        marked = {"vision_encoder.backbone.pos_embed": value, hugging_face: value}
        (ours,) = sam2.translate({meta: value})
        assert ours in sam2.translate(marked)
        assert ours not in (meta, hugging_face)

    def test_the_matrix_that_hugging_face_has_twice(self) -> None:
        first, second = (
            f"{part}.positional_embedding"
            for part in ("shared_image_embedding", "prompt_encoder.shared_embedding")
        )
        matrix = torch.randn(2, 128)
        state = {"vision_encoder.backbone.pos_embed": torch.ones(1), first: matrix}
        once = {"encoder.trunk.pos_embed", "decoder.prompts.gaussian"}
        assert set(sam2.translate(state | {second: matrix.clone()})) == once
        assert set(sam2.translate(state | {second: matrix + 1})) == once | {second}


class TestLoading:
    def test_the_file_of_meta(self, tmp_path: Path) -> None:
        official = _released()
        torch.save({"model": official}, tmp_path / "sam2.1_hiera_tiny.pt")
        segmenter = vosfm.build("sam2_1_tiny")
        load(segmenter, tmp_path / "sam2.1_hiera_tiny.pt")
        weights = segmenter.state_dict()
        assert all(torch.equal(weights[k], v) for k, v in sam2.translate(official).items())

    def test_what_is_left_over_is_listed(self) -> None:
        state = _released() | {"backbone.extra": torch.ones(1)}
        with pytest.raises(vosfm.InputError, match=r"left over backbone\.extra"):
            vosfm.checkpoints.load_official(_meta_model("sam2_1_tiny"), state)

    def test_what_is_missing_is_listed(self) -> None:
        state = {k: v for k, v in _released().items() if "point_embeddings.3" not in k}
        words = r"missing decoder\.prompts\.points; left over sam_prompt_encoder\.point_emb"
        with pytest.raises(vosfm.InputError, match=words):
            vosfm.checkpoints.load_official(_meta_model("sam2_1_tiny"), state)

    @pytest.mark.parametrize(
        ("model", "change", "words"),
        [
            (
                "sam2_1_large",
                dict,
                "a checkpoint of SAM 2.1 tiny, the model is SAM 2.1 large: use the config "
                "model/sam2_1_tiny, or give sam2.1_hiera_large.pt to this one",
            ),
            (
                "sam2_tiny",
                dict,
                "a checkpoint of SAM 2.1 tiny, the model is SAM 2.0 tiny: use the config "
                "model/sam2_1_tiny, or give sam2_hiera_tiny.pt to this one",
            ),
            (
                "sam2_1_tiny",
                _2_0,
                "a checkpoint of SAM 2.0 tiny, the model is SAM 2.1 tiny: use the config "
                "model/sam2_tiny, or give sam2.1_hiera_tiny.pt to this one",
            ),
            (
                "aot_t",
                dict,
                "a checkpoint of SAM 2.1 tiny, the model is another one: use the config "
                "model/sam2_1_tiny",
            ),
        ],
        ids=["size", "2.1 into 2.0", "2.0 into 2.1", "another model"],
    )
    def test_another_release(
        self,
        tmp_path: Path,
        model: str,
        change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        words: str,
    ) -> None:
        path = tmp_path / "some.pt"
        torch.save({"model": change(_released())}, path)
        with pytest.raises(vosfm.InputError) as error:
            load(_meta_model(model), path)
        assert str(error.value) == f"{path}: {words}"

    @pytest.mark.parametrize("prefix", ["image_encoder.", "vision_encoder."])
    def test_the_first_sam(self, tmp_path: Path, prefix: str) -> None:
        state = {
            f"{prefix}patch_embed.proj.bias": torch.ones(768),
            "prompt_encoder.no_mask_embed.weight": torch.ones(1, 256),
        }
        save_file(state, tmp_path / "sam_vit_b.safetensors")
        words = r"sam_vit_b\.safetensors: .*first SAM.*config model/sam2_1_tiny"
        with pytest.raises(vosfm.InputError, match=words):
            load(_meta_model("sam2_1_tiny"), tmp_path / "sam_vit_b.safetensors")
