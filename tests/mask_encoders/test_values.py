"""Value encoders against the released XMem's and MMPM's, and what they owe to every object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import goldens
import pytest
import torch
from official_keys import VALUES, load
from torch import Tensor, nn

from vosfm import InputError
from vosfm.mask_encoders import ResNetValues, ValueEncoder, ViTValues
from vosfm.ops.resizing import resize
from vosfm.types import Features, Geometry, Objects

SIDE = 64


def resnet(chunk: int | None = None) -> ResNetValues:
    torch.manual_seed(0)
    return ResNetValues(embedding=8, width=16, name="test_resnet", chunk=chunk).eval()


def vit(chunk: int | None = None) -> ViTValues:
    torch.manual_seed(0)
    encoder = ViTValues(SIDE, 16, 12, 2, 2, (1,), 3, 10, embedding=8, width=16, chunk=chunk)
    nn.init.normal_(encoder.vit.pos_embed)
    return encoder.eval()


KINDS = pytest.mark.parametrize("make", [resnet, vit])


def objects(count: int, batch: int = 1) -> Objects:
    ids = torch.arange(1, count + 1).expand(batch, -1)
    alive = torch.ones(batch, count, dtype=torch.bool)
    return Objects(ids, alive, ids - 1, torch.zeros_like(ids))


def scene(count: int, batch: int = 1, side: int = SIDE) -> tuple[Features, Tensor]:
    """An image with its embedding, and masks that share each pixel as probabilities do."""
    torch.manual_seed(1)
    size = (side, side)
    image, embedding = torch.randn(batch, 3, *size), torch.randn(batch, 8, side // 16, side // 16)
    features = Features(image, {16: embedding}, embedding, Geometry(size, size, size))
    return features, torch.randn(batch, count + 1, *size).softmax(1)[:, 1:]


@torch.inference_mode()
def test_equals_the_released_xmem() -> None:
    golden = goldens.load("xmem_value_encoder", system="mmpm")
    encoder = ResNetValues().eval()
    load(encoder, golden, VALUES, without="hidden_reinforce.")
    image, masks = golden.inputs["image"], golden.inputs["masks"]
    size = (image.shape[2], image.shape[3])
    features = Features(image, {}, golden.inputs["f16"], Geometry(size, size, size))
    golden.check("g16", encoder(features, masks, objects(2)).maps)


@torch.inference_mode()
def test_takes_the_weights_of_the_released_mmpm() -> None:
    """Its network over five channels, then the fusion; one object has no others."""
    golden = goldens.load("mmpm_e2e_small_deep0", system="mmpm")
    encoder = ViTValues(256, 16, 64, 2, 2, (1,), 14).eval()
    load(encoder, golden, VALUES, prefix="value_encoder.", without="hidden_reinforce.")
    image, masks = torch.randn(1, 3, 256, 256), torch.rand(1, 1, 256, 256)
    embedding = torch.randn(1, 256, 16, 16)
    features = Features(image, {}, embedding, Geometry((256, 256), (256, 256), (256, 256)))
    maps = encoder.vit(torch.cat((image, masks, torch.zeros_like(masks)), 1))
    expected = encoder.fuse(embedding, maps.unsqueeze(1))
    ours = encoder(features, masks, objects(1)).maps
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)


@KINDS
@pytest.mark.parametrize("chunk", [1, 2, 7])
@torch.inference_mode()
def test_a_few_at_a_time_are_the_same(make: Callable[..., ValueEncoder], chunk: int) -> None:
    features, masks = scene(3, batch=2)
    whole = make()(features, masks, objects(3, 2))
    assert whole.maps.shape == (2, 3, 16, SIDE // 16, SIDE // 16)
    torch.testing.assert_close(make(chunk)(features, masks, objects(3, 2)), whole)


@KINDS
@torch.inference_mode()
def test_order_and_company_of_samples_do_not_matter(make: Callable[..., ValueEncoder]) -> None:
    features, masks = scene(3, batch=2)
    encoder = make()
    maps = encoder(features, masks, objects(3, 2)).maps
    order = [2, 0, 1]
    torch.testing.assert_close(
        encoder(features, masks[:, order], objects(3, 2)).maps, maps[:, order]
    )
    alone = replace(features, image=features.image[1:], embedding=features.embedding[1:])
    torch.testing.assert_close(encoder(alone, masks[1:], objects(3)).maps, maps[1:])


@KINDS
@torch.inference_mode()
def test_the_dead_and_the_void_are_not_there(make: Callable[..., ValueEncoder]) -> None:
    features, masks = scene(3)
    encoder = make()
    present = objects(3)
    dead = replace(present, alive=torch.tensor([[True, False, True]]))
    maps = encoder(features, masks, dead).maps
    alone = encoder(features, masks[:, [0, 2]], objects(2)).maps
    torch.testing.assert_close(maps[:, [0, 2]], alone)
    void = torch.rand(1, SIDE, SIDE) > 0.5
    blanked = encoder(features, masks * ~void[:, None], present).maps
    torch.testing.assert_close(encoder(features, masks, present, void).maps, blanked)
    assert not torch.allclose(blanked, encoder(features, masks, present).maps, atol=1e-4)


@KINDS
@torch.inference_mode()
def test_others_matter_and_overlaps_count_once(make: Callable[..., ValueEncoder]) -> None:
    features, _ = scene(0)
    encoder = make()
    first = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    other = first.clone()
    first[..., :30], other[..., 20:50] = True, True
    pair = encoder(features, torch.cat((first, other), 1), objects(2)).maps[:, :1]
    thrice = encoder(features, torch.cat((first, other, other), 1), objects(3)).maps[:, :1]
    torch.testing.assert_close(pair, thrice)
    alone = encoder(features, first, objects(1)).maps
    assert not torch.allclose(pair, alone, atol=1e-4)


@KINDS
def test_gradients_reach_the_probabilities(make: Callable[..., ValueEncoder]) -> None:
    features, masks = scene(2)
    masks.requires_grad_()
    (towards,) = torch.autograd.grad(
        make()(features, masks, objects(2)).maps[:, 0].square().sum(), masks
    )
    assert towards[:, 0].abs().sum() > 0
    assert towards[:, 1].abs().sum() > 0


@KINDS
@torch.inference_mode()
def test_nobody_is_no_rows(make: Callable[..., ValueEncoder]) -> None:
    features, masks = scene(0, batch=2)
    maps = make()(features, masks, objects(0, 2)).maps
    assert maps.shape == (2, 0, 16, SIDE // 16, SIDE // 16)


@torch.inference_mode()
def test_odd_sizes_take_the_size_of_the_embedding() -> None:
    features, masks = scene(2, side=57)  # 4 tokens from the network, 3 in the embedding
    assert resnet()(features, masks, objects(2)).maps.shape == (1, 2, 16, 3, 3)


def test_frozen_normalisation_neither_learns_nor_counts() -> None:
    encoder = ResNetValues(8, 16, "test_resnet", frozen_norm=True).train()
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert encoder.training
    assert not any(norm.training for norm in norms)
    assert not any(weight.requires_grad for norm in norms for weight in norm.parameters())
    features, masks = scene(2)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder(features, masks, objects(2))
    torch.testing.assert_close(encoder.state_dict(), before)


@torch.inference_mode()
def test_a_vit_sees_other_sizes_stretched() -> None:
    encoder = vit()
    features, masks = scene(2, side=48)
    maps = encoder(features, masks, objects(2)).maps
    assert maps.shape == (1, 2, 16, 3, 3)
    image, large = resize(features.image, (SIDE, SIDE)), resize(masks, (SIDE, SIDE))
    planes = torch.stack((large, large.flip(1)), 2)[0]
    seen = encoder.vit(torch.cat((image.expand(2, -1, -1, -1), planes), 1))
    expected = encoder.fuse(features.embedding, resize(seen, (3, 3)).unsqueeze(0))
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ResNetValues(name="vit_tiny_patch16_224"), "no ResNet 'vit_tiny_patch16_224'"),
        (lambda: ResNetValues(8, 16, "test_resnet", chunk=0), "chunk is 0"),
    ],
)
def test_unusable_arguments_are_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
