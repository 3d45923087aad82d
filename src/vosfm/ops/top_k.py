"""The k largest of many, and sums over the rows that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 16
"""Numbers that the first level of the search sees as one, by their maximum."""


def largest(scores: Tensor, k: int) -> Tensor:
    """Find the k largest of every line.

    Searched on two levels: the k largest lie in those k blocks whose maxima are largest. The
    numbers of a block stand far apart, so that the maxima of neighbouring blocks are taken as one
    vector.

    Args:
        scores: (B, Q, N), k <= N; contiguous along N, or slow.
        k: how many.

    Returns:
        (B, Q, k) places in [0, N), in no order; of equal numbers, any.
    """
    count = scores.shape[2]
    blocks = count // _BLOCK
    if blocks < 2 * k:
        return scores.topk(k, 2, sorted=False).indices
    whole = blocks * _BLOCK
    maxima = scores[..., :whole].unflatten(2, (_BLOCK, blocks)).amax(2)
    winners = maxima.topk(k, 2, sorted=False).indices
    steps = torch.arange(0, whole, blocks, device=scores.device)
    rest = torch.arange(whole, count, device=scores.device).expand(*scores.shape[:2], -1)
    places = torch.cat(((winners[..., None, :] + steps[:, None]).flatten(2), rest), 2)
    return places.gather(2, scores.gather(2, places).topk(k, 2, sorted=False).indices)


Bag = tuple[Tensor, Tensor, Tensor | None]
"""Weights and places in one table, and where those of each query begin (None: k for each)."""


def bags(weights: Tensor, places: Tensor, spans: Sequence[tuple[int, int]]) -> list[Bag]:
    """Sort weights by the table that their places fall into.

    Args:
        weights: (Q, k).
        places: (Q, k), in the tables laid end to end.
        spans: first place and end of each table; together they cover all places.

    Returns:
        One for each table, with places that begin at 0 in each.
    """
    if len(spans) == 1:
        return [(weights, places, None)]
    sorted_bags: list[Bag] = []
    for start, stop in spans:
        inside = (places >= start) & (places < stop)
        count = inside.sum(1)
        sorted_bags.append((weights[inside], places[inside] - start, count.cumsum(0) - count))
    return sorted_bags


def gather(table: Tensor, bag: Bag) -> Tensor:
    """Sum the rows of a table (N, C), weighted, for every query: (Q, C) of the table's dtype."""
    weights, places, starts = bag
    weights = weights.to(table.dtype)
    return F.embedding_bag(places, table, starts, mode="sum", per_sample_weights=weights)
