"""One layer of the long short-term transformer."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.layers import Attention
from vosfm.ops.attention import local_attention, merge_heads, split_heads
from vosfm.types import Size


class Past(NamedTuple):
    """Frames that an attention sees.

    Attributes:
        key: (B, R, M*N, C), frame by frame.
        value: (B, R, M*N, C).
        seen: (B, R, M) bool, False where a row must not look; None where it may.
    """

    key: Tensor
    value: Tensor
    seen: Tensor | None = None


class LSTTBlock(nn.Module):
    """Self-attention, long- and short-term attention side by side, feed-forward.

    Keys double as queries, without positions: what looks alike is matched wherever it is. The
    identity is added to the values alone, so that keys can be shared by all objects.

    Args:
        width: channels of the tokens.
        heads: of every attention.
        hidden: channels inside the feed-forward part.
        radius: of the short-term attention window, in tokens.
        drop_path: probability of skipping a residual branch in training, per sample.
        long: whether there is long-term attention.
        short: whether there is short-term attention.

    Source: AOT, Figure 3c and Eq. 4-6.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        radius: int,
        drop_path: float,
        long: bool = True,
        short: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, width)
        self.norm_match = nn.LayerNorm(width)
        self._add_matching(width)
        self.long_term = LongTermAttention(width, heads) if long else None
        self.short_term = ShortTermAttention(width, heads, radius) if short else None
        self.norm_feed = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.drop_path = DropPath(drop_path)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        if self.short_term is not None:
            nn.init.zeros_(self.short_term.relative_value)

    def _add_matching(self, width: int) -> None:
        self.to_key = nn.Linear(width, width)
        self.to_value = nn.Linear(width, width)

    def match(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys of tokens (B, r, N, C), and what their values are made of, of the same shape."""
        matched = self.norm_match(tokens)
        return self.to_key(matched), matched

    def remember(self, key: Tensor, matched: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, R, N, C) of a frame whose masks are known.

        Args:
            key: as `match` gives it.
            matched: likewise.
            identity: (B, R, N, ...), as the reader takes it from the encoded masks.
        """
        value = self.to_value(matched + identity)
        return key.expand_as(value), value

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        size: Size,
        identity: Tensor | None,
        long: Past | None,
        short: Past | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Advance the tokens by one layer.

        Args:
            tokens: (B, r, N, C); r is 1 as long as all rows look the same, else R.
            positions: (N, C).
            size: (h, w).
            identity: (B, R, N, ...), of given masks; the frame is then its own memory.
            long: the kept frames.
            short: the last frames.

        Returns:
            New tokens (B, R, N, C), keys (B, r, N, C), and what values are made of (B, r, N, C).
        """
        normed = self.norm_self(tokens).flatten(0, 1)
        placed = normed + positions  # values have no place
        seen = self.self_attention(placed, placed, normed)
        tokens = tokens + self.drop_path(seen.view(tokens.shape))
        key, matched = self.match(tokens)
        if identity is not None:
            long = short = Past(*self.remember(key, matched, identity))
        found = []
        if self.long_term is not None and long is not None:
            found.append(self.long_term(key, *long))
        if self.short_term is not None and short is not None:
            found.append(self.short_term(key, *short, size=size))
        if found:
            tokens = tokens + reduce(torch.add, found)
        tokens = tokens + self.drop_path(self.feed_forward(self.norm_feed(tokens), size))
        return tokens, key, matched


class LongTermAttention(nn.Module):
    """Multi-head attention to all tokens of the kept frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        rows, tokens = value.shape[1:3]
        query = split_heads(query.expand(-1, rows, -1, -1), self.heads)
        allowed = None
        if seen is not None:
            allowed = seen.repeat_interleave(tokens // seen.shape[2], 2)[:, :, None, None, :]
        read = _attend(query, split_heads(key, self.heads), split_heads(value, self.heads), allowed)
        return self.project(merge_heads(read))


class ShortTermAttention(nn.Module):
    """Multi-head attention to a window of each of the last frames, by learned relative positions.

    Source: AOT, Eq. 6; with more than one frame, Table 3c, where all share their positions.
    """

    def __init__(self, width: int, heads: int, radius: int) -> None:
        super().__init__()
        window = (2 * radius + 1) ** 2
        self.heads = heads
        self.radius = radius
        self.relative_key = nn.Parameter(torch.empty(heads, window, width // heads))
        self.relative_bias = nn.Parameter(torch.zeros(heads, window))
        self.relative_value = nn.Parameter(torch.empty(heads, window, width // heads))
        self.project = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None, *, size: Size
    ) -> Tensor:
        batch, rows = value.shape[:2]
        query = split_heads(query, self.heads)
        # The released code adds the relative logits of the unscaled query.
        bias = query @ self.relative_key.transpose(1, 2) + self.relative_bias[:, None]
        query = query * query.shape[-1] ** -0.5
        read = local_attention(
            query.expand(-1, rows, -1, -1, -1).flatten(0, 1),
            split_heads(key, self.heads).flatten(0, 1),
            split_heads(value, self.heads).flatten(0, 1),
            size,
            self.radius,
            bias.expand(-1, rows, -1, -1, -1).flatten(0, 1),
            self.relative_value,
            None if seen is None else seen.flatten(0, 1),
        )
        return self.project(merge_heads(read.unflatten(0, (batch, rows))))


class FeedForward(nn.Module):
    """Expand, normalise, mix neighbours by a depthwise convolution, contract."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.norm = nn.GroupNorm(32, hidden)
        self.mix = nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden, bias=False)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        maps = self.expand(tokens.flatten(0, 1)).unflatten(1, size)  # (B*r, h, w, hidden)
        mixed = self.mix(F.gelu(self.norm(maps.permute(0, 3, 1, 2))))
        return self.contract(mixed.permute(0, 2, 3, 1).flatten(1, 2)).view(tokens.shape)


class DropPath(nn.Module):
    """Skip a residual branch for whole samples in training; rows of a sample go together."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return branch
        keep = 1 - self.probability
        shape = (branch.shape[0],) + (1,) * (branch.dim() - 1)
        return branch * branch.new_empty(shape).bernoulli_(keep) / keep


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over (B, R, heads, N, d)."""
    batch = query.shape[:2]
    read = F.scaled_dot_product_attention(
        query.flatten(0, 1),
        key.flatten(0, 1),
        value.flatten(0, 1),
        None if mask is None else mask.flatten(0, 1),
    )
    return read.unflatten(0, batch)
