"""DDMemory's global bank: what it follows, what feeds it, and what becomes of its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streams import Banks, Step, copied, drawn, flat, same, stream
from torch import Tensor, nn

from vosfm.checkpoints.state import load_state, save_state
from vosfm.errors import InputError
from vosfm.layers import ConvGRU
from vosfm.memory import Global, Local, Memory
from vosfm.types import Contents, Entry, Objects, State, When

WIDTH, LAYERS, SIZE = 4, 2, (2, 3)
TOKENS = SIZE[0] * SIZE[1]
EARLY = {"place": "before_layers", "feed": "delayed"}


class Unread(nn.Module):
    reads: tuple[str, ...] = ()


def bank(**options: Any) -> Global:
    """With weights of which all matter."""
    torch.manual_seed(0)
    made = Global(WIDTH, LAYERS, **options).eval()
    for weight in made.recurrence.units.parameters():
        nn.init.normal_(weight, std=0.7)
    return made


def memory(**options: Any) -> Memory:
    """A global bank, fed by a local one unless it feeds itself."""
    follower = bank(**options)
    if follower.feed != "evicted":
        return Memory({"global": follower}, Unread()).eval()  # type: ignore[arg-type]
    banks = {"global": follower, "local": Local()}
    return Memory(banks, Unread(), {"local": "global"}).eval()  # type: ignore[arg-type]


def tokens(time: int, thing: int, kind: int, take: int = 0) -> Tensor:
    return 4 * drawn(time, thing, kind, take, shape=(TOKENS, WIDTH)) - 2


def entry(
    time: int, things: tuple[int, ...] = (0,), depth: int | None = None, take: int = 0
) -> Entry:
    rows = {
        f"{name}{layer}": torch.stack([tokens(time, t, 2 * layer + kind, take) for t in things])[
            None
        ]
        for layer in range(depth or LAYERS)
        for kind, name in enumerate(("key", "value"))
    }
    state = {
        name: torch.stack([tokens(time, t, kind, take) for t in of])[None]
        .transpose(2, 3)
        .unflatten(3, SIZE)
        for name, kind, of in (("value", 20, things), ("embedding", 21, (0,)))
    }
    return Entry(rows, state=state, depth=depth)


def play(holder: Memory, length: int, **options: Any) -> list[dict[str, Contents]]:
    """The banks after every frame, of which the first is given."""
    banks, history = holder.start(), []
    for time in range(length):
        banks = holder.write(banks, entry(time, **options), When(time, time == 0))
        history.append(banks)
    return history


def held(banks: Banks, name: str = "key0", row: int = 0) -> Tensor:
    (leaf,) = banks["global"].rows[name][0, row]
    return leaf


def maps(leaf: Tensor) -> Tensor:
    return leaf.T.unflatten(1, SIZE)[None]


def moved(unit: ConvGRU, *frames: Tensor) -> Tensor:
    """A map that starts as the first frame and takes the others."""
    hidden = maps(frames[0])
    for frame in frames[1:]:
        hidden = unit(maps(frame), hidden)
    return hidden[0].flatten(1).T


@pytest.mark.parametrize("feed", ["evicted", "delayed", "written"])
@torch.no_grad()
def test_the_recursion_by_hand(feed: str) -> None:
    """G_1 = f_1, G_t = GRU(G_{t-1}, f_{t-2}), where frame t - 1 was written last."""
    holder = memory(feed=feed)
    history = play(holder, 5)
    follower = holder.banks["global"]
    assert isinstance(follower, Global)
    for name, kind in (("key0", 0), ("value0", 1), ("key1", 2), ("value1", 3)):
        unit = follower.recurrence.units[name]
        frames = [tokens(time, 0, kind) for time in range(5)]
        for time, banks in enumerate(history):
            taken = frames[1 : time + 1] if feed == "written" else frames[:time]
            torch.testing.assert_close(held(banks, name), moved(unit, frames[0], *taken))
    times = [banks["global"].time.tolist() for banks in history]
    newest = range(5) if feed == "written" else (0, 0, 1, 2, 3)
    assert times == [[[[time]]] for time in newest]


@torch.no_grad()
def test_a_delay_does_what_local_does_by_evicting() -> None:
    """With objects that join, and frames that were read with some layers alone."""
    evicted, delayed = memory(), memory(feed="delayed")
    delayed.load_state_dict(evicted.state_dict())
    ours, theirs = evicted.start(), delayed.start()
    for time in range(12):
        things = (0,) if time < 3 else (0, 1) if time < 7 else (0, 1, 2)
        depth = 1 if time in (2, 5, 6, 10) else None
        when = When(time, time in (0, 3, 7))
        ours = evicted.write(ours, entry(time, things, depth), when)
        theirs = delayed.write(theirs, entry(time, things, depth), when)
        for name, leaf in ours["global"].rows.items():
            torch.testing.assert_close(theirs["global"].rows[name], leaf, rtol=0, atol=0)


@torch.no_grad()
def test_a_row_that_joins_starts_as_its_frame_and_others_go_on() -> None:
    holder = memory()
    alone = play(holder, 6)
    banks = alone[2]
    banks = holder.write(banks, entry(3, (0, 1)), When(3, True))
    torch.testing.assert_close(held(banks, row=1), tokens(3, 1, 0), rtol=0, atol=0)
    torch.testing.assert_close(held(banks), held(alone[3]))
    assert banks["global"].time.tolist() == [[[2], [3]]]
    assert banks["global"].valid is None
    banks = holder.write(banks, entry(4, (0, 1)), When(4, False))
    follower = holder.banks["global"]
    assert isinstance(follower, Global)
    unit = follower.recurrence.units["key0"]
    first = tokens(3, 1, 0)
    torch.testing.assert_close(held(banks, row=1), moved(unit, first, first))
    torch.testing.assert_close(held(banks), held(alone[4]))
    only = holder.select(banks, [1])
    assert torch.equal(held(only), held(banks, row=1))


@torch.no_grad()
def test_a_later_given_frame_does_not_begin_again() -> None:
    holder = memory()
    banks = play(holder, 4)[-1]
    given = holder.write(banks, entry(4), When(4, True))
    tracked = holder.write(banks, entry(4), When(4, False))
    assert same(given, tracked)
    assert not torch.equal(held(given), tokens(4, 0, 0))


@torch.no_grad()
def test_layers_that_a_frame_lacks_stay() -> None:
    holder = memory()
    before = play(holder, 4)[-1]
    shallow = holder.write(before, entry(4, depth=1), When(4, False))
    for name in ("key0", "value0", "key1", "value1"):
        stays = name.endswith("1")
        assert torch.equal(held(shallow, name), held(before, name)) == stays
    after = holder.write(shallow, entry(5), When(5, False))
    assert all(not torch.equal(held(after, n), held(shallow, n)) for n in after["global"].rows)


@torch.no_grad()
def test_zeros_of_absent_layers_are_not_taken() -> None:
    """As a bank holds them that keeps frames of different depths."""
    follower = bank()
    contents, _ = follower.write(Contents(), entry(0), When(0, True))
    rows = {name: leaf.unsqueeze(2) for name, leaf in entry(1).rows.items()}
    rows |= {name: torch.zeros_like(rows[name]) for name in ("key1", "value1")}
    evicted = Contents(rows, {}, torch.ones(1, 1, 1, dtype=torch.int64))
    shallow = replace(evicted, depth=torch.tensor([1]))
    taken = follower.absorb(contents, shallow, When(2, False)).rows
    assert torch.equal(taken["key1"], contents.rows["key1"])
    assert torch.equal(
        taken["key0"], follower.absorb(contents, evicted, When(2, False)).rows["key0"]
    )
    assert not torch.equal(taken["key0"], contents.rows["key0"])


class TestWhatIsFollowed:
    @pytest.mark.parametrize("follows", ["key", "value", "both"])
    @torch.no_grad()
    def test_the_rest_is_of_the_newest_frame(self, follows: str) -> None:
        banks = play(memory(follows=follows), 5)[-1]
        for name, kind in (("key0", 0), ("value0", 1), ("key1", 2), ("value1", 3)):
            followed = follows in (name[:-1], "both")
            newest = torch.equal(held(banks, name), tokens(3, 0, kind))
            assert newest == (not followed)

    @torch.no_grad()
    def test_layers_share_a_unit_or_have_their_own(self) -> None:
        shared, apart = bank(place="all_layers"), bank()
        assert sorted(shared.recurrence.units) == ["key", "value"]
        assert sorted(apart.recurrence.units) == ["key0", "key1", "value0", "value1"]
        one, other = tokens(0, 0, 0), tokens(1, 0, 0)

        def alike(follower: Global) -> bool:
            pair = [
                Entry(dict.fromkeys(("key0", "value0", "key1", "value1"), leaf[None, None]))
                for leaf in (one, other)
            ]
            leaves = follower.recurrence(pair[0].rows, pair[1].rows, SIZE)
            assert all(not torch.equal(leaf[0, 0], other) for leaf in leaves.values())
            return torch.equal(leaves["key0"], leaves["key1"])

        assert alike(shared)
        assert not alike(apart)

    @pytest.mark.parametrize(
        ("options", "units"),
        [
            ({}, ["appearance", "identity"]),
            ({"follows": "key"}, ["appearance"]),
            ({"follows": "value"}, ["appearance", "identity"]),
            ({"follows": "value", "identity": "fused"}, ["fused"]),
        ],
    )
    @torch.no_grad()
    def test_before_the_layers(self, options: dict[str, str], units: list[str]) -> None:
        """Keys never depend on masks, values do; what is not followed is of the newest frame."""
        holder = memory(**EARLY, **options)
        follower = holder.banks["global"]
        assert isinstance(follower, Global)
        assert sorted(follower.recurrence.units) == units

        def last(masked: int = -1, seen: int = -1, length: int = 5) -> dict[str, Contents]:
            """With other masks in one frame, or another embedding."""
            banks = holder.start()
            for time in range(length):
                now = entry(time)
                state = dict(now.state)
                if time == masked:
                    state["value"] = state["value"] + 1
                if time == seen:
                    state["embedding"] = state["embedding"].flip(3)
                banks = holder.write(banks, replace(now, state=state), When(time, time == 0))
            return banks

        plain = last()
        # A frame is taken one later, so that of five the last but one is the newest.
        for time in (1, 3):
            other = last(masked=time)
            of_newest_alone = options.get("follows") == "key"
            for layer in range(LAYERS):
                assert torch.equal(held(other, f"key{layer}"), held(plain, f"key{layer}"))
                same_values = torch.equal(
                    held(other, f"value{layer}"), held(plain, f"value{layer}")
                )
                assert same_values == (of_newest_alone and time == 1)
        early = last(seen=1)
        keys_followed = options.get("follows") != "value"
        assert torch.equal(held(early), held(plain)) != keys_followed
        assert not torch.equal(held(plain, "key0"), held(plain, "key1"))
        assert same(last(masked=4)["global"].rows["key0"], plain["global"].rows["key0"])

    @torch.no_grad()
    def test_before_the_layers_by_hand(self) -> None:
        holder = memory(place="before_layers", feed="written")
        follower = holder.banks["global"]
        assert isinstance(follower, Global)
        recurrence = follower.recurrence
        banks = play(holder, 3)[-1]
        seen = [recurrence.norm(tokens(time, 0, 21)) for time in range(3)]
        masks = [tokens(time, 0, 20) for time in range(3)]
        appearance = moved(recurrence.units["appearance"], *seen)
        identity = moved(recurrence.units["identity"], *masks)
        torch.testing.assert_close(held(banks, "key1"), recurrence.to_key[1](appearance))
        whole = recurrence.to_value[0](appearance + identity)
        torch.testing.assert_close(held(banks, "value0"), whole)


@pytest.mark.parametrize("options", [{}, {"feed": "written"}, EARLY])
@pytest.mark.parametrize("after", [None, 1, 2, 3])
def test_gradients_go_back_through_so_many_updates(
    options: dict[str, str], after: int | None
) -> None:
    """The first frame is where a map starts; it is reached through all updates until a cut."""
    holder = memory(detach_after=after, **options).train()
    banks = holder.start()
    first = entry(0)
    rows = {name: leaf.clone().requires_grad_() for name, leaf in first.rows.items()}
    state = {name: leaf.clone().requires_grad_() for name, leaf in first.state.items()}
    start = state["embedding"] if options is EARLY else rows["key0"]
    banks = holder.write(banks, replace(first, rows=rows, state=state), When(0, True))
    if "local" in banks:  # what starts the map is taken once more by the first update
        local = banks["local"]
        cut = {name: leaf.detach() for name, leaf in local.rows.items()}
        banks["local"] = replace(local, rows=cut)
    if options is EARLY:
        waiting = {
            name: leaf.detach() if name.startswith("waiting") else leaf
            for name, leaf in banks["global"].rows.items()
        }
        banks["global"] = replace(banks["global"], rows=waiting)
    for time in range(1, 8):
        banks = holder.write(banks, entry(time), When(time, False))
        summed = banks["global"].rows["key0"].sum()
        (grad,) = torch.autograd.grad(summed, start, retain_graph=True, allow_unused=True)
        reached = grad is not None and bool(grad.any())
        assert reached == (after is None or time <= after), time
    holder.eval()
    banks = holder.write(banks, entry(8), When(8, False))


def test_in_evaluation_nothing_is_cut() -> None:
    holder = memory(detach_after=1)
    rows = {name: leaf.clone().requires_grad_() for name, leaf in entry(0).rows.items()}
    banks = holder.write(holder.start(), replace(entry(0), rows=rows), When(0, True))
    for time in range(1, 4):
        banks = holder.write(banks, entry(time), When(time, False))
    held(banks).sum().backward()
    assert rows["key0"].grad is not None
    assert bool(rows["key0"].grad.any())


VARIANTS: dict[str, dict[str, Any]] = {
    "evicted": {},
    "delayed": {"feed": "delayed"},
    "written, keys": {"feed": "written", "follows": "key"},
    "shared": {"place": "all_layers"},
    "before": EARLY,
    "before, fused": {**EARLY, "follows": "value", "identity": "fused"},
}
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())


def advance(holder: Memory, banks: Banks, step: Step, take: int = 0) -> dict[str, Contents]:
    written = holder.write(banks, entry(step.when.time, step.objects, take=take), step.when)
    return holder.select(written, [step.objects.index(thing) for thing in step.remaining])


@every_variant
class TestRandomStreams:
    """Objects join and leave, frames are given."""

    @torch.no_grad()
    def test_it_is_one_entry_of_all_rows(self, options: dict[str, Any]) -> None:
        holder = memory(**options)
        for seed in range(3):
            banks, born = holder.start(), dict[int, int]()
            for step in stream(seed):
                banks = advance(holder, banks, step)
                contents, time = banks["global"], step.when.time
                assert contents.time.shape == (1, len(step.remaining), 1)
                assert contents.valid is None
                assert all(leaf.shape[:3] == contents.time.shape for leaf in contents.rows.values())
                assert all(leaf.shape[1] == 1 for leaf in contents.shared.values())
                assert all(bool(leaf.isfinite().all()) for leaf in contents.rows.values())
                for thing in step.objects:
                    born.setdefault(thing, time)
                for row, thing in enumerate(step.remaining):
                    assert born[thing] <= int(contents.time[0, row]) <= time

    @torch.no_grad()
    def test_objects_do_not_see_each_other(self, options: dict[str, Any]) -> None:
        """A row that joins and leaves with others is what it is alone."""
        holder = memory(**options)
        steps = stream(1, first_stays=True)
        banks, alone = holder.start(), holder.start()
        for step in steps:
            banks = advance(holder, banks, step)
            only = replace(step, objects=(0,), remaining=(0,))
            alone = advance(holder, alone, only)
            row = step.remaining.index(0)
            for name in ("key0", "value1"):
                torch.testing.assert_close(held(banks, name, row), held(alone, name))

    @torch.no_grad()
    def test_forks_do_not_see_each_other_and_nothing_is_changed(
        self, options: dict[str, Any]
    ) -> None:
        holder, steps = memory(**options), stream(8)
        banks: Banks = holder.start()
        for step in steps[:15]:
            banks = advance(holder, banks, step)
        before = copied(banks)
        one = other = banks
        for step in steps[15:]:
            one = advance(holder, one, step)
        told = copied(one)
        for step in steps[15:]:
            other = advance(holder, other, step, take=1)
        assert same(flat(banks), before)
        assert same(flat(one), told)
        assert not same(one, other)

    @pytest.mark.parametrize("cut", [0, 9])
    @torch.no_grad()
    def test_a_stream_that_was_saved_goes_on(
        self, options: dict[str, Any], cut: int, tmp_path: Path
    ) -> None:
        holder = memory(**options)
        banks = holder.start()
        resumed: Banks | None = None
        for index, step in enumerate(stream(9)):
            banks = advance(holder, banks, step)
            if resumed is not None:
                resumed = advance(holder, resumed, step)
                assert same(banks, {name: resumed[name] for name in banks})
            if index == cut:
                ids = torch.tensor([step.remaining])
                objects = Objects(ids, ids >= 0, torch.arange(ids.shape[1])[None], ids * 0)
                path = tmp_path / "state.safetensors"
                save_state(State((8, 8), index + 1, objects, banks), path)
                resumed = load_state(path).banks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"place": "nowhere"}, "place is 'nowhere': give one of each_layer"),
        ({"follows": "keys"}, "follows is 'keys': give one of key, value, both"),
        ({"identity": "none"}, "identity is 'none'"),
        ({"feed": "read"}, "feed is 'read'"),
        ({"identity": "apart"}, "keys have none and their values have it fused"),
        ({"place": "all_layers", "identity": "apart"}, "follows='key' to follow what is before"),
        ({**EARLY, "identity": "fused"}, "would match by identity"),
        ({**EARLY, "identity": "fused", "follows": "key"}, "queries have none"),
        ({"place": "before_layers"}, "give 'delayed' to take the same frame"),
        ({"detach_after": 0}, "detach_after must be at least 1"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"kernel": 2}, "kernel is 2"),
        ({"rate": 2.0}, "rate is 2.0"),
    ],
)
def test_arguments_that_contradict(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Global(**{"width": WIDTH, "layers": LAYERS, **options})


@pytest.mark.parametrize(
    ("options", "offered", "message"),
    [
        ({}, lambda: replace(entry(0), rows={"value": torch.zeros(1, 1, 6, 4)}), "read the memory"),
        (EARLY, lambda: replace(entry(0), state={"value": entry(0).state["value"]}), "embedding"),
    ],
)
def test_entries_of_other_readers(
    options: dict[str, Any], offered: Callable[[], Entry], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        bank(**options).write(Contents(), offered(), When(0, True))
