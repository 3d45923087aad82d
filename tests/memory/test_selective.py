"""Banks in which every row keeps its own frames, and the rule of which it trusts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import goldens
import pytest
import torch
from streams import CASES, Banks, Case, Unread, advance, entry, judged, stream
from torch import Tensor

from vosfm import InputError
from vosfm.memory import Bank, Memory, Pointers, Prompted, Selective, Temporal
from vosfm.memory.banks.contents import append, append_by_row, validity
from vosfm.memory.banks.selection import trusted
from vosfm.memory.footprint import footprint
from vosfm.memory.readers.ages import frame_ages, pointer_ages, prompted_ages
from vosfm.types import Contents, Entry, Guidance, When

BATCH, ROWS, LENGTH, LIMIT = 2, 3, 40, 0.5
WAYS = {
    "unguided": None,
    "paper": Guidance(iou_threshold=LIMIT),
    "released": Guidance(iou_threshold=LIMIT, official=True),
}
every_way = pytest.mark.parametrize("guidance", WAYS.values(), ids=WAYS.keys())


def frame(time: int, quality: Tensor, presence: Tensor, value: Tensor | None = None) -> Entry:
    """An entry (B, R) recognisable by its values."""
    batch, rows = quality.shape
    known = time * 100 + torch.arange(batch * rows).view(batch, rows, 1, 1)
    known = known.float() if value is None else value
    pointer = known.flatten(2)
    return Entry(
        {"value": known.expand(-1, -1, 3, 2).clone(), "pointer": pointer},
        quality=quality,
        presence=presence,
    )


def chances(seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of every frame the rows that are given, and quality and presence, often at their limits."""
    chance = Random(seed)

    def draw(*values: float) -> Tensor:
        numbers = [chance.choice(values) for _ in range(BATCH * ROWS)]
        return torch.tensor(numbers).view(BATCH, ROWS)

    frames = []
    for time in range(LENGTH):
        given = draw(0, 0, 0, 0, 0, 1).bool() if time else torch.ones(BATCH, ROWS).bool()
        frames.append((given, draw(0.2, LIMIT, 0.6, 0.9), draw(-1.0, 0.0, 1.0, 2.0)))
    return frames


def kept(contents: Contents, sample: int, row: int) -> list[int]:
    """Times of the entries of a row."""
    if not contents.count:
        return []
    return contents.time[sample, row][validity(contents)[sample, row]].tolist()


def walked(
    frames: list[tuple[Tensor, Tensor, Tensor]], sample: int, row: int, capacity: int, way: str
) -> list[int]:
    """What a row remembers at the end, frame by frame."""
    ours: list[int] = []
    good = {}
    for time, leaves in enumerate(frames):
        given, quality, presence = (leaf[sample, row].item() for leaf in leaves)
        good[time] = quality > LIMIT and presence > 0
        if way == "released":
            ours = [t for t in ours if good[t]]
        if not given and (good[time] or way != "paper"):
            ours = [*ours, time]
        if way == "unguided":
            ours = [t for t in ours if t > time - capacity]
        ours = ours[-capacity:]
    return ours


@pytest.mark.parametrize("way", WAYS)
def test_rows_remember_what_they_would_alone(way: str) -> None:
    """Rows of a batch that are given, hidden and badly seen at different times."""
    banks: dict[str, Bank] = {"recent": Selective(6), "pointers": Pointers(9), "all": Prompted()}
    for seed in range(3):
        frames = chances(seed)
        contents = {name: Contents() for name in banks}
        for time, (given, quality, presence) in enumerate(frames):
            new = frame(time, quality.masked_fill(given, 1), presence.masked_fill(given, 10))
            when = When(time, bool(given.any()), rows=given, guidance=WAYS[way])
            contents = {n: bank.write(contents[n], new, when)[0] for n, bank in banks.items()}
            sample, row = time % BATCH, time % ROWS
            past = frames[: time + 1]
            prompts = [t for t, leaves in enumerate(past) if leaves[0][sample, row]]
            assert kept(contents["all"], sample, row) == prompts
            for name, capacity in (("recent", 6), ("pointers", 8 if way == "unguided" else 9)):
                assert kept(contents[name], sample, row) == walked(past, sample, row, capacity, way)
            for held in contents.values():
                if not held.count:
                    continue
                known = held.time * 100 + torch.arange(BATCH * ROWS).view(BATCH, ROWS, 1)
                valid = validity(held)
                for name in {"value", "pointer"} & set(held.rows):
                    assert torch.equal(
                        held.rows[name].flatten(3)[..., 0][valid], known[valid] * 1.0
                    )


