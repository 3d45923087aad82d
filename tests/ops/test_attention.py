"""Window attention against a loop over positions, and its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vosfm.ops import attention
from vosfm.ops.attention import local_attention, merge_heads, split_heads


def by_position(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    size: tuple[int, int],
    radius: int,
    bias: Tensor,
    relative_value: Tensor,
) -> Tensor:
    height, width = size
    side = 2 * radius + 1
    out = torch.zeros_like(value)
    for y in range(height):
        for x in range(width):
            position = y * width + x
            inside = [
                (dy * side + dx, (y + dy - radius) * width + x + dx - radius)
                for dy in range(side)
                for dx in range(side)
                if 0 <= y + dy - radius < height and 0 <= x + dx - radius < width
            ]
            offsets, places = (list(column) for column in zip(*inside, strict=True))
            logits = (key[:, :, places] @ query[:, :, position, :, None])[..., 0]
            weights = (logits + bias[:, :, position, offsets]).softmax(-1)
            seen = value[:, :, places] + relative_value[:, offsets]
            out[:, :, position] = (weights[..., None] * seen).sum(2)
    return out


def arguments(size: tuple[int, int], radius: int, batch: int = 2, heads: int = 3) -> list[Tensor]:
    tokens, depth, window = size[0] * size[1], 4, (2 * radius + 1) ** 2
    maps = [torch.randn(batch, heads, tokens, depth, dtype=torch.float64) for _ in range(3)]
    bias = torch.randn(batch, heads, tokens, window, dtype=torch.float64)
    return [*maps, bias, torch.randn(heads, window, depth, dtype=torch.float64)]


@pytest.mark.parametrize(("size", "radius"), [((5, 7), 1), ((4, 3), 2), ((1, 6), 3), ((6, 1), 7)])
def test_equals_a_loop_over_positions(size: tuple[int, int], radius: int) -> None:
    query, key, value, bias, relative = arguments(size, radius)
    ours = local_attention(query, key, value, size, radius, bias, relative)
    theirs = by_position(query, key, value, size, radius, bias, relative)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("tile", [(1, 1), (2, 7), (3, 4), (5, 7), (9, 9)])
def test_any_tile_reads_the_same(monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int]) -> None:
    size, radius = (5, 7), 2
    query, key, value, *biases = arguments(size, radius)
    monkeypatch.setattr(attention, "_tile", lambda *_: tile)
    ours = local_attention(query, key, value, size, radius, *biases)
    torch.testing.assert_close(ours, by_position(query, key, value, size, radius, *biases))


def test_an_accelerator_takes_whole_rows() -> None:
    rows, columns = attention._tile((31, 54), 7, 8, torch.device("cuda"))
    assert columns == 54
    assert 1 <= rows < 31
    assert attention._tile((4, 5), 1, 1, torch.device("cuda")) == (4, 5)


def test_gradients() -> None:
    size, radius = (3, 4), 1
    inputs = [tensor.requires_grad_() for tensor in arguments(size, radius, batch=1, heads=2)]

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, relative: Tensor) -> Tensor:
        return local_attention(query, key, value, size, radius, bias, relative)

    assert torch.autograd.gradcheck(attend, inputs)


def test_heads_split_and_merge() -> None:
    tokens = torch.randn(2, 3, 5, 8)
    assert split_heads(tokens, 4).shape == (2, 3, 4, 5, 2)
    assert torch.equal(merge_heads(split_heads(tokens, 4)), tokens)
