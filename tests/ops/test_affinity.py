"""Memory reading against released numbers, and against an affinity written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import goldens
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vosfm.errors import InputError
from vosfm.ops.affinity import Kind, Segment, read, similarity

BATCH, ROWS, QUERIES, KEY, VALUE = 2, 3, 7, 4, 5


def written_out(
    query: Tensor, key: Tensor, selection: Tensor, shrinkage: Tensor, kind: Kind
) -> Tensor:
    """Similarity (B, Q, N) by its definition, every difference (B, Q, N, Ck) in memory."""
    root = key.shape[2] ** 0.5
    if kind == "dot":
        return (query[:, :, None] * key[:, None]).sum(3) / root
    squares = (key[:, None] - query[:, :, None]).square()
    if kind == "l2":
        return (query.square().sum(2)[:, :, None] - squares.sum(3)) / root
    return -shrinkage[:, None] * (selection[:, :, None] * squares).sum(3) / root


def dense(
    query: Tensor, selection: Tensor, segment: Segment, kind: Kind, top_k: int | None
) -> tuple[Tensor, Tensor]:
    """Read (B, R, Q, Cv) and weights (B, R, Q, N), by weights scattered into all tokens."""
    assert segment.shrinkage is not None
    scores = written_out(query, segment.key, selection, segment.shrinkage, kind)
    scores = scores[:, None].expand(-1, segment.value.shape[1], -1, -1)
    if segment.valid is not None:
        scores = scores.masked_fill(~segment.valid[:, :, None], float("-inf"))
    best, places = scores.topk(top_k or scores.shape[3], 3)
    weights = (best - best[..., :1]).exp()
    weights = weights / weights.sum(3, keepdim=True)
    affinity = torch.zeros_like(scores).scatter(3, places, weights).nan_to_num()
    return affinity @ segment.value, affinity


def memory(tokens: int, valid: bool = False, dtype: torch.dtype = torch.float64) -> Segment:
    """Tokens that may be read by: row 0 all, row 1 some, row 2 none of sample 0."""
    mask = None
    if valid:
        mask = torch.rand(BATCH, ROWS, tokens) < 0.5
        mask[:, 0], mask[0, 2] = True, False
    return Segment(
        torch.randn(BATCH, tokens, KEY, dtype=dtype),
        torch.rand(BATCH, tokens, dtype=dtype) + 1,
        torch.randn(BATCH, ROWS, tokens, VALUE, dtype=dtype),
        mask,
    )


def queries(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    shape = BATCH, QUERIES, KEY
    return torch.randn(shape, dtype=dtype), torch.rand(shape, dtype=dtype)


def parts(segment: Segment, *counts: int) -> list[Segment]:
    """The same tokens in several segments."""
    assert segment.shrinkage is not None
    valid = [None] * len(counts) if segment.valid is None else list(segment.valid.split(counts, 2))
    pieces = zip(
        segment.key.split(counts, 1),
        segment.shrinkage.split(counts, 1),
        segment.value.split(counts, 2),
        valid,
        strict=True,
    )
    return [Segment(*piece) for piece in pieces]


def tokens(maps: Tensor) -> Tensor:
    """(B, C, ...) -> (B, N, C)."""
    return maps.flatten(2).transpose(1, 2)


def test_mmpm_reads_as_released() -> None:
    case = goldens.load("mmpm_read_memory", system="mmpm")
    given = case.inputs
    value = given["mv"].flatten(3).transpose(2, 3)
    segment = Segment(tokens(given["mk"]), given["ms"].flatten(1), value)
    out, used = read(tokens(given["qk"]), tokens(given["qe"]), [segment], kind="anisotropic")
    assert used is None
    case.check("readout", out.transpose(2, 3).unflatten(3, given["qk"].shape[2:]))


def test_xmem_compares_as_released() -> None:
    case = goldens.load("xmem_similarity_readout", system="mmpm")
    given = case.inputs
    query, selection, key = (tokens(given[name]) for name in ("qk", "qe", "mk"))
    shrinkage = given["ms"].flatten(1)
    full = similarity(query, key, selection, shrinkage, "anisotropic")
    case.check("similarity", full.transpose(1, 2))
    plain = similarity(query, key, selection, None, "anisotropic")
    case.check("similarity_no_shrinkage", plain.transpose(1, 2))
    # Released without selection: STCN's similarity, without |q|^2, times the shrinkage.
    unselected = similarity(query, key, None, None, "l2") * shrinkage[:, None]
    case.check("similarity_no_selection", unselected.transpose(1, 2))


@pytest.mark.parametrize("mode", ["full", "topk"])
def test_xmem_reads_as_released(mode: str) -> None:
    case = goldens.load("xmem_similarity_readout", system="mmpm")
    given = case.inputs
    key, query = tokens(given["mk"]), tokens(given["qk"])
    top_k = case.params["top_k"] if mode == "topk" else None

    def reading(value: Tensor) -> tuple[Tensor, Tensor]:
        segment = Segment(key, given["ms"].flatten(1), value[:, None])
        out, used = read(
            query,
            tokens(given["qe"]),
            [segment],
            kind="anisotropic",
            top_k=top_k,
            usage=True,
        )
        assert used is not None
        return out[:, 0].transpose(1, 2), used[0]

    out, used = reading(tokens(given["mv"]))
    case.check(f"readout_{mode}", out.unflatten(2, given["qk"].shape[2:]))
    case.check(f"usage_{mode}", used)
    affinity, _ = reading(torch.eye(key.shape[1]).expand(len(key), -1, -1))
    case.check(f"affinity_{mode}", affinity)


@pytest.mark.parametrize("kind", ["anisotropic", "l2", "dot"])
@pytest.mark.parametrize("given", [True, False])
def test_similarity_is_as_defined(kind: Kind, given: bool) -> None:
    (query, selection), segment = queries(), memory(11)
    shrinkage = segment.shrinkage
    assert shrinkage is not None
    if not given:
        selection, shrinkage = torch.ones_like(selection), torch.ones_like(shrinkage)
    ours = similarity(
        query, segment.key, selection if given else None, shrinkage if given else None, kind
    )
    torch.testing.assert_close(ours, written_out(query, segment.key, selection, shrinkage, kind))


@pytest.mark.parametrize("kind", ["anisotropic", "l2", "dot"])
@pytest.mark.parametrize("top_k", [None, 6])
@pytest.mark.parametrize("count", [20, 331])  # the larger: searched on two levels
@pytest.mark.parametrize("valid", [False, True])
def test_equals_the_dense_formulation(
    kind: Kind, top_k: int | None, count: int, valid: bool
) -> None:
    (query, selection), segment = queries(), memory(count, valid)
    theirs, weights = dense(query, selection, segment, kind, top_k)
    ours, used = read(query, selection, [segment], kind=kind, top_k=top_k, usage=True)
    torch.testing.assert_close(ours, theirs)
    assert used is not None
    torch.testing.assert_close(used[0], weights[:, 0].sum(1))


@pytest.mark.parametrize("top_k", [None, 6])
@pytest.mark.parametrize("counts", [(331,), (150, 181), (3, 0, 300, 28)])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_any_segments_and_chunks_read_the_same(
    top_k: int | None, counts: tuple[int, ...], chunk: int
) -> None:
    (query, selection), segment = queries(), memory(331, valid=True)

    def reading(segments: list[Segment], chunk: int | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        out, used = read(
            query,
            selection,
            segments,
            kind="anisotropic",
            top_k=top_k,
            usage=True,
            chunk=chunk,
        )
        assert used is not None
        return out, used

    whole, (used,) = reading([segment], None)
    ours, shares = reading(parts(segment, *counts), chunk)
    torch.testing.assert_close(ours, whole)
    assert tuple(share.shape[1] for share in shares) == counts
    torch.testing.assert_close(torch.cat(shares, 1), used)


def test_segments_may_differ_in_what_they_have() -> None:
    (query, selection), segment = queries(), memory(40, valid=True)
    assert segment.valid is not None
    first, second = parts(segment, 15, 25)
    bare = replace(first, shrinkage=None, valid=None)
    spelt = replace(
        first,
        shrinkage=torch.ones_like(first.key[..., 0]),
        valid=torch.ones(BATCH, ROWS, 15, dtype=torch.bool),
    )
    ours, _ = read(query, selection, [bare, second], kind="anisotropic", top_k=5)
    theirs, _ = read(query, selection, [spelt, second], kind="anisotropic", top_k=5)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("top_k", [None, 6])
def test_a_row_reads_as_if_its_own_tokens_were_all(top_k: int | None) -> None:
    query, selection = queries()
    segment = memory(331, valid=True)
    assert segment.valid is not None
    assert segment.shrinkage is not None
    out, _ = read(query, selection, [segment], kind="anisotropic", top_k=top_k)
    for sample in range(BATCH):
        one = slice(sample, sample + 1)
        for row in range(ROWS):
            own = segment.valid[sample, row]
            if not own.any():
                assert not out[sample, row].any()
                continue
            subset = Segment(
                segment.key[one, own],
                segment.shrinkage[one, own],
                segment.value[one, row : row + 1, own],
            )
            alone, _ = read(query[one], selection[one], [subset], kind="anisotropic", top_k=top_k)
            torch.testing.assert_close(out[sample, row], alone[0, 0])


@pytest.mark.parametrize("top_k", [None, 6])
def test_usage_is_of_the_first_row(top_k: int | None) -> None:
    (query, selection), segment = queries(), memory(60, valid=True)
    assert segment.valid is not None
    backwards = replace(segment, valid=segment.valid.flip(1))

    def usage(segment: Segment) -> Tensor:
        _, used = read(query, selection, [segment], kind="anisotropic", top_k=top_k, usage=True)
        assert used is not None
        return used[0]

    torch.testing.assert_close(usage(segment).sum(1), torch.full((2,), QUERIES).double())
    used = usage(backwards)  # whose first row may read nothing of sample 0
    assert not used[0].any()
    torch.testing.assert_close(used[1].sum(), torch.tensor(float(QUERIES)).double())
    assert not used[1, ~segment.valid[1, 2]].any()


@pytest.mark.parametrize("top_k", [None, 3])
def test_a_row_with_fewer_tokens_than_k_reads_them(top_k: int | None) -> None:
    (query, selection), segment = queries(), memory(90)
    valid = torch.zeros(BATCH, ROWS, 90, dtype=torch.bool)
    valid[:, 0, 5] = valid[:, 1, 80:82] = True
    segment = replace(segment, valid=valid)
    out, _ = read(query, selection, [segment], kind="anisotropic", top_k=top_k)
    only = segment.value[:, 0, 5, None].expand(-1, QUERIES, -1)
    torch.testing.assert_close(out[:, 0], only)
    torch.testing.assert_close(out, dense(query, selection, segment, "anisotropic", top_k)[0])
    assert not out[:, 2].any()


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize(
    ("kind", "chunk"), [("anisotropic", None), ("anisotropic", 1), ("l2", None), ("dot", None)]
)
def test_gradients(top_k: int | None, kind: Kind, chunk: int | None) -> None:
    query, selection = (tensor[:1, :2] for tensor in queries())
    segment = memory(6, valid=True)  # whose last row may read nothing of the first sample
    assert segment.shrinkage is not None
    assert segment.valid is not None
    value, valid = segment.value[:1, ..., :2], segment.valid[:1]
    inputs = (query, selection, segment.key[:1], segment.shrinkage[:1], value)

    def reading(*given: Tensor) -> Tensor:
        whole = Segment(given[2], given[3], given[4], valid)
        pieces = parts(whole, 2, 4)
        return read(given[0], given[1], pieces, kind=kind, top_k=top_k, chunk=chunk)[0]

    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(reading, leaves)


def test_training_keeps_no_affinity() -> None:
    count, saved = 331, []
    (query, selection), segment = queries(), memory(count)
    query.requires_grad_()

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out, _ = read(query, selection, [segment], kind="anisotropic", chunk=2)
    assert saved
    assert max(saved) < BATCH * QUERIES * count
    out.sum().backward()
    assert query.grad is not None


class Largest(TorchDispatchMode):
    """Notes how many elements the largest new tensor has."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not out._is_view():
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize("top_k", [None, 6])
def test_no_affinity_and_no_copy_of_the_values_is_made(top_k: int | None) -> None:
    query, selection = queries()
    segments = parts(memory(400), 100, 300)
    with torch.no_grad(), Largest() as largest:
        read(query, selection, segments, kind="anisotropic", top_k=top_k, chunk=1)
    keys = BATCH * 400 * (2 * KEY + 1)
    assert largest.elements == keys < BATCH * ROWS * 400 * VALUE


