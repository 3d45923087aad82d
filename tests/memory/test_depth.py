"""Banks in streams whose frames are read at changing depths, against a simulation in plain Python.

Every frame gives each layer that it was read with one number per object, a function of (time,
layer, object). What a layer may see of a bank is then a list of numbers, and the simulation keeps
nothing but lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import torch
from streams import Unread, same

from vosfm import InputError
from vosfm.checkpoints.state import load_state, save_state
from vosfm.memory import (
    Bank,
    Local,
    LongTerm,
    Memory,
    Pointers,
    Prompted,
    Reference,
    Selective,
    Temporal,
    Working,
)
from vosfm.memory.banks.contents import WHOLE, append, join, pick, validity
from vosfm.types import Contents, Entry, Objects, State, When

LAYERS = 3
INTERVAL, CAPACITY = 2, 4


@dataclass(frozen=True)
class Frame:
    """A frame: at which depth it is read, who is in it, and who is left after it."""

    time: int
    depth: int
    objects: tuple[int, ...]
    remaining: tuple[int, ...]
    given: bool = False

    @property
    def when(self) -> When:
        return When(self.time, self.given, depth=None if self.depth == LAYERS else self.depth)


def stream(seed: int, length: int = 40) -> list[Frame]:
    chance = Random(seed)
    objects, frames = (0,), []
    for time in range(length):
        given = not time or chance.random() < 0.15
        if time and given and chance.random() < 0.6:
            objects = (*objects, time)
        remaining = objects
        if len(objects) > 1 and chance.random() < 0.15:
            leaver = chance.choice(objects)
            remaining = tuple(o for o in objects if o != leaver)
        depth = LAYERS if given else chance.randint(1, LAYERS)
        frames.append(Frame(time, depth, objects, remaining, given))
        objects = remaining
    return frames


def number(time: int, layer: int, thing: int) -> float:
    return 1.0 + time * 10000 + layer * 1000 + thing


def entry(frame: Frame) -> Entry:
    rows = {}
    for layer in range(frame.depth):
        numbers = [number(frame.time, layer, thing) for thing in frame.objects]
        rows[f"key{layer}"] = torch.tensor(numbers).view(1, -1, 1, 1).expand(-1, -1, 2, 3).clone()
        rows[f"value{layer}"] = -rows[f"key{layer}"]
    return Entry(rows, depth=None if frame.depth == LAYERS else frame.depth)


def visible(contents: Contents, layer: int, row: int) -> list[float]:
    """What a layer sees of a row, the oldest first."""
    if not contents.count:
        return []
    depth = torch.full((contents.count,), WHOLE) if contents.depth is None else contents.depth
    seen = []
    for index in (validity(contents)[0, row] & (depth > layer)).nonzero()[:, 0].tolist():
        key, value = (contents.rows[f"{kind}{layer}"][0, row, index] for kind in ("key", "value"))
        assert torch.equal(key, -value)
        assert len(key.unique()) == 1
        seen.append(float(key[0, 0]))
    return seen


class Simulated:
    """Lists of (time, depth, objects) by bank; of the local one, the frame of each layer."""

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[int, int, tuple[int, ...]]]] = {
            name: [] for name in ("reference", "bounded", "temporal", "fifo", "keep_first")
        }
        self.local = [0] * LAYERS

    def see(self, frame: Frame) -> list[int]:
        """Advance; the frames that the layers of the local bank had before."""
        before = list(self.local)
        for layer in range(frame.depth):
            self.local[layer] = frame.time
        new = (frame.time, frame.depth, frame.objects)
        for name, kept in self.kept.items():
            due = frame.given
            if name in ("temporal", "fifo", "keep_first"):
                due = due or (frame.time - kept[-1][0]) % INTERVAL == 0
            if not due:
                continue
            kept.append(new)
            if name == "fifo":
                del kept[:-CAPACITY]
            elif name in ("keep_first", "bounded") and len(kept) > CAPACITY:
                del kept[1]
        return before

    def sees(self, name: str, layer: int, thing: int) -> list[float]:
        if name == "local":
            return [number(self.local[layer], layer, thing)]
        return [
            number(time, layer, thing)
            for time, depth, objects in self.kept[name]
            if depth > layer and thing in objects
        ]


class Heard(Bank):
    """Keeps what another bank evicted last."""

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        return Contents(), None

    def absorb(self, contents: Contents, evicted: Contents, when: When) -> Contents:
        return evicted


def memory() -> Memory:
    banks: dict[str, Bank] = {
        "local": Local(),
        "heard": Heard(),
        "reference": Reference(),
        "bounded": Reference(CAPACITY),
        "temporal": Temporal(INTERVAL),
        "fifo": Temporal(INTERVAL, capacity=CAPACITY, policy="fifo"),
        "keep_first": Temporal(INTERVAL, capacity=CAPACITY),
    }
    return Memory(banks, Unread(), {"local": "heard"}).eval()  # type: ignore[arg-type]


def play(frames: list[Frame]) -> Iterator[tuple[Frame, dict[str, Contents]]]:
    held, banks = memory(), memory().start()
    for frame in frames:
        written = held.write(banks, entry(frame), frame.when)
        yield frame, written
        banks = held.select(written, [frame.objects.index(o) for o in frame.remaining])


seeds = pytest.mark.parametrize("seed", range(4))


@seeds
def test_each_layer_sees_the_frames_that_were_read_with_it(seed: int) -> None:
    simulated, mixed = Simulated(), 0
    for frame, banks in play(stream(seed)):
        simulated.see(frame)
        for name in ("local", *simulated.kept):
            contents = banks[name]
            mixed += contents.depth is not None
            for row, thing in enumerate(frame.objects):
                for layer in range(LAYERS):
                    assert visible(contents, layer, row) == simulated.sees(name, layer, thing)
    assert mixed > 40


@seeds
def test_absent_layers_are_zeros_and_take_the_room_of_others(seed: int) -> None:
    for _, banks in play(stream(seed)):
        for name in ("temporal", "fifo", "keep_first"):
            contents = banks[name]
            shapes = {leaf.shape for leaf in contents.rows.values()}
            assert len(shapes) == 1
            assert len(contents.rows) == 2 * LAYERS
            if contents.depth is None:
                continue
            assert contents.depth.shape == (contents.count,)
            assert contents.depth.dtype == torch.int64
            for layer in range(LAYERS):
                absent = contents.rows[f"key{layer}"][:, :, contents.depth <= layer]
                assert not absent.any()


@seeds
def test_the_tensors_of_a_full_bank_keep_their_size(seed: int) -> None:
    """Else blocks of two sizes by turns would scatter the heap of a long stream."""
    frames = [replace(f, objects=(0,), remaining=(0,)) for f in stream(seed, 60)]
    for name in ("local", "fifo", "keep_first"):
        full = [banks[name] for _, banks in play(frames)]
        full = [contents for contents in full if name == "local" or contents.count == CAPACITY]
        sizes = {tuple((n, leaf.shape) for n, leaf in sorted(c.rows.items())) for c in full}
        assert len(full) > 30
        assert len(sizes) == 1


@seeds
def test_the_newest_frame_of_each_layer_is_local(seed: int) -> None:
    """The local bank is whole at any time; what it hands on is what was replaced, no more."""
    simulated = Simulated()
    for index, (frame, banks) in enumerate(play(stream(seed))):
        before = simulated.see(frame)
        assert banks["local"].depth is None
        assert banks["local"].time.unique().tolist() == [frame.time]
        gone = banks["heard"]
        if not index:
            assert not gone.count
            continue
        names = {f"{kind}{layer}" for layer in range(frame.depth) for kind in ("key", "value")}
        assert set(gone.rows) == names
        assert (gone.depth is None) == (frame.depth == LAYERS)
        assert gone.depth is None or gone.depth.tolist() == [frame.depth]
        for row, thing in enumerate(frame.objects):
            if row < gone.time.shape[1]:
                for layer in range(frame.depth):
                    assert visible(gone, layer, row) == [number(before[layer], layer, thing)]


def test_a_stream_read_at_full_depth_knows_of_no_depth() -> None:
    frames = [replace(frame, depth=LAYERS) for frame in stream(1)]
    for _, banks in play(frames):
        assert all(contents.depth is None for contents in banks.values())


def test_depth_is_forgotten_with_the_last_partial_entry() -> None:
    bank, contents = Temporal(1, capacity=2, policy="fifo"), Contents()
    told = []
    for time, depth in enumerate((3, 1, 3, 3)):
        frame = Frame(time, depth, (0,), (0,))
        contents, gone = bank.write(contents, entry(frame), frame.when)
        told.append(None if contents.depth is None else contents.depth.tolist())
        assert gone is None or gone.depth is None or gone.depth.tolist() == [1]
    assert told == [None, [WHOLE, 1], [1, WHOLE], None]


def test_a_bank_that_begins_with_few_layers_makes_room_for_more() -> None:
    contents = Contents()
    for time, depth in enumerate((1, 2, 3)):
        frame = Frame(time, depth, (0,), (0,))
        contents, _ = append(contents, entry(frame), time)
    assert contents.depth is not None
    assert contents.depth.tolist() == [1, 2, WHOLE]
    assert visible(contents, 0, 0) == [number(t, 0, 0) for t in (0, 1, 2)]
    assert visible(contents, 1, 0) == [number(t, 1, 0) for t in (1, 2)]
    assert visible(contents, 2, 0) == [number(2, 2, 0)]


@seeds
def test_joined_and_picked_entries_keep_their_depth(seed: int) -> None:
    for frame, banks in play(stream(seed)):
        older, newer = banks["keep_first"], banks["fifo"]
        both = join(older, newer)
        some = pick(both, [both.count - 1, 0])
        for row in range(len(frame.objects)):
            for layer in range(LAYERS):
                each = visible(older, layer, row) + visible(newer, layer, row)
                assert visible(both, layer, row) == each
                ends = visible(pick(newer, [newer.count - 1]), layer, row)
                ends += visible(pick(older, slice(0, 1)), layer, row)
                assert visible(some, layer, row) == ends


def test_joined_entries_of_different_layers_find_room_for_each_other() -> None:
    few, _ = append(Contents(), entry(Frame(0, 1, (0,), (0,))), 0)
    more, _ = append(Contents(), entry(Frame(1, 3, (0,), (0,))), 1)
    for one, other, seen in ((few, more, (0, 1)), (more, few, (1, 0))):
        both = join(one, other)
        assert visible(both, 0, 0) == [number(t, 0, 0) for t in seen]
        assert visible(both, 2, 0) == [number(1, 2, 0)]


@seeds
def test_a_saved_stream_has_the_same_depths(seed: int, tmp_path: Path) -> None:
    held, resumed = memory(), None
    frames = stream(seed, 24)
    for frame, banks in play(frames):
        if resumed is not None:
            last = frames[frame.time - 1]
            known = held.select(resumed, [last.objects.index(o) for o in last.remaining])
            resumed = held.write(known, entry(frame), frame.when)
            assert same(banks, resumed)
        if frame.time in (5, 11, 16):
            ids = torch.tensor([frame.objects])
            objects = Objects(ids, ids >= 0, torch.arange(ids.shape[1])[None], ids * 0)
            state = State((8, 8), frame.time, objects, banks, depth=frame.depth)
            save_state(state, tmp_path / "state.safetensors")
            loaded = load_state(tmp_path / "state.safetensors")
            assert loaded.depth == frame.depth
            resumed = {name: loaded.banks[name] for name in banks}
            assert same(banks, resumed)


def test_who_joins_needs_all_layers() -> None:
    bank = Local()
    few = Frame(4, 2, (0, 1), (0, 1))
    with pytest.raises(InputError, match="frame 4 was read with 2 layers"):
        bank.write(Contents(), entry(few), few.when)
    one = Frame(3, 3, (0,), (0,))
    contents, _ = bank.write(Contents(), entry(one), one.when)
    with pytest.raises(InputError, match="in which objects join"):
        bank.write(contents, entry(few), few.when)


def test_banks_of_single_rows_refuse_depth() -> None:
    when = When(1, given=False, rows=torch.zeros(1, 1, dtype=torch.bool))
    value = torch.zeros(1, 1, 4, 3)
    partial = Entry({"value": value, "pointer": value[:, :, 0]}, depth=1)
    banks = (Selective(), Pointers(), Prompted())
    for bank, asked in zip(banks, (when, when, replace(when, given=True)), strict=True):
        with pytest.raises(InputError, match="some layers of the reader alone"):
            bank.write(Contents(), partial, asked)
    with pytest.raises(InputError, match="LongTerm cannot hold"):
        LongTerm().absorb(Contents(), Contents(depth=torch.tensor([1])), when)


def test_a_released_working_memory_refuses_depth() -> None:
    bank, contents = Working(1, capacity=3, keep=2, official=True), Contents()
    few = Entry({"value": torch.zeros(1, 1, 4, 3)}, {"key": torch.zeros(1, 4, 2)}, depth=1)
    for time, one in enumerate((replace(few, depth=None), few)):
        contents, _ = bank.write(contents, one, When(time, given=time == 0))
    with pytest.raises(InputError, match="Working as released"):
        bank.write(contents, few, When(2, given=False))


def test_a_working_memory_keeps_and_evicts_with_depth() -> None:
    bank, contents = Working(1, capacity=4, keep=2), Contents()
    for time, depth in enumerate((3, 1, 2, 3)):
        one = replace(entry(Frame(time, depth, (0,), (0,))), shared={"key": torch.zeros(1, 4, 2)})
        contents, evicted = bank.write(contents, one, When(time, given=time == 0))
    assert contents.depth is None
    assert contents.time.flatten().tolist() == [0, 3]
    assert evicted is not None
    assert evicted.depth is not None
    assert evicted.depth.tolist() == [1, 2]