def test_what_is_trusted() -> None:
    """Strictly above both limits, which are not rounded to the precision of what is compared."""
    quality = torch.tensor([0.3, 0.3, 0.30001, 0.9, 0.9, float("nan")])
    presence = torch.tensor([1.0, 1.0, 1e-6, 0.0, -1.0, 1.0])
    assert trusted(quality, presence, 0.3).tolist() == [True, True, True, False, False, False]
    exact = float(quality[0])
    assert exact > 0.3
    assert trusted(quality, presence, exact).tolist() == [False, False, True, False, False, False]
    assert trusted(quality, None, 0.5).tolist() == [False, False, False, True, True, False]
    assert trusted(None, presence, 0.5).shape == ()
    assert bool(trusted(None, presence, 0.5))


def search(threshold: float, members: list[int], length: int) -> list[Banks]:
    """Banks after every frame of the golden's pathways, a row each, which begin one by one."""
    golden = goldens.load("sam2long_frame_selection", system="sam2")
    picks = golden.inputs["mem_pick"].long()
    guidance = Guidance(iou_threshold=threshold, official=True)
    starts = golden.inputs["start"][members]
    size = min(int(golden.inputs["num_frames"][members[0]]), 16)
    memory = Memory(
        {"prompted": Prompted(), "recent": Selective(6), "pointers": Pointers(size)},
        Unread(),  # type: ignore[arg-type]
    )
    banks = memory.start()
    history: list[Banks] = []
    for time in range(length):
        begun = int((starts <= time).sum())
        if begun:
            rows = torch.tensor(members[:begun])
            judged = [
                golden.inputs[name][rows, time].gather(1, picks[rows, time, None]).T
                for name in ("iou", "o")
            ]
            given = (starts[:begun] == time)[None]
            new = frame(time, judged[0].masked_fill(given, 1), judged[1].masked_fill(given, 10))
            when = When(time, bool(given.any()), rows=given, guidance=guidance)
            banks = memory.write(banks, new, when)
        history.append(banks)
    return history


def test_frames_are_read_as_the_released_code_reads_them() -> None:
    golden = goldens.load("sam2long_frame_selection", system="sam2")
    inputs, outputs = golden.inputs, golden.outputs
    groups = defaultdict(list)
    for case in inputs["start"].argsort(stable=True).tolist():
        size = min(int(inputs["num_frames"][case]), 16)
        groups[float(inputs["iou_thre"][case]), size].append(case)
    assert max(map(len, groups.values())) > 2
    for (threshold, size), members in groups.items():
        history = search(threshold, members, int(inputs["t"][members].max()))
        for row, case in enumerate(members):
            time = int(inputs["t"][case])
            when = When(time, False, guidance=Guidance(threshold, official=True))
            banks = history[time - 1]
            (start,) = kept(banks["prompted"], 0, row)
            given, frames = read(banks["prompted"], prompted_ages(banks["prompted"], when), row), []
            if banks["recent"].count > 0:
                frames = read(banks["recent"], frame_ages(banks["recent"], when, 6), row)
            pointers = []
            if banks["pointers"].count > 0:
                ages = pointer_ages(banks["pointers"], when, size - 1)
                pointers = read(banks["pointers"], ages, row)
            assert start == int(inputs["start"][case])
            spatial = [(start, 7, given[0][2]), *frames]
            pointing = [*given, *pointers[::-1]]
            ours = {
                "mem_frames": [time for time, _, _ in spatial],
                "mem_tpos_table_index": [age - 1 for _, age, _ in spatial],
                "mem_scores": [presence for _, _, presence in spatial],
                "ptr_frames": [time for time, _, _ in pointing],
                "ptr_tpos_normalised": [age / (size - 1) for _, age, _ in pointing],
                "ptr_scores": [presence for _, _, presence in pointing],
            }
            for name, values in ours.items():
                count = int(outputs["counts"][case, int(name.startswith("ptr"))])
                assert values == pytest.approx(outputs[name][case, :count].tolist(), abs=1e-6), name


def read(contents: Contents, ages: tuple[Tensor, Tensor], row: int) -> list[tuple[int, int, float]]:
    """Frame, age and presence of the entries that a row looks at."""
    age, seen = (leaf[0, row] for leaf in ages)
    return [
        (int(contents.time[0, row, i]), int(age[i]), float(contents.rows["presence"][0, row, i]))
        for i in seen.nonzero()[:, 0].tolist()
    ]


