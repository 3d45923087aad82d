from __future__ import annotations

import goldens
import pytest
import torch

from vosfm.checkpoints.sam2 import translate
from vosfm.layers import MLP, TwoWayTransformer


@pytest.fixture
def golden() -> goldens.Golden:
    return goldens.load("sam2_two_way_transformer", "sam2")


@pytest.fixture
def transformer(golden: goldens.Golden) -> TwoWayTransformer:
    model = TwoWayTransformer().eval()
    prefix = "decoder.transformer."
    model.load_state_dict(
        {key.removeprefix(prefix): value for key, value in translate(golden.weights()).items()}
    )
    return model


@torch.inference_mode()
def test_as_released(golden: goldens.Golden, transformer: TwoWayTransformer) -> None:
    image, positions = (
        golden.inputs[name].flatten(2).transpose(1, 2) for name in ("image_embedding", "image_pe")
    )
    tokens, image = transformer(golden.inputs["tokens"], image, positions)
    golden.check("queries", tokens)
    golden.check("keys", image)


@torch.inference_mode()
def test_places_are_where_their_positions_say(transformer: TwoWayTransformer) -> None:
    torch.manual_seed(0)
    tokens, image, positions = (
        torch.randn(2, 3, 256),
        torch.randn(2, 9, 256),
        torch.randn(1, 9, 256),
    )
    seen, seen_image = transformer(tokens, image, positions)
    order = torch.randperm(9)
    mixed, mixed_image = transformer(tokens, image[:, order], positions[:, order])
    torch.testing.assert_close(mixed, seen)
    torch.testing.assert_close(mixed_image, seen_image[:, order])
    other, _ = transformer(tokens, image, positions[:, order])
    assert not torch.allclose(other, seen, atol=1e-3)


def test_a_perceptron_is_linear_where_it_is_positive() -> None:
    mlp = MLP(3, 4, 5, 2)
    assert [name for name, _ in mlp.named_parameters()] == [
        f"{layer}.{kind}" for layer in range(3) for kind in ("weight", "bias")
    ]
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.abs_()
    x = torch.rand(6, 3)
    torch.testing.assert_close(mlp(x) + mlp(3 * x), 2 * mlp(2 * x))
    assert not torch.allclose(mlp(x) + mlp(-3 * x), 2 * mlp(-x))
