"""XMem's long-term memory and the counters of use, by numbers that a hand can compute."""

from __future__ import annotations

from math import exp

import pytest
import torch
from torch import Tensor

from vosfm import InputError
from vosfm.memory import LongTerm, Working
from vosfm.memory.banks.usage import counted, rate, uncounted
from vosfm.types import Contents, Entry, When

KEYS = [[0.0, 1.0], [2.0, 4.0]]
SHRINKAGE = [[1.0, 2.0], [1.0, 3.0]]
VALUES = [[10.0, 20.0], [30.0, 40.0]]
RATES = [[0.5, 0.1], [0.2, 0.9]]


def evicted(valid: list[list[bool]] | None = None, rows: int = 1) -> Contents:
    """Two frames of two tokens of one channel; the first token and the last are the most used."""
    value = torch.tensor(VALUES)[None, None, ..., None].repeat(1, rows, 1, 1, 1)
    value = value * (1 + torch.arange(rows)).view(1, rows, 1, 1, 1)
    shared = {
        "key": torch.tensor(KEYS)[None, ..., None],
        "shrinkage": torch.tensor(SHRINKAGE)[None],
        "selection": torch.full((1, 2, 2, 1), 0.5),
        "usage": torch.tensor(RATES)[None] * 4,
        "life": torch.full((1, 2, 2), 4.0),
    }
    time = torch.tensor([5, 10]).expand(1, rows, 2)
    return Contents(
        {"value": value}, shared, time, None if valid is None else torch.tensor([valid])
    )


def absorbed(contents: Contents, bank: LongTerm, before: Contents | None = None) -> Contents:
    return bank.absorb(before or Contents(), contents, When(15, False))


def weights(query: float, candidates: list[tuple[float, float]]) -> list[float]:
    """Of (key, shrinkage) pairs for a prototype; its selection is a half, Ck is 1."""
    raw = [exp(-s * 0.5 * (key - query) ** 2) for key, s in candidates]
    return [each / sum(raw) for each in raw]


ALL = [(0.0, 1.0), (1.0, 2.0), (2.0, 1.0), (4.0, 3.0)]


def test_prototypes_are_the_most_used_tokens_with_a_value_of_them_all() -> None:
    long_term = absorbed(evicted(), LongTerm(prototypes=2, capacity=4))
    assert long_term.shared["key"].flatten().tolist() == [4.0, 0.0]
    assert long_term.time.tolist() == [[[10, 5]]]
    for place, query in enumerate((4.0, 0.0)):
        shares = weights(query, ALL)
        value = sum(w * v for w, v in zip(shares, (10.0, 20.0, 30.0, 40.0), strict=True))
        shrinkage = sum(w * s for w, (_, s) in zip(shares, ALL, strict=True))
        assert long_term.rows["value"][0, 0, place].tolist() == pytest.approx([value], rel=1e-5)
        assert long_term.shared["shrinkage"][0, place].item() == pytest.approx(shrinkage, rel=1e-5)
    assert not long_term.shared["usage"].any()
    assert not rate(long_term).any()


def test_a_late_object_has_only_its_own() -> None:
    """It was not there in the first of the frames: no token, no value of it."""
    valid = [[True, True], [False, True]]
    long_term = absorbed(evicted(valid, rows=2), LongTerm(prototypes=2, capacity=4))
    assert long_term.valid is not None
    assert long_term.valid.tolist() == [[[True, True], [True, False]]]
    early = absorbed(evicted(), LongTerm(prototypes=2, capacity=4))
    assert torch.equal(long_term.rows["value"][:, :1], early.rows["value"])
    shares = weights(4.0, ALL[2:])
    value = shares[0] * 60 + shares[1] * 80
    assert long_term.rows["value"][0, 1, 0].tolist() == pytest.approx([value], rel=1e-5)


def test_an_object_that_was_in_no_frame_has_nothing() -> None:
    valid = [[True, True], [False, False]]
    long_term = absorbed(evicted(valid, rows=2), LongTerm(prototypes=2, capacity=4))
    assert long_term.valid is not None
    assert long_term.valid.tolist() == [[[True, True], [False, False]]]
    assert not long_term.rows["value"][0, 1].any()