@every_way
def test_rows_that_disagree_are_moved_as_rows_that_agree(guidance: Guidance | None) -> None:
    """Together and alone, gradients included."""
    bank, frames = Selective(4), chances(5)[:15]
    values = [torch.randn(BATCH, ROWS, 3, 2, requires_grad=True) for _ in frames]
    together = Contents()
    alone = {(b, r): Contents() for b in range(BATCH) for r in range(ROWS)}
    for time, (given, quality, presence) in enumerate(frames):
        new = frame(time, quality, presence, values[time])
        when = When(time, True, rows=given, guidance=guidance)
        together, _ = bank.write(together, new, when)
        for (b, r), contents in alone.items():
            part = (slice(b, b + 1), slice(r, r + 1))
            new = frame(time, quality[part], presence[part], values[time][part])
            when = When(time, True, rows=given[part], guidance=guidance)
            alone[b, r], _ = bank.write(contents, new, when)
    valid, counts = validity(together), set()
    for (b, r), contents in alone.items():
        counts.add(int(valid[b, r].sum()))
        assert kept(together, b, r) == kept(contents, 0, 0)
        assert valid[b, r].tolist() == sorted(valid[b, r].tolist())
        for name, leaf in together.rows.items():
            own = contents.rows[name][0, 0][validity(contents)[0, 0]]
            assert torch.equal(leaf[b, r][valid[b, r]], own)
    assert len(counts) > 1
    together.rows["value"][valid].sum().backward()
    for time, value in enumerate(values):
        held = (valid & (together.time == time)).any(2)
        grad = torch.zeros(BATCH, ROWS) if value.grad is None else value.grad[..., 0, 0]
        assert torch.equal(grad, held.float())


@every_way
def test_a_full_bank_keeps_its_size_and_takes_no_more_than_it_needs(
    guidance: Guidance | None,
) -> None:
    for bank in (Selective(4), Pointers(5), Prompted(2)):
        contents, sizes = Contents(), [0]
        for time, (given, quality, presence) in enumerate(chances(6)):
            when = When(time, bool(given.any()), rows=given, guidance=guidance)
            contents, _ = bank.write(contents, frame(time, quality, presence), when)
            fullest = int(validity(contents).sum(2).max()) if contents.count else 0
            assert contents.count == max(sizes[-1], fullest)
            sizes.append(contents.count)
        most = bank.span if guidance is None and isinstance(bank, Pointers) else bank.capacity
        assert sizes[-1] == most


def test_a_frame_that_changes_nothing_copies_nothing() -> None:
    bank, good, bad = Selective(3), torch.ones(1, 2), torch.zeros(1, 2)
    when = When(0, False, guidance=WAYS["paper"])
    contents, _ = bank.write(Contents(), frame(0, good, good), when)
    later, _ = bank.write(contents, frame(1, bad, good), When(1, False, guidance=WAYS["paper"]))
    assert later.rows["value"].data_ptr() == contents.rows["value"].data_ptr()
    assert kept(later, 0, 0) == [0]


def test_what_is_kept_of_an_entry() -> None:
    one = torch.ones(1, 2)
    contents = {
        name: bank.write(Contents(), frame(0, one, one), When(0, name == "prompted"))[0]
        for name, bank in (
            ("prompted", Prompted(half=True)),
            ("recent", Selective(half=True)),
            ("pointers", Pointers()),
        )
    }
    judged = {"quality", "presence"}
    assert set(contents["prompted"].rows) == {"value", "pointer", *judged}
    assert set(contents["recent"].rows) == {"value", *judged}
    assert set(contents["pointers"].rows) == {"pointer", *judged}
    assert contents["recent"].rows["value"].dtype == torch.bfloat16
    assert contents["prompted"].rows["value"].dtype == torch.bfloat16
    assert contents["prompted"].rows["pointer"].dtype == torch.float32
    bare, _ = Selective().write(Contents(), Entry({"value": torch.ones(1, 1, 2)}), When(0, False))
    assert set(bare.rows) == {"value"}
    with pytest.raises(InputError, match="keeps rows value of every entry, this one has pointer"):
        Selective().write(Contents(), Entry({"pointer": torch.ones(1, 1, 2)}), When(0, False))
    none, _ = Pointers().write(Contents(), Entry({"value": torch.ones(1, 1, 2)}), When(0, False))
    assert none.count == 0, "a decoder may make no pointers"


def test_without_a_word_on_quality_everything_is_trusted() -> None:
    bank = Selective(3)
    contents = Contents()
    for time in range(5):
        entry = Entry({"value": torch.ones(1, 1, 2)})
        contents, _ = bank.write(contents, entry, When(time, False, guidance=WAYS["paper"]))
    assert kept(contents, 0, 0) == [2, 3, 4]


