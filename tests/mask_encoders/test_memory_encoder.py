"""The memory encoder against the released SAM 2's, and what it owes to every object."""

from __future__ import annotations

from dataclasses import replace

import goldens
import pytest
import torch
from official_keys import load
from torch import Tensor

from vosfm import InputError
from vosfm.mask_encoders import MemoryEncoder
from vosfm.types import Features, Geometry, Objects

SIDE = 64

NAMES = {
    r"mask_downsampler\.encoder\.": "downsample.",
    r"pix_feat_proj\.": "enter.",
    r"fuser\.layers\.(\d+)\.dwconv\.": r"blocks.\1.depthwise.",
    r"fuser\.layers\.(\d+)\.pwconv1\.": r"blocks.\1.expand.",
    r"fuser\.layers\.(\d+)\.pwconv2\.": r"blocks.\1.contract.",
    r"fuser\.layers\.(\d+)\.": r"blocks.\1.",
    r"out_proj\.": "exit.",
}


def encoder(chunk: int | None = None) -> MemoryEncoder:
    torch.manual_seed(0)
    encoder = MemoryEncoder(embedding=32, width=8, chunk=chunk).eval()
    for block in encoder.blocks:
        torch.nn.init.ones_(block.gamma)
    return encoder


def objects(count: int, batch: int = 1) -> Objects:
    ids = torch.arange(1, count + 1).expand(batch, -1)
    alive = torch.ones(batch, count, dtype=torch.bool)
    return Objects(ids, alive, ids - 1, torch.zeros_like(ids))


def scene(count: int, batch: int = 1, side: int = SIDE) -> tuple[Features, Tensor]:
    torch.manual_seed(1)
    size = (side, side)
    image, embedding = torch.zeros(batch, 3, *size), torch.randn(batch, 32, side // 16, side // 16)
    features = Features(image, {16: embedding}, embedding, Geometry(size, size, size))
    return features, torch.rand(batch, count, *size)


@torch.inference_mode()
def test_equals_the_released_sam2() -> None:
    golden = goldens.load("sam2_memory_encoder", system="sam2")
    ours = MemoryEncoder().eval()
    load(ours, golden, NAMES, prefix="memory_encoder.")
    embedding, logits = golden.inputs["pix_feat"], golden.inputs["mask_logits"]
    size = (96, 96)
    features = Features(torch.empty(0), {}, embedding, Geometry(size, size, size))
    maps = ours(features, logits.sigmoid(), objects(1, 2)).maps[:, 0]
    golden.check("mem_sigmoid_without_no_obj_embed", maps)
    # Masks given as such, of which the released code then adds that nobody is there.
    gone = golden.inputs["object_score_logits"] <= 0
    absent = gone[..., None, None] * golden.weights()["no_obj_embed_spatial"][0, :, None, None]
    golden.check("mem_binarized", ours(features, logits > 0, objects(1, 2)).maps[:, 0] + absent)


@pytest.mark.parametrize("chunk", [1, 2, 7])
@torch.inference_mode()
def test_a_few_at_a_time_are_the_same(chunk: int) -> None:
    features, masks = scene(3, batch=2)
    whole = encoder()(features, masks, objects(3, 2))
    assert whole.maps.shape == (2, 3, 8, SIDE // 16, SIDE // 16)
    torch.testing.assert_close(encoder(chunk)(features, masks, objects(3, 2)), whole)


@torch.inference_mode()
def test_objects_and_samples_know_nothing_of_each_other() -> None:
    features, masks = scene(3, batch=2)
    maps = encoder()(features, masks, objects(3, 2)).maps
    assert not torch.allclose(maps[:, 0], maps[:, 1], atol=1e-3)
    for sample in range(2):
        one = replace(features, embedding=features.embedding[sample : sample + 1])
        for column in range(3):
            alone = encoder()(one, masks[sample : sample + 1, [column]], objects(1)).maps
            torch.testing.assert_close(alone[0, 0], maps[sample, column], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_void_belongs_to_nobody() -> None:
    features, masks = scene(2)
    void = torch.rand(1, SIDE, SIDE) > 0.5
    blanked = encoder()(features, masks * ~void[:, None], objects(2)).maps
    torch.testing.assert_close(encoder()(features, masks, objects(2), void).maps, blanked)
    assert not torch.allclose(blanked, encoder()(features, masks, objects(2)).maps, atol=1e-3)


@torch.inference_mode()
def test_masks_may_be_bool() -> None:
    features, masks = scene(2)
    expected = encoder()(features, (masks > 0.5).float(), objects(2)).maps
    assert torch.equal(encoder()(features, masks > 0.5, objects(2)).maps, expected)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("side", [49, 57])
@torch.inference_mode()
def test_other_sizes_take_the_size_of_the_embedding(side: int, align_corners: bool) -> None:
    features, masks = scene(2, side=side)  # 4 tokens a side from the masks, 3 in the embedding
    geometry = replace(features.geometry, align_corners=align_corners)
    ours = MemoryEncoder(embedding=32, width=8, layers=0)
    maps = ours(replace(features, geometry=geometry), masks, objects(2)).maps
    small = ours.downsample(20 * masks[0, :, None] - 10)
    assert small.shape[2:] == (4, 4)
    small = torch.nn.functional.interpolate(
        small, size=(3, 3), mode="bilinear", align_corners=align_corners
    )
    torch.testing.assert_close(maps[0], ours.exit(ours.enter(features.embedding) + small))


@torch.inference_mode()
def test_masks_take_the_type_of_the_embedding() -> None:
    features, masks = scene(2)
    half = replace(features, embedding=features.embedding.bfloat16())
    assert encoder().bfloat16()(half, masks, objects(2)).maps.dtype == torch.bfloat16


@torch.inference_mode()
def test_nobody_is_no_rows() -> None:
    features, masks = scene(0, batch=2)
    maps = encoder()(features, masks, objects(0, 2)).maps
    assert maps.shape == (2, 0, 8, SIDE // 16, SIDE // 16)


def test_gradients_reach_an_object_s_own_probabilities() -> None:
    features, masks = scene(2)
    masks.requires_grad_()
    maps = encoder()(features, masks, objects(2)).maps
    (towards,) = torch.autograd.grad(maps[:, 0].square().sum(), masks)
    assert towards[:, 0].abs().sum() > 0
    assert not towards[:, 1].any()


def test_unusable_chunks_are_named() -> None:
    with pytest.raises(InputError, match="chunk is 0"):
        MemoryEncoder(32, 8, chunk=0)
