"""Attention whose positions are rotations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.ops.rotary import rotate

_CHUNK = 512
"""Queries whose weights are computed at once on a processor: a block that fits its cache."""


class RotaryAttention(nn.Module):
    """Attention of a single head; queries and keys are turned by their places.

    Values are summed before they are projected, which is the same, as the weights of a query sum
    to 1, and cheaper where values are narrow. Dropout therefore spares the bias of the values.

    Args:
        width: channels of the queries, and inside; a multiple of 4.
        memory: channels of keys and values.
        dropout: probability with which a weight is dropped in training.

    Source: SAM 2, section 4 (memory attention), and the released code.
    """

    def __init__(self, width: int, memory: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(memory, width)
        self.to_value = nn.Linear(memory, width)
        self.project = nn.Linear(width, width)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        rotations: Tensor,
        still: int = 0,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (A, N, width), the tokens of a map.
            key: (A, F*N + still, memory), the tokens of F maps, then such without a place.
            value: like key.
            rotations: (N, width / 2) complex.
            still: last keys, which are not turned.
            mask: (A, F*N + still) bool, keys that are looked at, one at least; None for all.

        Returns:
            (A, N, width).
        """
        turned = rotate(self.to_query(query), rotations)
        keys = rotate(self.to_key(key), rotations, still)
        dropout = self.dropout if self.training else 0.0
        seen = attend(turned, keys, value, mask, dropout)
        return self.project(self.to_value(seen))


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention of a single head; values may have other channels than keys.

    Args:
        query: (A, N, d).
        key: (A, L, d).
        value: (A, L, c).
        mask: (A, L) bool, keys that are looked at, one at least; None for all.
        dropout: probability with which a weight is dropped.

    Returns:
        (A, N, c).
    """
    value = value.to(query.dtype)
    alike = query.shape[2] == value.shape[2]
    if query.device.type != "cpu" or alike or torch.is_grad_enabled() or dropout:
        allowed = None if mask is None else mask[:, None, None]
        query, key, value = (tokens.unsqueeze(1) for tokens in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, allowed, dropout).squeeze(1)
    # Where keys and values differ in channels, processors have no fused kernel.
    query = query * query.shape[-1] ** -0.5
    seen = query.new_empty(*query.shape[:2], value.shape[2])
    for row in range(len(query)):
        across = key[row].T
        bias = None
        if mask is not None and not bool(mask[row].all()):
            bias = query.new_zeros(len(key[row])).masked_fill_(~mask[row], -torch.inf)
        for start in range(0, query.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            logits = query[row, part] @ across
            if bias is not None:
                logits += bias
            seen[row, part] = logits.softmax(1).to(value.dtype) @ value[row]
    return seen
