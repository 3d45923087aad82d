"""Which entry makes room, and that chance is the stream's own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import goldens
import pytest
import torch

from vosfm.checkpoints.state import load_state, save_state
from vosfm.memory import Memory, Temporal
from vosfm.memory.banks.policies import Policy
from vosfm.types import Contents, Entry, Objects, State, When

RELEASED: dict[str, Policy] = {
    "random_except_first_last": "keep_first_last",
    "random_except_first": "none",
    "random": "random",
    "fifo": "fifo",
    "not_filter": "none",
}
LENGTH = 60


def kept(bank: Temporal, times: range, seed: int = 0, before: Contents | None = None) -> Contents:
    contents = before or Contents()
    for time in times:
        entry = Entry({"value": torch.full((1, 1, 2, 3), float(time))})
        contents, _ = bank.write(contents, entry, When(time, time == 0, seed))
    return contents


def held(contents: Contents) -> list[int]:
    return contents.time[0, 0].tolist()


@pytest.mark.parametrize(("method", "policy"), RELEASED.items(), ids=RELEASED.keys())
@pytest.mark.parametrize(("frames", "capacity"), [(2, 3), (2, 10), (4, 3), (4, 10), (11, 10)])
def test_as_the_released_filter(method: str, policy: Policy, frames: int, capacity: int) -> None:
    """A memory that fits, and one that is a frame too large.

    The golden also filters 11 frames down to 3 at once. A stream never does: it filters whenever
    it adds a frame.
    """
    golden = goldens.load("mmpm_filter_memory", system="mmpm")
    theirs = golden.outputs[f"{method}.T{frames}.max{capacity}"].tolist()
    ours = held(kept(Temporal(1, capacity=capacity, policy=policy), range(frames)))
    if frames <= capacity or not method.startswith("random") or policy == "none":
        assert ours == theirs
        return
    assert len(ours) == len(theirs)
    assert ours == sorted(set(ours) & set(range(frames)))
    if policy == "keep_first_last":
        assert (ours[0], ours[-1]) == (theirs[0], theirs[-1])


@pytest.mark.parametrize(
    ("policy", "leave"),
    [
        ("keep_first", {1}),
        ("keep_first_last", {1, 2, 3}),
        ("fifo", {0}),
        ("random", {0, 1, 2, 3, 4}),
        ("none", {4}),
    ],
)
def test_every_entry_that_may_leave_does_some_time(policy: Policy, leave: set[int]) -> None:
    """Places of 4 that are held and, last, of the new one; about equally often where by chance."""
    bank = Temporal(1, capacity=4, policy=policy)
    contents = kept(bank, range(4))
    counts = dict.fromkeys(range(5), 0)
    for time in range(4, 604):
        before = [*held(contents), time]
        contents = kept(bank, range(time, time + 1), before=contents)
        (gone,) = set(before) - set(held(contents))
        counts[before.index(gone)] += 1
    assert {place for place, count in counts.items() if count} == leave
    assert all(counts[place] > 400 / len(leave) for place in leave)


@pytest.mark.parametrize("policy", ["keep_first_last", "random"])
def test_chance_is_that_of_the_stream(policy: Policy, tmp_path: Path) -> None:
    """The same evictions again and after a resume, others with another seed."""
    bank = Temporal(1, capacity=5, policy=policy)
    whole = held(kept(bank, range(LENGTH), seed=3))
    assert held(kept(bank, range(LENGTH), seed=3)) == whole
    others = [held(kept(bank, range(LENGTH), seed=seed)) for seed in range(4, 12)]
    assert all(other != whole for other in others)
    nobody = torch.zeros(1, 0, dtype=torch.int64)
    objects = Objects(nobody, nobody.bool(), nobody, nobody)
    half = kept(bank, range(LENGTH // 2), seed=3)
    path = tmp_path / "state.safetensors"
    save_state(State((4, 4), LENGTH // 2, objects, {"temporal": half}, seed=3), path)
    torch.manual_seed(123)
    state = load_state(path)
    rest = range(state.time, LENGTH)
    assert held(kept(bank, rest, state.seed, state.banks["temporal"])) == whole


@pytest.mark.parametrize("policy", ["random", "none"])
def test_a_frame_that_is_turned_away_is_not_made_up_for(policy: Policy) -> None:
    """Frames are offered at the interval alone, and no masks are encoded to be turned away."""
    bank = Temporal(3, capacity=2, policy=policy)
    memory = Memory({"bank": bank}, _Unread())  # type: ignore[arg-type]
    contents, entered = Contents(), []
    for time in range(LENGTH):
        if memory.due({"bank": contents}, When(time, False)):
            contents = kept(bank, range(time, time + 1), before=contents)
            assert held(contents)[-1] == time
            entered.append(time)
    assert all(time % 3 == 0 for time in entered)
    if policy == "none":
        assert entered == [0, 3]
    else:
        assert 2 < len(entered) < LENGTH / 3
        assert any(other - one > 3 for one, other in pairwise(entered))


class _Unread(torch.nn.Module):
    reads: tuple[str, ...] = ()


def test_first_and_last_need_room_for_two() -> None:
    with pytest.raises(ValueError, match="holds the first and the newest, give at least 2"):
        Temporal(1, capacity=1, policy="keep_first_last")
    assert held(kept(Temporal(1, capacity=2, policy="keep_first_last"), range(9))) == [0, 8]


def test_a_policy_that_is_none_of_them() -> None:
    with pytest.raises(ValueError, match="policy is 'lifo': give one of keep_first, keep_first_l"):
        Temporal(1, capacity=3, policy="lifo")  # type: ignore[arg-type]
