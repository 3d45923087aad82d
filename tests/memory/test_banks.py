"""What every bank promises, and what each of them keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vosfm.memory import Bank, Local, Memory, Reference, Sensory, Sequential, Temporal, Working
from vosfm.memory.banks.contents import select_rows, widen
from vosfm.types import Contents, Entry, When

BANKS = {
    "reference": Reference(),
    "bounded reference": Reference(capacity=2),
    "temporal": Temporal(interval=3),
    "short intervals in training": Temporal(interval=3, training_interval=2),
    "bounded temporal": Temporal(interval=2, capacity=3),
    "local": Local(),
}


def entry(time: int, rows: int = 2) -> Entry:
    """Of a frame, recognisable by its values."""
    return Entry({"key": torch.full((1, rows, 4, 3), float(time))})


def fill(bank: Bank, length: int = 10, given: tuple[int, ...] = (0, 4, 5)) -> list[Contents]:
    """The contents after every frame."""
    contents, history = Contents(), []
    for time in range(length):
        contents, _ = bank.write(contents, entry(time), When(time, time in given))
        history.append(contents)
    return history


def times(contents: Contents) -> list[int]:
    return contents.time[0, 0].tolist()


@pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS.keys())
def test_entries_are_in_the_order_of_time(bank: Bank) -> None:
    for contents in fill(bank):
        assert times(contents) == sorted(set(times(contents)))
        assert contents.rows["key"][0, 0, :, 0, 0].tolist() == times(contents)


@pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS.keys())
def test_a_write_leaves_the_past_as_it_was(bank: Bank) -> None:
    contents = Contents()
    for time in range(6):
        copies = {name: leaf.clone() for name, leaf in contents.rows.items()}
        before, contents = contents, bank.write(contents, entry(time), When(time, True))[0]
        assert all(torch.equal(before.rows[name], copy) for name, copy in copies.items())


@pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS.keys())
def test_what_leaves_was_in_and_is_no_more(bank: Bank) -> None:
    contents = Contents()
    for time in range(8):
        held = times(contents) if contents.count else []
        contents, leaving = bank.write(contents, entry(time), When(time, True))
        if leaving is not None:
            (gone,) = leaving.rows["key"].unique().tolist()
            assert gone in held
            assert gone not in times(contents)


def test_what_each_keeps() -> None:
    kept = {name: times(fill(bank)[-1]) for name, bank in BANKS.items()}
    assert kept == {
        "reference": [0, 4, 5],
        "bounded reference": [0, 5],
        "temporal": [0, 3, 4, 5, 8],
        "short intervals in training": [0, 2, 4, 5, 7, 9],
        "bounded temporal": [0, 7, 9],
        "local": [9],
    }
    long = BANKS["short intervals in training"].eval()
    assert times(fill(long)[-1]) == kept["temporal"]
    long.train()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reference(capacity=0), "capacity"),
        (lambda: Temporal(interval=0), "interval"),
        (lambda: Temporal(interval=5, training_interval=0), "training_interval"),
        (lambda: Temporal(interval=5, capacity=0), "capacity"),
        (lambda: Working(interval=0), "interval"),
        (lambda: Working(interval=5, training_interval=0), "training_interval"),
        (lambda: Sequential(interval=0), "interval"),
        (lambda: Sequential(interval=5, training_interval=0), "training_interval"),
        (lambda: Sensory(interval=0), "interval"),
        (lambda: Sensory(deep_interval=0), "deep_interval"),
    ],
)
def test_arguments_out_of_range(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be at least 1"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["probability", "training_probability"])
@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_probability_out_of_range(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=f"a probability is {share}: give one in"):
        Sensory(**{name: share})  # type: ignore[arg-type]


def test_rows_that_join_have_no_past() -> None:
    bank = Reference()
    contents, _ = bank.write(Contents(), entry(0, rows=1), When(0, True))
    contents, _ = bank.write(contents, entry(3, rows=2), When(3, True))
    assert contents.valid is not None
    assert contents.valid.tolist() == [[[True, True], [False, True]]]
    alone = select_rows(contents, [1])
    assert alone.valid is not None
    assert alone.valid.tolist() == [[[False, True]]]
    assert widen(alone, 1) is alone


def test_rows_that_joined_since_the_last_entry_can_stay_alone() -> None:
    """Where an object joins and another leaves before the bank takes anything of the new one."""
    contents, _ = Reference().write(Contents(), entry(0, rows=1), When(0, True))
    alone = select_rows(contents, [1])
    assert alone.valid is not None
    assert alone.valid.tolist() == [[[False]]]
    assert alone.time.shape == (1, 1, 1)
    assert select_rows(contents, [0]) is contents


def test_a_reader_must_find_its_banks() -> None:
    class Reads(torch.nn.Module):
        reads = ("absent",)

    with pytest.raises(ValueError, match=r"reads bank 'absent', memory has \['local'\]"):
        Memory({"local": Local()}, Reads())  # type: ignore[arg-type]


def test_invalid_entries_are_not_seen() -> None:
    """A row reads the same with an entry it must not see as without that entry."""
    from vosfm.memory import LSTT
    from vosfm.types import Features, Geometry

    torch.manual_seed(0)
    reader = LSTT(width=8, layers=1, heads=2, hidden=32, radius=1).eval()
    size = (3, 4)
    features = Features(torch.empty(0), {}, torch.randn(1, 8, *size), Geometry(size, size, size))

    def bank(entries: int) -> dict[str, Tensor]:
        chance = torch.Generator().manual_seed(entries)
        return {
            name: torch.randn(1, 1, entries, 12, 8, generator=chance) for name in ("key0", "value0")
        }

    local = Contents(bank(1), {}, torch.zeros(1, 1, 1, dtype=torch.int64))
    seen = bank(2)
    one = Contents({n: v[:, :, 1:] for n, v in seen.items()}, {}, torch.ones(1, 1, 1).long())
    two = Contents(seen, {}, torch.tensor([[[0, 1]]]), torch.tensor([[[False, True]]]))
    every = Contents(seen, {}, torch.tensor([[[0, 1]]]))
    maps = [
        reader.read(features, {"reference": reference, "local": local}, 1, When(1, False)).maps[0]
        for reference in (one, two, every)
    ]
    torch.testing.assert_close(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])
