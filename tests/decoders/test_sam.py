from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor

from vosfm import InputError
from vosfm.checkpoints.sam import load_mask_decoder
from vosfm.decoders import SamDecoder
from vosfm.types import Decoded, Features, Geometry, Objects, Readout

WIDTH = 32
SIZES: dict[str, Any] = {"embedding": 6, "readouts": (5, 3), "width": WIDTH}


def decoder(**changes: Any) -> SamDecoder:
    torch.manual_seed(0)
    return SamDecoder(**{**SIZES, **changes}).eval()


def frame(batch: int = 1, height: int = 4, width: int = 6) -> Features:
    torch.manual_seed(1)
    size = (16 * height, 16 * width)
    pyramid = {
        4: torch.randn(batch, 2, 4 * height, 4 * width),
        8: torch.randn(batch, 7, 2 * height, 2 * width),
        16: torch.randn(batch, 6, height, width),
    }
    geometry = Geometry(size, size, size)
    return Features(torch.zeros(batch, 3, *size), pyramid, pyramid[16], geometry)


def seen(rows: int, batch: int = 1, height: int = 4, width: int = 6) -> Readout:
    torch.manual_seed(2)
    maps = tuple(torch.randn(batch, rows, c, height, width) for c in SIZES["readouts"])
    return Readout(maps)


def objects(count: int, batch: int = 1) -> Objects:
    numbers = torch.arange(count).expand(batch, -1)
    return Objects(numbers + 1, numbers >= 0, numbers, torch.zeros_like(numbers))


def run(model: SamDecoder, features: Features, readout: Readout) -> Decoded:
    batch, count = readout.maps[0].shape[:2]
    decoded: Decoded = model(features, readout, objects(count, batch))
    return decoded


class Released(NamedTuple):
    """SAM's own mask decoder, and a state dict that it is a part of."""

    decoder: MaskDecoder
    state: dict[str, Tensor]


