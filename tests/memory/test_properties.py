"""What every bank keeps to, in random streams of objects that join and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from streams import (
    CASES,
    Banks,
    Case,
    Guided,
    N,
    Step,
    advance,
    copied,
    entry,
    flat,
    likely,
    looked,
    play,
    pointer,
    same,
    stream,
    value,
)

from vosfm.checkpoints.state import load_state, save_state
from vosfm.memory import Bank, Sensory
from vosfm.memory.banks.contents import validity
from vosfm.types import Objects, State

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@every_case
def test_the_capacity_is_reached_and_never_exceeded(case: Case) -> None:
    counts: dict[str, list[int]] = {name: [] for name in case.most}
    for seed in range(3):
        for _, banks in play(case.memory(), stream(seed)):
            for name, contents in banks.items():
                counts[name].append(contents.count)
    for name, most in case.most.items():
        assert most is None or max(counts[name]) == most


@every_case
def test_entries_are_those_of_their_objects_in_the_order_of_time(case: Case) -> None:
    """Every row has the values that its object had, none from before the object was there."""
    born: dict[int, int] = {}
    for seed in range(3):
        born.clear()
        for step, banks in play(case.memory(), stream(seed)):
            for thing in step.objects:
                born.setdefault(thing, step.when.time)
            for name, contents in banks.items():
                valid = validity(contents)
                for row, thing in enumerate(step.remaining[: valid.shape[1]]):
                    times = contents.time[0, row][valid[0, row]].tolist()
                    assert all(born[thing] <= time <= step.when.time for time in times)
                    if name == "long_term":
                        continue
                    assert all(one < other for one, other in pairwise(times))
                    if "value" in contents.rows and times:
                        ours = contents.rows["value"][0, row][valid[0, row]]
                        theirs = torch.stack([value(time, thing) for time in times])
                        assert torch.equal(ours, theirs.to(ours.dtype))
                    if "pointer" in contents.rows and times:
                        ours = contents.rows["pointer"][0, row][valid[0, row]]
                        theirs = torch.stack([pointer(time, thing) for time in times])
                        assert torch.equal(ours, theirs)


@every_case
def test_all_leaves_have_the_same_entries_and_rows(case: Case) -> None:
    for step, banks in play(case.memory(), stream(6)):
        for contents in banks.values():
            _, rows, count = contents.time.shape
            assert rows <= len(step.remaining)
            assert contents.valid is None or contents.valid.shape == contents.time.shape
            assert all(leaf.shape[1:3] == (rows, count) for leaf in contents.rows.values())
            assert all(leaf.shape[1] == count for leaf in contents.shared.values())
            assert all(bool(leaf.isfinite().all()) for leaf in contents.rows.values())


def selected(steps: list[Step], interval: int, given_alone: bool = False) -> list[int]:
    """The frames that a bank with this interval is interested in."""
    times: list[int] = []
    for step in steps:
        late = not times or step.when.time - times[-1] >= interval
        if step.when.given or (late and not given_alone):
            times.append(step.when.time)
    return times


KEPT: dict[str, Callable[[list[Step], list[int]], bool]] = {
    "reference": lambda s, kept: kept == selected(s, 0, True),
    "bounded reference": lambda s, kept: kept == first_and_newest(selected(s, 0, True), 3),
    "local": lambda s, kept: kept == [s[-1].when.time],
    "temporal": lambda s, kept: kept == selected(s, 3),
    "keep_first": lambda s, kept: kept == first_and_newest(selected(s, 2), N),
    "fifo": lambda s, kept: kept == selected(s, 2)[-N:],
    "none": lambda s, kept: kept == selected(s, 2)[:N],
    "keep_first_last": lambda s, kept: some_between(selected(s, 2), kept),
    "working": lambda s, kept: kept == first_and_newest(selected(s, 2), len(kept)),
    "working, official": lambda s, kept: kept == first_and_newest(selected(s, 2), len(kept)),
    "prompted": lambda s, kept: kept == given(s),
    "bounded prompted": lambda s, kept: kept == first_and_newest(given(s), 2),
    "newest prompted": lambda s, kept: kept == given(s)[-1:],
    "selective": lambda s, kept: kept == recent(s, N),
    "selective, half": lambda s, kept: kept == recent(s, N),
    "selective, paper": lambda s, kept: kept == trusted(s)[-N:],
    "selective, released": lambda s, kept: trusted_and_last(s, kept),
    "pointers": lambda s, kept: kept == recent(s, N - 1),
    "pointers, released": lambda s, kept: trusted_and_last(s, kept),
}


def given(steps: list[Step]) -> list[int]:
    """The frames that the first object was given in."""
    return [s.when.time for s in steps if s.when.rows is not None and bool(s.when.rows[0, 0])]


def recent(steps: list[Step], frames: int) -> list[int]:
    """The last frames, without those that the first object was given in."""
    return sorted({s.when.time for s in steps[-frames:]} - set(given(steps)))


def trusted(steps: list[Step]) -> list[int]:
    """The frames in which the first object is said to be well seen, and was not given."""
    said = {step.when.time: likely(step.when.time, 0) for step in steps}
    good = {time for time, (quality, presence) in said.items() if quality > 0.5 and presence > 0}
    return sorted(good - set(given(steps)))


def trusted_and_last(steps: list[Step], kept: list[int]) -> bool:
    """Where the last frame was given, there may be room for one more."""
    last = recent(steps, 1)
    wanted = sorted({*trusted(steps), *last})
    return kept == wanted[len(wanted) - len(kept) :] and len(kept) >= min(
        len(wanted), N if last else N - 1
    )


def first_and_newest(times: list[int], count: int) -> list[int]:
    return times[:1] + times[1:][len(times) - count :] if len(times) > count else times


def some_between(times: list[int], kept: list[int]) -> bool:
    ends = (kept[0], kept[-1]) == (times[0], times[-1])
    return ends and set(kept) <= set(times) and len(kept) == min(N, len(times))


@pytest.mark.parametrize("name", KEPT)
def test_the_first_and_the_newest_stay_where_that_is_promised(name: str) -> None:
    for seed in range(3):
        steps = stream(seed, first_stays=True)
        for length, (_, banks) in enumerate(play(CASES[name].memory(), steps), 1):
            (bank,) = banks.values()
            kept = bank.time[0, 0][validity(bank)[0, 0]].tolist() if bank.count else []
            assert KEPT[name](steps[:length], kept), (kept, steps[length - 1])


@every_case
def test_due_says_when_the_masks_are_needed(case: Case) -> None:
    """Where a bank is due, what it does depends on the encoding; elsewhere it needs none."""
    memory = case.memory()
    for seed in range(2):
        banks = memory.start()
        for step in stream(seed):
            for name, bank in memory.banks.items():
                assert isinstance(bank, Bank)
                one, other, bare = (
                    bank.write(banks[name], offered, step.when)
                    for offered in (
                        entry(step),
                        entry(step, take=1),
                        entry(step, encoded=bank.due(banks[name], step.when)),
                    )
                )
                assert same(one, bare)
                if not bank.due(banks[name], step.when):
                    assert same(one, other)
                elif isinstance(bank, Guided):
                    assert not same(one, other) or not (one[0].time == step.when.time).any()
                elif not (isinstance(bank, Sensory) and bank.deep_interval and step.when.given):
                    assert not same(one, other)
            banks = advance(memory, banks, step)


@every_case
def test_nothing_that_was_given_is_changed(case: Case) -> None:
    memory = case.memory()
    banks = memory.start()
    for step in stream(7):
        usage, offered = looked(banks, step), entry(step)
        before = [
            (nest, copied(nest))
            for nest in (banks, usage, offered.rows, offered.shared, offered.state)
        ]
        memory.observe(banks, usage)
        memory.write(banks, offered, step.when)
        memory.select(banks, [0])
        banks = advance(memory, banks, step)
        assert all(same(flat(nest), copy) for nest, copy in before)


@every_case
def test_forks_of_a_stream_do_not_see_each_other(case: Case) -> None:
    memory, steps = case.memory(), stream(8)
    banks = memory.start()
    for step in steps[:20]:
        banks = advance(memory, banks, step)
    fork = copied(banks)
    one = other = banks
    alone = [one := advance(memory, one, step) for step in steps[20:]]
    first = [copied(each) for each in alone]
    apart = False
    for step, each in zip(steps[20:], alone, strict=True):
        other = advance(memory, other, step, take=1)
        apart = apart or not same(each, other)
    assert same(flat(banks), fork)
    assert all(same(flat(each), copy) for each, copy in zip(alone, first, strict=True))
    assert apart == (case is not CASES["none"])


@every_case
@pytest.mark.parametrize("cut", [1, 9, 23])
def test_a_stream_that_was_saved_goes_on_as_if_it_had_not_been(
    case: Case, cut: int, tmp_path: Path
) -> None:
    """Bit by bit, random choices included."""
    memory, steps = case.memory(), stream(9)
    resumed: Banks | None = None
    for index, (step, banks) in enumerate(play(memory, steps)):
        if resumed is not None:
            resumed = advance(memory, resumed, step)
            assert same(banks, resumed)
        if index == cut:
            ids = torch.tensor([step.remaining])
            objects = Objects(ids, ids >= 0, torch.arange(ids.shape[1])[None], ids * 0)
            save_state(State((8, 8), index + 1, objects, banks), tmp_path / "state.safetensors")
            resumed = load_state(tmp_path / "state.safetensors").banks
            assert same(banks, {name: resumed[name] for name in banks})
            assert list(resumed) == sorted(banks)


@pytest.mark.parametrize(
    ("name", "interval"), [("sensory", 3), ("sensory, by chance", 2), ("sensory, out of step", 2)]
)
def test_chance_does_not_move_the_interval_of_a_hidden_state(name: str, interval: int) -> None:
    """Frames are selected at the interval, whether or not the values then move the state on."""
    steps = stream(4)
    for length, (_, banks) in enumerate(play(CASES[name].memory(), steps), 1):
        shared = banks["bank"].shared
        assert shared["selected"].tolist() == [[selected(steps[:length], interval)[-1]]]
        assert int(shared["deepened"]) <= int(shared["selected"])
