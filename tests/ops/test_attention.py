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
    frames: tuple[int, ...] = (0,),
) -> Tensor:
    height, width = size
    side = 2 * radius + 1
    out = torch.zeros_like(query)
    for y in range(height):
        for x in range(width):
            position = y * width + x
            inside = [
                (dy * side + dx, ((m * height + y + dy - radius) * width) + x + dx - radius)
                for m in frames
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


def arguments(
    size: tuple[int, int], radius: int, batch: int = 2, heads: int = 3, frames: int = 1
) -> list[Tensor]:
    tokens, depth, window = size[0] * size[1], 4, (2 * radius + 1) ** 2
    counts = (tokens, frames * tokens, frames * tokens)
    maps = [torch.randn(batch, heads, n, depth, dtype=torch.float64) for n in counts]
    bias = torch.randn(batch, heads, tokens, window, dtype=torch.float64)
    return [*maps, bias, torch.randn(heads, window, depth, dtype=torch.float64)]


@pytest.mark.parametrize(("size", "radius"), [((5, 7), 1), ((4, 3), 2), ((1, 6), 3), ((6, 1), 7)])
def test_equals_a_loop_over_positions(size: tuple[int, int], radius: int) -> None:
    query, key, value, bias, relative = arguments(size, radius)
    ours = local_attention(query, key, value, size, radius, bias, relative)
    theirs = by_position(query, key, value, size, radius, bias, relative)
    torch.testing.assert_close(ours, theirs)


def test_several_frames_equal_a_loop_over_all_their_positions() -> None:
    size, radius = (5, 7), 2
    inputs = arguments(size, radius, frames=3)
    query, key, value, *biases = inputs
    ours = local_attention(query, key, value, size, radius, *biases)
    theirs = by_position(query, key, value, size, radius, *biases, frames=(0, 1, 2))
    torch.testing.assert_close(ours, theirs)


def test_unseen_frames_take_no_part() -> None:
    size, radius = (3, 4), 1
    query, key, value, *biases = arguments(size, radius, batch=3, frames=3)
    seen = torch.tensor([[True, False, True], [False, True, False], [False, False, False]])
    ours = local_attention(query, key, value, size, radius, *biases, seen=seen)
    for row, frames in enumerate([(0, 2), (1,)]):
        one = [t[row : row + 1] for t in (query, key, value)]
        bias = biases[0][row : row + 1]
        theirs = by_position(*one, size, radius, bias, biases[1], frames=frames)
        torch.testing.assert_close(ours[row : row + 1], theirs)
    assert not ours[2].any()


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("tile", [(1, 1), (2, 7), (3, 4), (5, 7), (9, 9)])
def test_any_tile_reads_the_same(
    monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int], frames: int
) -> None:
    size, radius = (5, 7), 2
    query, key, value, *biases = arguments(size, radius, frames=frames)
    monkeypatch.setattr(attention, "_tile", lambda *_: tile)
    ours = local_attention(query, key, value, size, radius, *biases)
    theirs = by_position(query, key, value, size, radius, *biases, frames=tuple(range(frames)))
    torch.testing.assert_close(ours, theirs)


def test_an_accelerator_takes_whole_rows() -> None:
    rows, columns = attention._tile((31, 54), 7, 8, torch.device("cuda"))
    assert columns == 54
    assert 1 <= rows < 31
    assert attention._tile((4, 5), 1, 1, torch.device("cuda")) == (4, 5)


@pytest.mark.parametrize("frames", [1, 2])
def test_gradients(frames: int) -> None:
    size, radius = (3, 4), 1
    inputs = [t.requires_grad_() for t in arguments(size, radius, 1, 2, frames)]

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, relative: Tensor) -> Tensor:
        return local_attention(query, key, value, size, radius, bias, relative)

    assert torch.autograd.gradcheck(attend, inputs)


def test_heads_split_and_merge() -> None:
    tokens = torch.randn(2, 3, 5, 8)
    assert split_heads(tokens, 4).shape == (2, 3, 4, 5, 2)
    assert torch.equal(merge_heads(split_heads(tokens, 4)), tokens)
