"""Banks of every kind, and random streams for them: objects join and leave, frames are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vosfm.memory import (
    Bank,
    Local,
    LongTerm,
    Memory,
    Pointers,
    Prompted,
    Reference,
    Selective,
    Sensory,
    Sequential,
    Temporal,
    Working,
)
from vosfm.types import Contents, Entry, Guidance, When

Banks = Mapping[str, Contents]
TOKENS, VALUE, HIDDEN = 4, 3, 2
N = 4


class Unread(nn.Module):
    reads: tuple[str, ...] = ()


class Guided(Bank):
    """A bank as a search asks it to be."""

    def __init__(self, bank: Bank, guidance: Guidance) -> None:
        super().__init__()
        self.bank, self.guidance = bank, guidance

    def due(self, contents: Contents, when: When) -> bool:
        return self.bank.due(contents, replace(when, guidance=self.guidance))

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        return self.bank.write(contents, entry, replace(when, guidance=self.guidance))


class Case(NamedTuple):
    """Banks, what feeds which, and the most entries that each ever holds (None: no limit)."""

    banks: Callable[[], dict[str, Bank]]
    most: dict[str, int | None]
    spill: dict[str, str] | None = None

    def memory(self) -> Memory:
        torch.manual_seed(0)
        return Memory(self.banks(), Unread(), self.spill).eval()  # type: ignore[arg-type]


def alone(bank: Callable[[], Bank], most: int | None) -> Case:
    return Case(lambda: {"bank": bank()}, {"bank": most})


def xmem(official: bool) -> Case:
    banks: dict[str, Callable[[], Bank]] = {
        "working": lambda: Working(2, capacity=5, keep=3, official=official),
        "long_term": lambda: LongTerm(4, 12),
        "sensory": lambda: Sensory(VALUE, HIDDEN, 2),
    }
    return Case(
        lambda: {name: make() for name, make in banks.items()},
        {"working": 4, "long_term": 12, "sensory": 1},
        {"working": "long_term"},
    )


POLICIES = {
    policy: alone(lambda policy=policy: Temporal(2, capacity=N, policy=policy), N)  # type: ignore[misc]
    for policy in ("keep_first", "keep_first_last", "fifo", "random", "none")
}
PAPER, RELEASED = Guidance(iou_threshold=0.5), Guidance(iou_threshold=0.5, official=True)
CASES = {
    "reference": alone(Reference, None),
    "bounded reference": alone(lambda: Reference(3), 3),
    "local": alone(Local, 1),
    "temporal": alone(lambda: Temporal(3), None),
    **POLICIES,
    "working": alone(lambda: Working(2, capacity=5, keep=2), 4),
    "working, official": alone(lambda: Working(2, capacity=5, keep=2, official=True), 4),
    "xmem": xmem(official=False),
    "xmem, official": xmem(official=True),
    "sequential": alone(lambda: Sequential(VALUE, HIDDEN, 3), 1),
    "sensory": alone(lambda: Sensory(VALUE, HIDDEN, 3), 1),
    "sensory, by chance": alone(
        lambda: Sensory(VALUE, HIDDEN, 2, follows=True, probability=0.4), 1
    ),
    "sensory, out of step": alone(lambda: Sensory(VALUE, HIDDEN, 2, deep_interval=5), 1),
    "prompted": alone(Prompted, None),
    "bounded prompted": alone(lambda: Prompted(2), 2),
    "newest prompted": alone(lambda: Prompted(1), 1),
    "selective": alone(lambda: Selective(N), N),
    "selective, half": alone(lambda: Selective(N, half=True), N),
    "selective, paper": alone(lambda: Guided(Selective(N), PAPER), N),
    "selective, released": alone(lambda: Guided(Selective(N), RELEASED), N),
    "pointers": alone(lambda: Pointers(N), N - 1),
    "pointers, released": alone(lambda: Guided(Pointers(N), RELEASED), N),
    "temporal, paper": alone(lambda: Guided(Temporal(2, capacity=N), PAPER), N),
    "sam2": Case(
        lambda: {"prompted": Prompted(), "recent": Selective(3), "pointers": Pointers(5)},
        {"prompted": None, "recent": 3, "pointers": 4},
    ),
}


@dataclass(frozen=True)
class Step:
    """A frame: who is in it, a row each, and who is left after it."""

    when: When
    objects: tuple[int, ...]
    remaining: tuple[int, ...]


def stream(seed: int, length: int = 40, first_stays: bool = False) -> list[Step]:
    chance = Random(seed)
    steps: list[Step] = []
    objects: tuple[int, ...] = (0,)
    known = 1
    for time in range(length):
        given = time in (0, 7, 18) or chance.random() < 0.2
        joined = 0 if time == 0 else None
        if time in (7, 18) or (time and given and chance.random() < 0.3):
            objects, joined, known = (*objects, known), known, known + 1
        rows = [given and (o == joined or float(drawn(time, o, shape=())) < 0.4) for o in objects]
        if given and not any(rows):
            rows[0] = True
        remaining = objects
        if len(objects) > 1 and chance.random() < 0.1:
            leaver = chance.choice(objects[1:] if first_stays else objects)
            remaining = tuple(o for o in objects if o != leaver)
        steps.append(Step(When(time, given, seed, torch.tensor([rows])), objects, remaining))
        objects = remaining
    return steps


@cache
def drawn(*of: int, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1] that belong to a place in a stream."""
    seed = sum(number * 1009**place for place, number in enumerate(of))
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def value(time: int, thing: int, take: int = 0) -> Tensor:
    return drawn(time, thing, take, 1, shape=(TOKENS, VALUE))