@pytest.mark.parametrize("top_k", [None, 6])
def test_queries_far_from_every_key_read_the_nearest(top_k: int | None) -> None:
    (query, selection), segment = queries(torch.float32), memory(331, dtype=torch.float32)
    assert segment.shrinkage is not None
    query = query + 40
    scores = similarity(query, segment.key, selection, segment.shrinkage, "anisotropic")
    assert scores.max() < -110
    if top_k is not None:  # as released, without subtracting the maximum
        best = scores.topk(top_k, 2).values.exp()
        assert (best / best.sum(2, keepdim=True)).isnan().all()
    ours, _ = read(query, selection, [segment], kind="anisotropic", top_k=top_k)
    best, places = scores.double().topk(top_k or 331, 2)
    weights = torch.zeros_like(scores, dtype=torch.float64).scatter(2, places, best.softmax(2))
    theirs = weights[:, None] @ segment.value.double()
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("top_k", [None, 6])
def test_autocast_and_half_values_leave_the_similarities_exact(top_k: int | None) -> None:
    (query, selection), segment = queries(torch.float32), memory(331, dtype=torch.float32)
    assert segment.shrinkage is not None
    arguments = query, segment.key, selection, segment.shrinkage
    exact = similarity(*arguments, "anisotropic")
    theirs, _ = read(query, selection, [segment], kind="anisotropic", top_k=top_k)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(similarity(*arguments, "anisotropic"), exact)
        half = replace(segment, value=segment.value.bfloat16())
        ours, _ = read(query, selection, [half], kind="anisotropic", top_k=top_k)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), theirs, atol=3e-2, rtol=3e-2)


def test_nobody_reads_nothing() -> None:
    (query, selection), segment = queries(), memory(20)
    empty = replace(segment, value=segment.value[:, :0])
    out, used = read(query, selection, [empty], kind="anisotropic", top_k=5, usage=True)
    assert out.shape == (BATCH, 0, QUERIES, VALUE)
    assert used is not None
    assert not used[0].any()


@pytest.mark.parametrize(
    ("counts", "top_k", "message"),
    [
        ((20, 4), 30, "top_k is 30, but the memory holds 24 tokens: "),
        ((24,), 0, "top_k is 0"),
        ((0, 0), None, "holds no tokens"),
        ((), 5, "holds no tokens"),
    ],
)
def test_what_cannot_be_read(counts: tuple[int, ...], top_k: int | None, message: str) -> None:
    query, selection = queries()
    segments = [memory(count) for count in counts]
    with pytest.raises(InputError, match=message):
        read(query, selection, segments, kind="anisotropic", top_k=top_k)
