"""One layer of memory attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.layers.rotary_attention import RotaryAttention


@dataclass(frozen=True)
class Past:
    """What A rows look back at: tokens of kept frames, then such without a place.

    Attributes:
        keys: (A, L, C).
        values: (A, L, C).
        still: how many tokens have no place.
        mask: (A, L) bool, tokens that a row looks at, one at least; None for all.
    """

    keys: Tensor
    values: Tensor
    still: int
    mask: Tensor | None = None

    def split(self, rows: int) -> list[Past]:
        """The same, a few rows at a time."""
        keys, values = self.keys.split(rows), self.values.split(rows)
        masks = [None] * len(keys) if self.mask is None else self.mask.split(rows)
        return [
            Past(key, value, self.still, mask)
            for key, value, mask in zip(keys, values, masks, strict=True)
        ]


class MemoryAttentionLayer(nn.Module):
    """Attention to the frame itself, to the past, and a feed-forward part; all normalised before.

    Args:
        width: channels of the tokens.
        memory: channels of the past.
        hidden: channels inside the feed-forward part.
        dropout: in training, of weights, of hidden channels and of each branch.

    Source: SAM 2, section 4 (memory attention), and the released code.
    """

    def __init__(self, width: int, memory: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = RotaryAttention(width, width, dropout)
        self.norm_cross = nn.LayerNorm(width)
        self.cross_attention = RotaryAttention(width, memory, dropout)
        self.norm_feed = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def look_around(self, tokens: Tensor, rotations: Tensor) -> Tensor:
        """Let the tokens (A, N, width) of each frame look at each other."""
        there = self.norm_self(tokens)
        return tokens + self._drop(self.self_attention(there, there, there, rotations))

    def look_back(self, tokens: Tensor, past: Past, rotations: Tensor) -> Tensor:
        """Let the tokens (A, N, width) of each row look at its past, and think."""
        seen = self.cross_attention(
            self.norm_cross(tokens), past.keys, past.values, rotations, past.still, past.mask
        )
        tokens = tokens + self._drop(seen)
        inner = F.relu(self.expand(self.norm_feed(tokens)), inplace=True)
        return tokens + self._drop(self.contract(self._drop(inner)))

    def _drop(self, branch: Tensor) -> Tensor:
        return F.dropout(branch, self.dropout, self.training)


def learned(*shape: int) -> nn.Parameter:
    """A learned table that begins close to zero."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