def pointer(time: int, thing: int, take: int = 0) -> Tensor:
    return drawn(time, thing, take, 6, shape=(2,))


def likely(time: int, thing: int) -> tuple[float, float]:
    """How good the mask of an object is said to be, and how present it itself."""
    return float(drawn(time, thing, 7, shape=())), float(drawn(time, thing, 8, shape=())) - 0.2


def judged(step: Step) -> tuple[Tensor, Tensor]:
    """The same of all objects, (1, R) each, those that were given included."""
    assert step.when.rows is not None
    said = torch.tensor([[likely(step.when.time, thing) for thing in step.objects]])
    quality, presence = said.unbind(2)
    return quality.masked_fill(step.when.rows, 1), presence.masked_fill(step.when.rows, 10)


def entry(step: Step, encoded: bool = True, take: int = 0) -> Entry:
    """Of a frame; another take has other keys and values, but the same hidden state."""
    time, objects = step.when.time, step.objects
    state = {}
    if time:
        hidden = [drawn(time, thing, 2, shape=(HIDDEN, 2, 2)) for thing in objects]
        state["hidden"] = torch.stack(hidden)[None]
    if not encoded:
        return Entry(state=state)
    values = torch.stack([value(time, thing, take) for thing in objects])[None]
    state["value"] = values.transpose(2, 3).unflatten(3, (2, 2))
    shared = {
        "key": drawn(time, take, 3, shape=(1, TOKENS, 2)),
        "shrinkage": 1 + drawn(time, take, 4, shape=(1, TOKENS)),
        "selection": drawn(time, take, 5, shape=(1, TOKENS, 2)),
    }
    pointers = torch.stack([pointer(time, thing, take) for thing in objects])[None]
    return Entry({"value": values, "pointer": pointers}, shared, state, *judged(step))


def looked(banks: Banks, step: Step) -> dict[str, Tensor]:
    """How much the tokens of banks that count are looked at in a frame."""
    return {
        name: drawn(step.when.time, len(name), 6, shape=(1, contents.shared["usage"].numel()))
        for name, contents in banks.items()
        if "usage" in contents.shared
    }


def advance(memory: Memory, banks: Banks, step: Step, take: int = 0) -> dict[str, Contents]:
    """As a segmenter does with a frame, and a user who removes objects after it."""
    encoded = memory.due(banks, step.when)
    banks = memory.observe(banks, looked(banks, step))
    written = memory.write(banks, entry(step, encoded, take), step.when)
    return memory.select(written, [step.objects.index(thing) for thing in step.remaining])


def play(memory: Memory, steps: list[Step]) -> Iterator[tuple[Step, dict[str, Contents]]]:
    banks = memory.start()
    for step in steps:
        banks = advance(memory, banks, step)
        yield step, banks


def flat(nest: Any, name: str = "") -> dict[str, Any]:
    """The leaves of a nest of contents, by name."""
    if isinstance(nest, Contents):
        nest = {field.name: getattr(nest, field.name) for field in fields(nest)}
    if isinstance(nest, tuple):
        nest = dict(enumerate(nest))
    if not isinstance(nest, dict):
        return {name: nest}
    return {k: v for part in nest for k, v in flat(nest[part], f"{name}/{part}").items()}


def same(one: Any, other: Any) -> bool:
    left, right = flat(one), flat(other)
    return left.keys() == right.keys() and all(
        torch.equal(leaf, right[name]) and leaf.dtype == right[name].dtype
        if isinstance(leaf, Tensor) and isinstance(right[name], Tensor)
        else leaf is right[name]
        for name, leaf in left.items()
    )


def copied(nest: Any) -> dict[str, Any]:
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in flat(nest).items()}
