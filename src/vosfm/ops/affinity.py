"""Reading a memory by the similarity of its keys to a query.

Similarities are one matrix product for all rows, computed for some queries at a time. Where only
the k most similar tokens are read, their values are gathered: a dense (Q, N) affinity never exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vosfm.errors import InputError
from vosfm.ops.top_k import bags, gather, largest

Kind = Literal["anisotropic", "l2", "dot"]


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a memory: the long-term prototypes, say, or the working memory.

    Args:
        key: (B, N, Ck), shared by all rows.
        shrinkage: (B, N), in [1, inf); or None: 1.
        value: (B, R, N, Cv), finite everywhere.
        valid: (B, R, N) bool, the tokens that a row may read; or None: all of them.
    """

    key: Tensor
    shrinkage: Tensor | None
    value: Tensor
    valid: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Pattern:
    """Rows that may read the same tokens.

    Args:
        rows: their numbers.
        hidden: (B, 1, N) bool, the tokens that they may not read; or None: they read all.
        present: (B, 1, 1) bool, whether they may read any. Where not, `hidden` hides nothing, so
            that their softmax and its gradient are finite, and the weights are to be set to 0.
    """

    rows: tuple[int, ...]
    hidden: Tensor | None
    present: Tensor | None

    def weigh(self, logits: Tensor) -> Tensor:
        """Weights (B, Q, N) of all tokens."""
        return self._softmax(self._allowed(logits))

    def find(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Weights and places (B, Q, k) of the best tokens."""
        allowed = self._allowed(logits)
        places = largest(allowed.detach(), k)
        return self._softmax(allowed.gather(2, places)), places

    def _allowed(self, logits: Tensor) -> Tensor:
        return logits if self.hidden is None else logits.masked_fill(self.hidden, float("-inf"))

    def _softmax(self, logits: Tensor) -> Tensor:
        weights = logits.softmax(2)
        return weights if self.present is None else weights * self.present


def similarity(
    query: Tensor, key: Tensor, selection: Tensor | None, shrinkage: Tensor | None, kind: Kind
) -> Tensor:
    """Compare every query to every key.

    - `anisotropic`: -(s / sqrt(Ck)) * sum_c e_c (k_c - q_c)^2.
    - `l2`: the same with e = s = 1, less the term |q|^2, which no softmax over the keys sees.
    - `dot`: q . k / sqrt(Ck).

    One matrix product of keys [k^2 s, k s, s] and queries [-e, 2 q e, -sum_c e q^2]. Computed in
    float32 at least, under autocast too: the terms nearly cancel where query and key are alike.

    Args:
        query: (B, Q, Ck).
        key: (B, N, Ck).
        selection: e, (B, Q, Ck) in [0, 1], or None: 1; taken by `anisotropic` alone.
        shrinkage: s, (B, N) in [1, inf), or None: 1; taken by `anisotropic` alone.
        kind: which similarity.

    Returns:
        (B, Q, N).

    Source: XMem, section 3.2 (anisotropic); STCN, section 3 (L2 against dot product).
    """
    with torch.autocast(query.device.type, enabled=False):
        queries = _augment_query(query, selection, kind)
        return queries @ _augment_key(key, shrinkage, kind).transpose(1, 2)


def read(
    query: Tensor,
    selection: Tensor | None,
    segments: Sequence[Segment],
    *,
    kind: Kind,
    top_k: int | None = None,
    usage: bool = False,
    chunk: int | None = None,
) -> tuple[Tensor, tuple[Tensor, ...] | None]:
    """Read values by a softmax over the similarities of all tokens of all segments.

    Rows that may read the same tokens share a softmax; those that may read none read 0. Gradients
    reach query, selection, keys, shrinkage and values; in training, similarities of chunks are
    computed again in the backward pass rather than kept.

    Args:
        query: (B, Q, Ck).
        selection: (B, Q, Ck) in [0, 1], or None; see `similarity`.
        segments: of the memory; values of one dtype.
        kind: of the similarity.
        top_k: read the k most similar tokens only; None reads all. A row that may read fewer than k
            reads what it has.
        usage: tell how much the tokens were used, too.
        chunk: queries compared at once; None for as many as keep (B, chunk, N) small.

    Returns:
        (B, R, Q, Cv), of the values' dtype, and (if asked for) of each segment (B, N): the weights
        of a token in the first row's softmax, summed over the queries, without gradient.

    Raises:
        InputError: if the memory is empty, or holds fewer tokens than `top_k`.

    Source: XMem, sections 3.2 and (usage) 3.3; MMPM's temporal memory, section 4, reads the same
    way without top-k. The maximum is subtracted before exponentiation; the released XMem's top-k
    softmax omits that, and is 0 / 0 for queries far from every key.
    """
    counts = [segment.key.shape[1] for segment in segments]
    _check(sum(counts), top_k)
    with torch.autocast(query.device.type, enabled=False):
        queries = _augment_query(query, selection, kind)
        parts = [_augment_key(s.key, s.shrinkage, kind) for s in segments]
        keys = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        blocks = queries.split(chunk or _chunk(queries, sum(counts)), 1)
        tables, patterns = _tables(segments), _patterns(segments)
        if not patterns:
            batch, _, _, channels = segments[0].value.shape
            out = segments[0].value.new_zeros(batch, 0, query.shape[1], channels)
            used = keys.new_zeros(keys.shape[:2])
        elif top_k is None:
            out, used = _read_all(blocks, keys, tables, patterns)
        else:
            out, used = _read_best(blocks, keys, tables, patterns, top_k)
    return out, used.split(counts, 1) if usage else None


def _check(tokens: int, top_k: int | None) -> None:
    if tokens == 0:
        raise InputError("the memory holds no tokens: memorize a frame before reading")
    if top_k is None:
        return
    if top_k < 1:
        raise InputError(f"top_k is {top_k}: it must be at least 1, or None to read all tokens")
    if top_k > tokens:
        raise InputError(
            f"top_k is {top_k}, but the memory holds {tokens} tokens: "
            "lower top_k, or use larger frames"
        )


def _chunk(queries: Tensor, tokens: int) -> int:
    """How many queries to compare at once.

    16 MB of similarities stay in the last cache of a processor between the passes over them, and
    the matrix product is nearly at its best; accelerators prefer few large products.
    """
    batch, count, _ = queries.shape
    elements = 2**22 if queries.device.type == "cpu" else 2**26
    most = max(1, elements // (batch * tokens))
    return -(-count // -(-count // most))


def _exact(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _augment_query(query: Tensor, selection: Tensor | None, kind: Kind) -> Tensor:
    """(B, Q, C'), whose product with the augmented key is the similarity."""
    query = _exact(query)
    scale = query.shape[2] ** -0.5
    if kind == "dot":
        return query * scale
    if kind == "l2":
        return torch.cat((torch.full_like(query[..., :1], -1), 2 * query), 2) * scale
    e = torch.ones_like(query) if selection is None else _exact(selection)
    constant = (e * query.square()).sum(2, keepdim=True)
    return torch.cat((-e, 2 * query * e, -constant), 2) * scale


def _augment_key(key: Tensor, shrinkage: Tensor | None, kind: Kind) -> Tensor:
    """(B, N, C')."""
    key = _exact(key)
    if kind == "dot":
        return key
    if kind == "l2":
        return torch.cat((key.square().sum(2, keepdim=True), key), 2)
    s = torch.ones_like(key[..., :1]) if shrinkage is None else _exact(shrinkage)[..., None]
    scaled = key * s
    return torch.cat((key * scaled, scaled, s), 2)


def _patterns(segments: Sequence[Segment]) -> tuple[_Pattern, ...]:
    """Group the rows by what they may read; the first row's pattern comes first."""
    rows = segments[0].value.shape[1]
    if rows == 0:
        return ()
    everyone = _Pattern(tuple(range(rows)), None, None)
    if all(segment.valid is None for segment in segments):
        return (everyone,)
    valid = torch.cat(
        [
            torch.ones_like(s.value[..., 0], dtype=torch.bool) if s.valid is None else s.valid
            for s in segments
        ],
        2,
    )
    if bool(valid.all()):
        return (everyone,)
    distinct, number = torch.unique(valid, dim=1, return_inverse=True)
    members: dict[int, list[int]] = {}
    for row, group in enumerate(number.tolist()):
        members.setdefault(group, []).append(row)
    present = distinct.any(2, keepdim=True)
    hidden = ~distinct & present
    return tuple(
        _Pattern(tuple(group), hidden[:, i, None], present[:, i, None])
        for i, group in members.items()
    )


_Table = tuple[int, int, tuple[Tensor, ...]]
"""First token and end of a segment, and the values (B, N, Cv) of every row."""


def _tables(segments: Sequence[Segment]) -> list[_Table]:
    """The values of the segments that hold any token.

    Rows are taken apart once, so that the gradients of each add up before they meet the others'.
    """
    bounds = pairwise(accumulate((s.key.shape[1] for s in segments), initial=0))
    return [
        (start, stop, segment.value.unbind(1))
        for (start, stop), segment in zip(bounds, segments, strict=True)
        if start < stop
    ]


def _each(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], blocks: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Apply to every block; in training, keep only what comes out."""
    if len(blocks) == 1 or not torch.is_grad_enabled():
        return [function(block) for block in blocks]
    return [
        checkpoint(function, block, use_reentrant=False, preserve_rng_state=False)
        for block in blocks
    ]


def _read_all(
    blocks: Sequence[Tensor],
    keys: Tensor,
    tables: Sequence[_Table],
    patterns: Sequence[_Pattern],
) -> tuple[Tensor, Tensor]:
    """Readout (B, R, Q, Cv) by the full softmax, and usage (B, N) of the first pattern."""

    def attend(block: Tensor) -> tuple[Tensor, Tensor]:
        logits = block @ keys.transpose(1, 2)
        out: dict[int, Tensor] = {}
        for pattern in patterns:
            weights = pattern.weigh(logits)
            if pattern is patterns[0]:
                used = weights.detach().sum(1)
            for row in pattern.rows:
                parts = [
                    weights[..., start:stop].to(rows[row].dtype) @ rows[row]
                    for start, stop, rows in tables
                ]
                out[row] = reduce(torch.add, parts)
        return torch.stack([out[row] for row in range(len(out))], 1), used

    readouts, used = zip(*_each(attend, blocks), strict=True)
    return torch.cat(readouts, 2), reduce(torch.add, used)


def _read_best(
    blocks: Sequence[Tensor],
    keys: Tensor,
    tables: Sequence[_Table],
    patterns: Sequence[_Pattern],
    k: int,
) -> tuple[Tensor, Tensor]:
    """Readout (B, R, Q, Cv) by the softmax over the best k, and usage (B, N) likewise."""

    def find(block: Tensor) -> tuple[Tensor, Tensor]:
        logits = block @ keys.transpose(1, 2)
        found = [pattern.find(logits, k) for pattern in patterns]
        weights, places = zip(*found, strict=True)
        return torch.stack(weights), torch.stack(places)

    found = zip(*_each(find, blocks), strict=True)
    weights, places = (torch.cat(parts, 2) for parts in found)  # (patterns, B, Q, k)
    batch, tokens, _ = keys.shape
    used = weights.new_zeros(batch, tokens)
    used.scatter_add_(1, places[0].flatten(1), weights[0].detach().flatten(1))
    spans = [(start, stop) for start, stop, _ in tables]
    out: dict[tuple[int, int], Tensor] = {}
    for pattern, weight, place in zip(patterns, weights, places, strict=True):
        for sample in range(batch):
            shares = bags(weight[sample], place[sample], spans)
            for row in pattern.rows:
                parts = [
                    gather(rows[row][sample], bag)
                    for (_, _, rows), bag in zip(tables, shares, strict=True)
                ]
                out[sample, row] = reduce(torch.add, parts)
    return torch.stack([out[key] for key in sorted(out)]).unflatten(0, (batch, -1)), used