def test_values_lie_between_those_they_are_made_of() -> None:
    chance = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=chance)

    shared = {
        "key": drawn(1, 3, 7, 5),
        "shrinkage": 1 + drawn(1, 3, 7) ** 2,
        "selection": drawn(1, 3, 7, 5).sigmoid(),
        "usage": drawn(1, 3, 7) ** 2,
        "life": torch.ones(1, 3, 7),
    }
    value = drawn(1, 2, 3, 7, 4)
    time = torch.arange(3).expand(1, 2, 3)
    valid = torch.tensor([[[True, True, True], [False, True, True]]])
    long_term = absorbed(Contents({"value": value}, shared, time, valid), LongTerm(6, 20))
    usage = shared["usage"][0].flatten()
    assert torch.equal(
        long_term.shared["key"][0], shared["key"][0].flatten(0, 1)[usage.argsort()[-6:].flip(0)]
    )
    for row, first in ((0, 0), (1, 1)):
        seen, made = value[0, row, first:].flatten(0, 1), long_term.rows["value"][0, row]
        assert (made >= seen.amin(0) - 1e-5).all()
        assert (made <= seen.amax(0) + 1e-5).all()
    assert (long_term.shared["shrinkage"] >= 1 - 1e-5).all()


def test_the_least_used_leave_at_capacity() -> None:
    bank = LongTerm(prototypes=2, capacity=5)
    contents = absorbed(evicted(), bank)
    contents = absorbed(evicted(), bank, contents)
    contents = bank.observe(contents, torch.tensor([[0.4, 0.1, 0.3, 0.2]]))
    shares = contents.rows["value"][0, 0, :, 0]
    after = absorbed(evicted(), bank, contents)
    assert after.count == 5
    assert torch.equal(after.rows["value"][0, 0, :3, 0], shares[[0, 2, 3]])
    assert after.shared["usage"][0].tolist() == pytest.approx([0.4, 0.3, 0.2, 0, 0])


def test_tokens_used_equally_little_leave_together() -> None:
    """As in the released code: none of them is worth more than the one that has to go."""
    bank = LongTerm(prototypes=2, capacity=5)
    contents = absorbed(evicted(), bank, absorbed(evicted(), bank))
    assert absorbed(evicted(), bank, contents).count == 2


def test_counters() -> None:
    contents = Contents(shared=uncounted(Entry(shared={"key": torch.zeros(1, 2, 3, 4)})).shared)
    assert rate(contents).tolist() == [[[0, 0, 0], [0, 0, 0]]]
    contents = counted(contents, torch.tensor([[1.0, 0, 2, 0, 0, 3]]))
    contents = counted(contents, torch.tensor([[0.0, 0, 2, 1, 0, 0]]))
    assert contents.shared["usage"].tolist() == [[[1, 0, 4], [1, 0, 3]]]
    torch.testing.assert_close(rate(contents), torch.tensor([[[0.5, 0, 2], [0.5, 0, 1.5]]]))


def test_what_leaves_the_working_memory_carries_its_use() -> None:
    bank = Working(1, capacity=4, keep=2)
    contents, left = Contents(), None
    for time in range(4):
        entry = Entry({"value": torch.zeros(1, 1, 2, 3)}, {"key": torch.zeros(1, 2, 3)})
        if contents.count:
            contents = bank.observe(contents, torch.arange(2.0 * time)[None])
        contents, left = bank.write(contents, entry, When(time, time == 0))
    assert left is not None
    assert left.time.tolist() == [[[1, 2]]]
    assert left.shared["usage"].tolist() == [[[2 + 2, 3 + 3], [4, 5]]]
    assert contents.time.tolist() == [[[0, 3]]]
    assert contents.shared["usage"].tolist() == [[[0, 3], [0, 0]]]
    torch.testing.assert_close(rate(left), torch.tensor([[[2.0, 3], [4, 5]]]))


@pytest.mark.parametrize(("prototypes", "capacity"), [(0, 10), (4, 4), (4, 3)])
def test_no_room(prototypes: int, capacity: int) -> None:
    with pytest.raises(ValueError, match=f"{prototypes} prototypes, capacity {capacity}"):
        LongTerm(prototypes, capacity)


@pytest.mark.parametrize(("capacity", "keep"), [(4, 1), (4, 4), (2, 2)])
def test_a_working_memory_keeps_the_first_and_the_newest(capacity: int, keep: int) -> None:
    with pytest.raises(ValueError, match=f"keep is {keep} of a capacity of {capacity}"):
        Working(1, capacity=capacity, keep=keep)


def test_streams_that_are_batched() -> None:
    one = evicted()
    both = Contents(
        {"value": one.rows["value"].repeat(2, 1, 1, 1, 1)},
        {name: leaf.repeat(2, *(1,) * (leaf.dim() - 1)) for name, leaf in one.shared.items()},
        one.time.repeat(2, 1, 1),
    )
    with pytest.raises(InputError, match="a batch of 2 streams: consolidate one stream at a time"):
        absorbed(both, LongTerm(2, 4))


def test_entries_that_nobody_counted() -> None:
    one = evicted()
    shared = {name: leaf for name, leaf in one.shared.items() if name != "selection"}
    with pytest.raises(InputError, match="LongTerm got entries without 'selection'"):
        absorbed(Contents(one.rows, shared, one.time), LongTerm(2, 4))
