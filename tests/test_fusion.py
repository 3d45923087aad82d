"""Fused models against what they were made of."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from models import square, tiny, video
from torch import Tensor, nn

import vosfm
from vosfm import InputError, Segmenter, Tracker
from vosfm.decoders import SingleScale
from vosfm.encoders import Encoder, TimmPyramid
from vosfm.fusion import fuse
from vosfm.mask_encoders import ResNetValues
from vosfm.memory import Affinity, Memory, Temporal
from vosfm.types import Geometry, Size


def unsettle(module: nn.Module) -> None:
    """Statistics and weights of normalisations as after a training, none of them neutral."""
    chance = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.running_mean.uniform_(-0.3, 0.3, generator=chance)
            norm.running_var.uniform_(0.5, 1.5, generator=chance)
            norm.weight.data.uniform_(0.5, 1.5, generator=chance)
            norm.bias.data.uniform_(-0.3, 0.3, generator=chance)


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())


def with_encoder(encoder: Encoder) -> Segmenter:
    """Parts of any sort that fit the encoder; none of them is folded."""
    width = encoder.width
    return Segmenter(
        encoder,
        ResNetValues(width, 8, "test_resnet"),
        Memory({"temporal": Temporal(1)}, Affinity(width, 4, 8)),
        SingleScale(width, (8,), 8, None),
    ).eval()


@torch.inference_mode()
def check_features(ours: Encoder, theirs: Encoder) -> None:
    image = torch.rand(1, 3, 70, 90, generator=torch.Generator().manual_seed(1))
    one, other = ours(image), theirs(image)
    assert one.geometry == other.geometry
    maps = [(one.embedding, other.embedding)]
    maps += [(one.pyramid[stride], level) for stride, level in other.pyramid.items()]
    for ours_map, theirs_map in maps:
        scale = float(theirs_map.abs().max())
        torch.testing.assert_close(ours_map, theirs_map, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t", "regnetx_002"])
def test_no_normalisation_is_left_and_features_are_equal(name: str) -> None:
    torch.manual_seed(0)
    encoder = TimmPyramid(name, width=16, cut=name != "mobilenetv2_035")
    unsettle(encoder)
    segmenter = with_encoder(encoder)
    assert norms(encoder)
    fused = fuse(segmenter)
    assert not norms(fused.encoder)
    check_features(fused.encoder, encoder)


def test_the_original_stays_as_it_was() -> None:
    segmenter = tiny()
    unsettle(segmenter)
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    modules = [type(m) for m in segmenter.modules()]
    fused = fuse(segmenter)
    assert [type(m) for m in segmenter.modules()] == modules
    for key, value in segmenter.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.is_contiguous()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in segmenter.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in fused.modules())
    assert fused.memory is segmenter.memory


def test_a_stream_is_that_of_the_original() -> None:
    segmenter = tiny()
    unsettle(segmenter)
    streams = [
        list(Tracker(model).track(video(4), {0: {1: square(0, 0), 2: square(30, 50)}}))
        for model in (segmenter, fuse(segmenter))
    ]
    assert streams[0][-1].masks.any()
    for one, other in zip(*streams, strict=True):
        assert (one.masks == other.masks).mean() > 0.99
        assert one.scores == pytest.approx(other.scores, abs=1e-2)


class Odd(Encoder):
    """Normalisations that no convolution before them can take over, and one that can."""

    width, stride, channels = 4, 1, {1: 4}

    def __init__(self) -> None:
        super().__init__((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.behind_relu = nn.BatchNorm2d(4)
        self.twice = nn.Conv2d(4, 4, 1)
        self.once = nn.BatchNorm2d(4)
        self.own = nn.Conv2d(4, 4, 1, bias=False)
        self.foldable = nn.BatchNorm2d(4)

    def geometry(self, source: Size) -> Geometry:
        return Geometry(source, source, source)

    def prepare(self, images: Tensor, geometry: Geometry) -> Tensor:
        return images

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        maps = self.behind_relu(self.enter(image).relu())
        maps = self.twice(self.once(self.twice(maps)))
        return {1: maps}, self.foldable(self.own(maps))


def test_only_what_follows_a_convolution_is_folded() -> None:
    torch.manual_seed(0)
    encoder = Odd().eval()
    unsettle(encoder)
    fused = fuse(with_encoder(encoder))
    assert norms(fused.encoder) == 2
    check_features(fused.encoder, encoder)


class Shared(Odd):
    """What its last convolution makes is read twice."""

    def extract(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        maps = self.own(self.enter(image))
        return {1: maps}, maps + self.foldable(maps)


def test_nothing_is_folded_that_something_else_reads() -> None:
    torch.manual_seed(0)
    encoder = Shared().eval()
    unsettle(encoder)
    fused = fuse(with_encoder(encoder))
    assert norms(fused.encoder) == norms(encoder)
    check_features(fused.encoder, encoder)


def test_an_augmented_model_is_refused() -> None:
    with pytest.raises(InputError, match="cannot fuse Augmented"):
        fuse(vosfm.augment(tiny(), flip=True))


def test_objects_seen_alone_are_what_the_original_sees() -> None:
    torch.manual_seed(0)
    segmenter = vosfm.build("xmem").eval()
    unsettle(segmenter)
    before = deepcopy(segmenter.state_dict())
    fused = fuse(segmenter)
    assert segmenter.decoder.chunk is None
    assert segmenter.mask_encoder.chunk is None
    assert fused.decoder.chunk == fused.mask_encoder.chunk == 1
    assert all(torch.equal(value, before[key]) for key, value in segmenter.state_dict().items())
    for weight in segmenter.parameters():
        assert weight.is_contiguous()
    size = (96, 128)
    places = {1: (0, 0), 2: (30, 50), 3: (60, 0)}
    given = {0: {i: square(*place, size=size) for i, place in places.items()}}
    streams = [list(Tracker(model).track(video(3, size), given)) for model in (segmenter, fused)]
    for one, other in zip(*streams, strict=True):
        assert (one.masks == other.masks).mean() > 0.99
        assert one.scores == pytest.approx(other.scores, abs=1e-3)


def test_a_chunk_that_is_given_stays() -> None:
    segmenter = with_encoder(TimmPyramid("test_resnet", width=16))
    segmenter.decoder.chunk, segmenter.mask_encoder.chunk = 3, 2
    fused = fuse(segmenter)
    assert (fused.decoder.chunk, fused.mask_encoder.chunk) == (3, 2)