@pytest.fixture(scope="module")
def sam() -> Released:
    torch.manual_seed(3)
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=8, mlp_dim=2048)
    own = MaskDecoder(transformer_dim=WIDTH, transformer=transformer).eval()
    state = {f"mask_decoder.{key}": value for key, value in own.state_dict().items()}
    name = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    return Released(own, {**state, name: torch.randn(2, WIDTH // 2)})


@pytest.mark.parametrize("candidates", [1, 3])
def test_without_skips_it_is_sam(
    sam: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    """On the fused map, as SAM decodes an image's embedding without any prompt."""
    torch.save(sam.state, tmp_path / "sam.pth")
    ours = decoder(candidates=candidates)
    load_mask_decoder(ours, tmp_path / "sam.pth")
    fused = torch.randn(1, 2, WIDTH, 4, 6)
    monkeypatch.setattr(ours.fuse, "complete", lambda image, rows: fused)
    decoded = run(ours, frame(), seen(2))
    for column in range(2):
        masks, scores = sam.decoder(
            image_embeddings=fused[:, column],
            image_pe=ours.positions((4, 6))[None],
            sparse_prompt_embeddings=torch.zeros(1, 0, WIDTH),
            dense_prompt_embeddings=torch.zeros(1, WIDTH, 4, 6),
            multimask_output=candidates == 3,
        )
        torch.testing.assert_close(decoded.logits[:, column], masks)
        if candidates == 1:
            assert decoded.scores is None
        else:
            assert decoded.scores is not None
            torch.testing.assert_close(decoded.scores[:, column], scores.sigmoid())
    assert torch.equal(
        ours.positions.positional_encoding_gaussian_matrix, list(sam.state.values())[-1]
    )


def test_skips_join_before_the_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias before an activation acts as the bias of the convolution before it."""
    ours, features, readout = decoder(skips=(2, 7)), frame(), seen(2)
    assert ours.skip4 is not None
    assert ours.skip8 is not None
    for skip in (ours.skip4, ours.skip8):
        torch.nn.init.zeros_(skip.weight)
        torch.nn.init.normal_(skip.bias)
    climb8, _, _, climb4, _ = ours.mask_decoder.output_upscaling
    with_skips = run(ours, features, readout).logits
    climb8.bias.data += ours.skip8.bias.data
    climb4.bias.data += ours.skip4.bias.data
    without = run(ours, features, readout).logits
    assert not torch.allclose(with_skips, without)
    monkeypatch.setattr(ours, "skip4", None)
    monkeypatch.setattr(ours, "skip8", None)
    torch.testing.assert_close(run(ours, features, readout).logits, with_skips)


@pytest.mark.parametrize("stride", [4, 8])
def test_a_skip_is_seen_where_it_lies(stride: int) -> None:
    ours, features, readout = decoder(skips=(2, 7)), frame(), seen(2)
    before = run(ours, features, readout).logits
    changed = features.pyramid[stride].clone()
    changed[..., -1, 0] += 5
    pyramid = {**features.pyramid, stride: changed}
    after = run(ours, replace(features, pyramid=pyramid), readout).logits
    difference = (before != after).any(2)[0]
    reach = stride // 4
    assert difference[:, -reach:, :reach].all()
    difference[:, -reach:, :reach] = False
    assert not difference.any()


@pytest.mark.parametrize("candidates", [1, 3])
def test_shapes(candidates: int) -> None:
    decoded = run(decoder(candidates=candidates, skips=(2, 7)), frame(2), seen(3, 2))
    assert decoded.logits.shape == (2, 3, candidates, 16, 24)
    assert decoded.background is None
    assert not decoded.carry
    if candidates == 3:
        assert decoded.scores is not None
        assert decoded.scores.shape == (2, 3, 3)
        assert bool(((decoded.scores >= 0) & (decoded.scores <= 1)).all())


@pytest.mark.parametrize("candidates", [1, 3])
def test_objects_do_not_see_each_other(candidates: int) -> None:
    ours, features, readout = decoder(candidates=candidates, skips=(2, 7)), frame(2), seen(4, 2)
    decoded = run(ours, features, readout)
    order = [2, 0, 3, 1]
    mixed = run(ours, features, Readout(tuple(maps[:, order] for maps in readout.maps)))
    torch.testing.assert_close(mixed.logits, decoded.logits[:, order])
    alone = run(ours, features, Readout(tuple(maps[:, 2:3] for maps in readout.maps)))
    torch.testing.assert_close(alone.logits, decoded.logits[:, 2:3])
    assert not torch.allclose(decoded.logits[:, 0], decoded.logits[:, 1])
    assert not torch.allclose(decoded.logits[0], decoded.logits[1])
    if candidates == 3:
        assert mixed.scores is not None
        assert decoded.scores is not None
        torch.testing.assert_close(mixed.scores, decoded.scores[:, order])


def test_samples_do_not_see_each_other() -> None:
    ours, features, readout = decoder(skips=(2, 7)), frame(2), seen(3, 2)
    together = run(ours, features, readout).logits
    for sample in (slice(0, 1), slice(1, 2)):
        one = replace(
            features,
            pyramid={stride: level[sample] for stride, level in features.pyramid.items()},
            embedding=features.embedding[sample],
        )
        alone = run(ours, one, Readout(tuple(maps[sample] for maps in readout.maps))).logits
        torch.testing.assert_close(alone, together[sample])


@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_in_chunks(chunk: int) -> None:
    features, readout = frame(2), seen(5, 2)
    ours = decoder(candidates=3, skips=(2, 7))
    whole = run(ours, features, readout)
    ours.chunk, counts = chunk, []
    ours.mask_decoder.transformer.register_forward_hook(
        lambda module, inputs, outputs: counts.append(len(inputs[0]))
    )
    part = run(ours, features, readout)
    assert max(counts) == 2 * min(chunk, 5)
    torch.testing.assert_close(part.logits, whole.logits)
    torch.testing.assert_close(part.scores, whole.scores)


def test_maps_that_all_objects_share() -> None:
    ours, features, (value, hidden) = decoder(), frame(), seen(3).maps
    shared = run(ours, features, Readout((value, hidden[:, :1])))
    spread = run(ours, features, Readout((value, hidden[:, :1].expand(-1, 3, -1, -1, -1))))
    assert torch.equal(shared.logits, spread.logits)
    assert shared.logits.shape[1] == 3


@pytest.mark.parametrize("candidates", [1, 3])
def test_all_that_trains_is_used(candidates: int) -> None:
    """Processes that train together wait for the gradient of every weight."""
    ours = decoder(candidates=candidates, skips=(2, 7)).train()
    decoded = run(ours, frame(), seen(2))
    loss = decoded.logits.square().sum()
    if decoded.scores is not None:
        loss = loss + decoded.scores.sum()
    loss.backward()
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert ours.mask_decoder.mask_tokens.weight.grad is not None


class TestErrors:
    def test_no_levels_to_skip_from(self) -> None:
        features = frame()
        bare = replace(features, pyramid={16: features.embedding})
        with pytest.raises(InputError, match=r"the encoder has strides \[16\]"):
            run(decoder(skips=(2, 7)), bare, seen(1))
        geometry = replace(features.geometry, align_corners=True)
        with pytest.raises(InputError, match="align_corners=True: give it"):
            run(decoder(skips=(2, 7)), replace(features, geometry=geometry), seen(1))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"candidates": 2}, "candidates is 2: SAM has tokens for 1 mask or for 3"),
            ({"width": 40}, "width is 40: give a multiple of 16"),
            ({"chunk": 0}, "chunk is 0: give at least 1"),
        ],
    )
    def test_arguments(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            decoder(**change)

    def test_a_checkpoint_of_another_width(self, sam: Released, tmp_path: Path) -> None:
        torch.save(sam.state, tmp_path / "sam.pth")
        with pytest.raises(InputError, match=r"sam\.pth: a checkpoint of another model"):
            load_mask_decoder(decoder(width=64), tmp_path / "sam.pth")
