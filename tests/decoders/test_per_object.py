"""Decoders of single objects against the released XMem's and MMPM's, and what they owe each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import goldens
import pytest
import torch
from official_keys import DECODER, load
from torch import Tensor

from vosfm import InputError
from vosfm.decoders import Decoder, SingleScale, Upsampling
from vosfm.ops.resizing import restore
from vosfm.types import Decoded, Features, Geometry, Objects, Readout


def upsampling(hidden: int | None = 4, chunk: int | None = None) -> Upsampling:
    torch.manual_seed(0)
    return Upsampling(8, (6, 4), (5, 7), 16, hidden, chunk).eval()


def single_scale(hidden: int | None = 4, chunk: int | None = None) -> SingleScale:
    torch.manual_seed(0)
    return SingleScale(8, (6, 4), 16, hidden, chunk).eval()


KINDS = pytest.mark.parametrize("make", [upsampling, single_scale])


def objects(count: int, batch: int = 1) -> Objects:
    ids = torch.arange(1, count + 1).expand(batch, -1)
    alive = torch.ones(batch, count, dtype=torch.bool)
    return Objects(ids, alive, ids - 1, torch.zeros_like(ids))


def scene(
    count: int, batch: int = 1, size: tuple[int, int] = (64, 96)
) -> tuple[Features, tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    h, w = -(-size[0] // 16), -(-size[1] // 16)
    pyramid = {
        4: torch.randn(batch, 5, -(-size[0] // 4), -(-size[1] // 4)),
        8: torch.randn(batch, 7, -(-size[0] // 8), -(-size[1] // 8)),
    }
    features = Features(
        torch.empty(batch, 3, *size),
        pyramid,
        torch.randn(batch, 8, h, w),
        Geometry(size, size, size),
    )
    return features, (torch.randn(batch, count, 6, h, w), torch.randn(batch, count, 4, h, w))


def decode(decoder: Decoder, features: Features, maps: tuple[Tensor, ...], of: Objects) -> Decoded:
    return decoder(features, Readout(maps), of)


@torch.inference_mode()
def test_equals_the_released_xmem() -> None:
    golden = goldens.load("xmem_decoder", system="mmpm")
    decoder = Upsampling().eval()
    load(decoder, golden, DECODER)
    f16, f8, f4, hidden, memory = (
        golden.inputs[name] for name in ("f16", "f8", "f4", "h", "memory_readout")
    )
    geometry = Geometry((32, 48), (32, 48), (32, 48))
    features = Features(torch.empty(0), {4: f4, 8: f8}, f16, geometry)
    decoded = decode(decoder, features, (memory, hidden), objects(2))
    assert decoder.stride == 4
    assert decoder.identities is None
    golden.check("logits", restore(decoded.logits[:, :, 0], geometry))
    golden.check("new_h", decoded.carry["hidden"])


@torch.inference_mode()
def test_equals_the_released_mmpm() -> None:
    golden = goldens.load("mmpm_mask_decoder", system="mmpm")
    decoder = SingleScale().eval()
    load(decoder, golden, DECODER)
    f16, hidden, memory = (golden.inputs[name] for name in ("f16", "h", "memory_readout"))
    geometry = Geometry((64, 80), (64, 80), (64, 80))
    decoded = decode(
        decoder, Features(torch.empty(0), {}, f16, geometry), (memory, hidden), objects(2)
    )
    assert decoder.stride == 16
    golden.check("logits", restore(decoded.logits[:, :, 0], geometry)[..., ::4, ::4])
    golden.check("new_h", decoded.carry["hidden"])


@KINDS
@pytest.mark.parametrize("hidden", [4, None])
@pytest.mark.parametrize("chunk", [1, 2, 7])
@torch.inference_mode()
def test_a_few_at_a_time_are_the_same(
    make: Callable[..., Decoder], hidden: int | None, chunk: int
) -> None:
    features, maps = scene(3, batch=2)
    whole = decode(make(hidden), features, maps, objects(3, 2))
    assert whole.logits.shape[:3] == (2, 3, 1)
    assert set(whole.carry) == ({"hidden"} if hidden else set())
    assert make(hidden).updates == bool(hidden)
    few = decode(make(hidden, chunk), features, maps, objects(3, 2))
    torch.testing.assert_close(few.logits, whole.logits)
    torch.testing.assert_close(few.carry, whole.carry)


@KINDS
@torch.inference_mode()
def test_objects_and_samples_do_not_see_each_other(make: Callable[..., Decoder]) -> None:
    features, maps = scene(3, batch=2)
    decoder = make()
    whole = decode(decoder, features, maps, objects(3, 2))
    order = [2, 0, 1]
    turned = decode(decoder, features, (maps[0][:, order], maps[1][:, order]), objects(3, 2))
    torch.testing.assert_close(turned.logits, whole.logits[:, order])
    torch.testing.assert_close(turned.carry["hidden"], whole.carry["hidden"][:, order])
    alone = replace(
        features,
        pyramid={stride: level[1:] for stride, level in features.pyramid.items()},
        embedding=features.embedding[1:],
    )
    second = decode(decoder, alone, (maps[0][1:, 1:2], maps[1][1:, 1:2]), objects(1))
    torch.testing.assert_close(second.logits, whole.logits[1:, 1:2])
    torch.testing.assert_close(second.carry["hidden"], whole.carry["hidden"][1:, 1:2])
    dead = replace(objects(3, 2), alive=torch.tensor([[True, False, True]] * 2))
    maps[0][:, 1] = 1e3
    padded = decode(decoder, features, maps, dead)
    torch.testing.assert_close(padded.logits[:, [0, 2]], whole.logits[:, [0, 2]])


@KINDS
@torch.inference_mode()
def test_one_row_may_serve_all_objects(make: Callable[..., Decoder]) -> None:
    features, (memory, hidden) = scene(3)
    decoder = make(chunk=2)
    shared = decode(decoder, features, (memory, hidden[:, :1]), objects(3))
    repeated = decode(decoder, features, (memory, hidden[:, [0, 0, 0]]), objects(3))
    torch.testing.assert_close(shared.logits, repeated.logits)
    torch.testing.assert_close(shared.carry["hidden"], repeated.carry["hidden"])


@KINDS
@pytest.mark.parametrize("rows", [0, 1])
@torch.inference_mode()
def test_nobody_is_no_rows(make: Callable[..., Decoder], rows: int) -> None:
    features, maps = scene(rows, batch=2)
    some, others = scene(1, batch=2)
    size = decode(make(), some, others, objects(1, 2)).logits.shape[3:]
    nothing = decode(make(), features, maps, objects(0, 2))
    assert nothing.logits.shape == (2, 0, 1, *size)
    assert nothing.carry["hidden"].shape == (2, 0, 4, 4, 6)


@KINDS
@pytest.mark.parametrize("size", [(50, 83), (33, 17), (16, 16)])
@torch.inference_mode()
def test_odd_sizes(make: Callable[..., Decoder], size: tuple[int, int]) -> None:
    features, maps = scene(2, size=size)
    decoder = make()
    decoded = decode(decoder, features, maps, objects(2))
    level = features.pyramid[4] if decoder.stride == 4 else features.embedding
    assert decoded.logits.shape == (1, 2, 1, *level.shape[2:])
    assert decoded.carry["hidden"].shape == maps[1].shape


@KINDS
def test_every_weight_and_every_input_learns(make: Callable[..., Decoder]) -> None:
    features, maps = scene(2)
    leaves = [features.embedding, *maps]
    if make is upsampling:
        leaves += features.pyramid.values()
    for leaf in leaves:
        leaf.requires_grad_()
    decoder = make(chunk=1).train()
    decoded = decode(decoder, features, maps, objects(2))
    (decoded.logits.square().sum() + decoded.carry["hidden"].square().sum()).backward()
    for tensor in (*leaves, *decoder.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


@KINDS
def test_misfits_are_named(make: Callable[..., Decoder]) -> None:
    features, maps = scene(2)
    with pytest.raises(InputError, match=r"takes readouts \(6, 4\), the memory gives \(6,\)"):
        decode(make(), features, maps[:1], objects(2))
    with pytest.raises(InputError, match=r"last of readouts \(6, 4\) must be the hidden state"):
        make(hidden=6)
    with pytest.raises(InputError, match="chunk is 0"):
        make(chunk=0)
