"""Short- and long-term attention against the formulations that they replace.

The reference for the window is the unfold formulation: gather all (2r+1)^2 shifted copies of keys
and values, then multiply and sum. The reference for the long term is softmax(Q K^T) V, written out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm.ops.attention import local_attention

SIZE = (30, 54)  # tokens of a 480p frame at stride 16
HEADS, DEPTH, RADIUS = 8, 32, 7
FRAMES = 10  # in the long-term memory


def windowed(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, relative_value: Tensor
) -> Tensor:
    """Window attention by gathering every window."""
    batch, heads, tokens, depth = query.shape
    side = 2 * RADIUS + 1

    def gather(maps: Tensor) -> Tensor:
        flat = maps.transpose(2, 3).reshape(batch * heads, depth, *SIZE)
        return F.unfold(flat, side, padding=RADIUS).view(batch, heads, depth, side**2, tokens)

    inside = F.unfold(torch.ones(1, 1, *SIZE), side, padding=RADIUS).view(side**2, tokens)
    logits = (query.transpose(2, 3).unsqueeze(3) * gather(key)).sum(2) + bias.transpose(2, 3)
    weights = logits.masked_fill(inside == 0, float("-inf")).softmax(2)
    read = (weights.unsqueeze(2) * gather(value)).sum(3).transpose(2, 3)
    return read + weights.transpose(2, 3) @ relative_value


def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with its weights written out."""
    weights = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
    return weights @ value


def best_of(function: Callable[[], Tensor], runs: int = 5) -> float:
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    tokens = SIZE[0] * SIZE[1]
    query, key, value = (torch.randn(1, HEADS, tokens, DEPTH) for _ in range(3))
    query = query * DEPTH**-0.5
    bias = torch.randn(1, HEADS, tokens, (2 * RADIUS + 1) ** 2)
    relative = torch.randn(HEADS, (2 * RADIUS + 1) ** 2, DEPTH)

    def ours() -> Tensor:
        return local_attention(query, key, value, SIZE, RADIUS, bias, relative)

    def reference() -> Tensor:
        return windowed(query, key, value, bias, relative)

    error = float((ours() - reference()).abs().max())
    ratio = best_of(reference) / best_of(ours)
    print(f"short-term attention, {SIZE[0]}x{SIZE[1]} tokens, window 15x15: {ratio:.1f}x unfold, ")
    print(f"  largest difference {error:.1e}")

    keys, values = (torch.randn(1, HEADS, FRAMES * tokens, DEPTH) for _ in range(2))

    def fused() -> Tensor:
        return F.scaled_dot_product_attention(query, keys, values)

    error = float((fused() - dense(query, keys, values)).abs().max())
    ratio = best_of(lambda: dense(query, keys, values)) / best_of(fused)
    print(f"long-term attention, {FRAMES} frames in memory: {ratio:.1f}x written out,")
    print(f"  largest difference {error:.1e}")


if __name__ == "__main__":
    main()
