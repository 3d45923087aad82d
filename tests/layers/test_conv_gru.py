"""A gated recurrent unit on maps: its equations, how it starts, and that it stays in range."""

from __future__ import annotations

from math import exp, tanh
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vosfm.layers import ConvGRU


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def randomised(unit: ConvGRU, std: float = 1.0) -> ConvGRU:
    for weight in unit.parameters():
        nn.init.normal_(weight, std=std)
    return unit.eval()


def test_one_number_by_hand() -> None:
    unit = ConvGRU(1, kernel=1)
    gates, candidate = unit.gates[0], unit.candidate[0]
    assert isinstance(gates, nn.Conv2d)
    assert isinstance(candidate, nn.Conv2d)
    with torch.no_grad():
        gates.weight.copy_(torch.tensor([[0.5, -1.0], [2.0, 0.25]])[..., None, None])
        assert gates.bias is not None
        gates.bias.copy_(torch.tensor([0.1, -0.2]))
        candidate.weight.copy_(torch.tensor([[0.7, -0.3]])[..., None, None])
        assert candidate.bias is not None
        candidate.bias.fill_(0.05)
    x, h = 1.5, -2.0
    z, r = sigmoid(0.5 * x - h + 0.1), sigmoid(2 * x + 0.25 * h - 0.2)
    n = x + tanh(0.7 * x - 0.3 * r * h + 0.05)
    out = unit(torch.full((1, 1, 1, 1), x), torch.full((1, 1, 1, 1), h))
    assert float(out.detach()) == pytest.approx((1 - z) * h + z * n, abs=1e-6)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_fresh_unit_is_a_running_mix(separable: bool, rate: float, groups: int) -> None:
    torch.manual_seed(0)
    unit = ConvGRU(32, separable=separable, rate=rate, groups=groups)
    x, h = torch.randn(2, 1, 32, 6, 7).unbind()
    moved = unit(x, h)
    expected = (1 - rate) * h + rate * x
    assert float((moved - expected).detach().std()) < 0.1
    # Not exactly, or the reset gate would have no gradient.
    moved.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in unit.parameters())


def test_the_state_stays_in_range_whatever_the_weights() -> None:
    torch.manual_seed(0)
    unit = randomised(ConvGRU(4), std=3.0)
    hidden = torch.zeros(1, 4, 5, 5)
    with torch.no_grad():
        for _ in range(300):
            hidden = unit(10 * torch.rand(1, 4, 5, 5) - 5, hidden)
    assert float(hidden.abs().max()) <= 6
    assert float(hidden.std()) > 0.5


@pytest.mark.parametrize(("kernel", "around"), [(1, False), (3, True)])
@pytest.mark.parametrize("separable", [True, False])
def test_a_kernel_sees_neighbours(kernel: int, around: bool, separable: bool) -> None:
    unit = randomised(ConvGRU(2, kernel, separable))
    x = torch.randn(1, 2, 9, 9, requires_grad=True)
    unit(x, torch.randn(1, 2, 9, 9))[..., 4, 4].sum().backward()
    grad = x.grad
    assert grad is not None
    assert bool(grad[..., 4, 4].any())
    assert bool(grad[..., 4, 5].any()) == around
    assert not bool(grad[..., 4, 8].any())


def count(**options: Any) -> int:
    return sum(p.numel() for p in ConvGRU(8, **options).parameters())


def test_what_dense_and_separable_weigh() -> None:
    biases = 16 + 8
    assert count(kernel=1) == 16 * 16 + 16 * 8 + biases
    assert count(kernel=3, separable=False) == 9 * (16 * 16 + 16 * 8) + biases
    assert count(kernel=3) == 16 * 16 + 16 * 8 + biases + 2 * 9 * 16
    assert count(kernel=1, groups=4) == (16 * 16 + 16 * 8) // 4 + biases


@torch.no_grad()
@pytest.mark.parametrize("separable", [True, False])
def test_groups_are_units_of_their_own(separable: bool) -> None:
    unit = randomised(ConvGRU(6, separable=separable, groups=3))
    x, h = torch.randn(2, 1, 6, 4, 5).unbind()
    moved = unit(x, h)
    for group in range(3):
        own = slice(2 * group, 2 * group + 2)
        alone = ConvGRU(2, separable=separable)
        for name, weight in alone.state_dict().items():
            weight.copy_(unit.state_dict()[name].unflatten(0, (3, -1))[group])
        torch.testing.assert_close(moved[:, own], alone(x[:, own], h[:, own]))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 2},
        {"kernel": 0},
        {"rate": 0.0},
        {"rate": 1.0},
        {"groups": 0},
        {"groups": 3},
    ],
)
def test_arguments_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .*: give"):
        ConvGRU(4, **options)


def test_maps_with_channels_last_are_not_other_maps() -> None:
    unit = randomised(ConvGRU(4))
    x, h = torch.randn(2, 1, 4, 5, 6).unbind()

    def last(maps: Tensor) -> Tensor:
        return maps.contiguous(memory_format=torch.channels_last)

    torch.testing.assert_close(unit(last(x), last(h)), unit(x, h))
