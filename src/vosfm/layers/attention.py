"""Attention of queries to keys and values, in several heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.ops.attention import merge_heads, split_heads


class Attention(nn.Module):
    """Attention of several heads, each with projections of its own.

    Args:
        width: channels of queries, keys, values and of the result.
        heads: they divide `narrow`.
        narrow: channels of all heads together, which may be fewer.
    """

    def __init__(self, width: int, heads: int, narrow: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(width, narrow)
        self.to_key = nn.Linear(width, narrow)
        self.to_value = nn.Linear(width, narrow)
        self.project = nn.Linear(narrow, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Read values (B, N, C) at keys (B, N, C) for queries (B, M, C): (B, M, C)."""
        seen = F.scaled_dot_product_attention(
            split_heads(self.to_query(query), self.heads),
            split_heads(self.to_key(key), self.heads),
            split_heads(self.to_value(value), self.heads),
        )
        return self.project(merge_heads(seen))