@pytest.mark.parametrize("bank", [Prompted, Selective, Pointers])
def test_a_bank_can_still_be_halved(bank: type[Bank]) -> None:
    assert bank().half() is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompted(0), "capacity must be at least 1 or None, not 0"),
        (lambda: Selective(0), "capacity must be at least 1, not 0"),
        (lambda: Pointers(1), "capacity must be at least 2, not 1"),
    ],
)
def test_capacities_out_of_range(make: type[Bank], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_other_banks_leave_out_what_is_not_trusted() -> None:
    """Row by row, unless it was given; a given frame is never left out."""
    bank = Temporal(interval=1, capacity=3)
    good, contents = torch.tensor([[0.9, 0.2]]), Contents()
    for time in range(3):
        quality = good if time < 2 else good.flip(1)
        rows = torch.tensor([[False, time == 1]])
        when = When(time, time == 1, rows=rows, guidance=WAYS["paper"])
        contents, _ = bank.write(contents, frame(time, quality, torch.ones(1, 2)), when)
        if time == 0:
            assert contents.valid is not None
            assert contents.valid.tolist() == [[[True], [False]]]
    assert contents.valid is not None
    assert contents.valid.tolist() == [[[True, True, False], [False, True, True]]]
    when = When(3, False, guidance=Guidance(modulation=(0.9, 1.1)))
    contents, _ = bank.write(contents, frame(3, good, torch.ones(1, 2)), when)
    assert contents.valid is not None
    assert contents.valid.tolist() == [[[True, False, True], [False, True, True]]]


def test_an_entry_that_some_rows_have() -> None:
    new = Entry({"value": torch.ones(1, 2, 3)})
    contents, _ = append(Contents(), new, 0, valid=torch.tensor([[True, True]]))
    assert contents.valid is None
    contents, _ = append(contents, new, 1, valid=torch.tensor([[True, False]]))
    contents, _ = append(contents, new, 2)
    assert contents.valid is not None
    assert contents.valid.tolist() == [[[True, True, True], [True, False, True]]]


def test_nothing_is_added_to_nothing() -> None:
    kept = torch.zeros(1, 2, 1, dtype=torch.bool)
    assert not append_by_row(Contents(), {"value": torch.ones(1, 2, 3)}, 0, kept).count


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_rows_that_fork_go_on_as_they_would_alone(case: Case) -> None:
    """A row that is repeated is two rows: what the one learns then, the other does not."""
    memory, steps = case.memory(), stream(3)
    banks = memory.start()
    for step in steps[:12]:
        banks = advance(memory, banks, step)
    whole, index = len(steps[11].remaining), [0, 0, *range(1, len(steps[11].remaining))]
    assert whole > 1
    forked = memory.select(banks, index)
    before = {name: {n: v.clone() for n, v in c.rows.items()} for name, c in forked.items()}
    step = steps[12]
    one, other = entry(step), entry(step, take=1)
    size = len(step.objects)
    index = [0, 0, *range(1, size)]

    def mixed(mine: Tensor, theirs: Tensor) -> Tensor:
        return torch.cat((mine[:, :1], theirs[:, index[1:]]), 1)

    assert step.when.rows is not None
    both = Entry(
        {name: mixed(leaf, other.rows[name]) for name, leaf in one.rows.items()},
        other.shared,
        {name: mixed(leaf, other.state[name]) for name, leaf in one.state.items()},
        *(leaf[:, index] for leaf in judged(step)),
    )
    when = replace(step.when, rows=step.when.rows[:, index])
    with torch.no_grad():
        together = memory.write(forked, both, when)
        first = memory.write(banks, replace(one, shared=other.shared), step.when)
        second = memory.write(banks, other, step.when)
    for name, contents in together.items():
        for row, (alone, at) in enumerate([(first, 0), *((second, i) for i in range(size))]):
            valid = validity(contents)[0, row] if contents.count else torch.zeros(0).bool()
            assert kept(contents, 0, row) == kept(alone[name], 0, at)
            for leaf in contents.rows:
                theirs = alone[name].rows[leaf][0, at][validity(alone[name])[0, at]]
                assert torch.equal(contents.rows[leaf][0, row][valid], theirs)
        for leaf, copy in before[name].items():
            assert torch.equal(forked[name].rows[leaf], copy)


@pytest.mark.parametrize("half", [False, True])
def test_what_a_memory_will_hold_is_known_after_its_first_frame(half: bool) -> None:
    banks: dict[str, Bank] = {
        "prompted": Prompted(1, half=half),
        "recent": Selective(3, half=half),
        "pointers": Pointers(4),
    }
    memory = Memory(banks, Unread())  # type: ignore[arg-type]
    held, one = memory.start(), torch.ones(1, 2)
    assert footprint(memory, held) == 0
    held = memory.write(held, frame(0, one, one), When(0, True))
    foreseen = footprint(memory, held)
    guidance = WAYS["paper"]
    for time in range(1, 8):
        held = memory.write(held, frame(time, one, one), When(time, False, guidance=guidance))
    taken = sum(leaf.nbytes for contents in held.values() for leaf in contents.rows.values())
    assert footprint(memory, held) == taken == foreseen
    values = (1 + 3) * 2 * 6 * (2 if half else 4)
    assert taken == values + (1 + 4) * 2 * 4 + (1 + 3 + 4) * 2 * 2 * 4
