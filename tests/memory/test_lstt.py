"""LSTT: how many of the last frames the short-term attention sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vosfm.memory import LSTT, Bank, Local, Memory, ScalableLSTT, Temporal
from vosfm.types import Contents, Encoding, Entry, Features, Geometry, When

SIZE = (3, 4)
WIDTH = 16


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def reader_of(kind: type[LSTT]) -> LSTT:
    reader = kind(WIDTH, 2, 2, 32, 1, 0.0, long=(), short="last").eval()
    for name, weight in reader.named_parameters():
        if name.endswith("relative_value"):  # zero in a new one
            torch.nn.init.normal_(weight)
    return reader


def last(count: int) -> Temporal:
    return Temporal(1, capacity=count, policy="fifo")


def features() -> Features:
    return Features(torch.empty(0), {}, torch.randn(1, WIDTH, *SIZE), Geometry(SIZE, SIZE, SIZE))


def video(reader: LSTT, frames: int, joins: int | None = None) -> list[Entry]:
    """Entries of one row, and of two from a frame on."""
    entries = []
    for time in range(frames):
        rows = 1 if joins is None or time < joins else 2
        seen, encoding = features(), Encoding(torch.randn(1, rows, WIDTH, *SIZE))
        readout = reader.read(seen, {}, rows, When(time, True), encoding)
        entries.append(reader.entry(seen, readout, encoding, {}))
    return entries


def kept(bank: Bank, entries: list[Entry]) -> dict[str, Contents]:
    contents = Contents()
    for time, entry in enumerate(entries):
        contents, _ = bank.write(contents, entry, When(time, time == 0))
    return {"last": contents}


@pytest.mark.parametrize("kind", [LSTT, ScalableLSTT])
def test_one_frame_is_what_local_keeps(kind: type[LSTT]) -> None:
    reader = reader_of(kind)
    entries, now = video(reader, 4), features()
    local = reader.read(now, kept(Local(), entries), 1, When(4, False)).maps
    temporal = reader.read(now, kept(last(1), entries), 1, When(4, False)).maps
    assert all(torch.equal(a, b) for a, b in zip(local, temporal, strict=True))


def test_of_the_last_three_frames_all_count_and_no_other() -> None:
    reader = reader_of(LSTT)
    entries, now = video(reader, 5), features()

    def read(entries: list[Entry]) -> torch.Tensor:
        return reader.read(now, kept(last(3), entries), 1, When(5, False)).maps[-1]

    for place, counts in enumerate((False, False, True, True, True)):
        others = [*entries]
        others[place] = video(reader, 1)[0]
        assert torch.equal(read(others), read(entries)) != counts
    # No frame has a place of its own: it is their windows that are told apart.
    torch.testing.assert_close(read([*entries[:2], *entries[:1:-1]]), read(entries))


def test_an_object_does_not_see_frames_before_it_joined() -> None:
    reader = reader_of(LSTT)
    entries, now = video(reader, 4, joins=2), features()
    both = reader.read(now, kept(last(3), entries), 2, When(4, False)).maps[-1]
    alone = [Entry({n: leaf[:, 1:] for n, leaf in entry.rows.items()}) for entry in entries[2:]]
    expected = reader.read(now, kept(last(3), alone), 1, When(4, False)).maps[-1]
    torch.testing.assert_close(both[:, 1:], expected)


def test_layers_look_past_frames_that_lack_them() -> None:
    """Frames of an S-LSTT that were read with one layer are not there for the second."""
    reader = reader_of(ScalableLSTT)
    entries, now = video(reader, 3), features()
    shallow = [
        entry if time == 0 else Entry({n: entry.rows[n] for n in ("key0", "value0")}, depth=1)
        for time, entry in enumerate(entries)
    ]
    mixed = reader.read(now, kept(last(3), shallow), 1, When(3, False)).carry
    all_three = reader.read(now, kept(last(3), entries), 1, When(3, False))
    first = reader.read(now, kept(last(3), entries[:1]), 1, When(3, False))
    assert torch.equal(mixed["key1"], all_three.carry["key1"])  # behind the first layer
    assert not torch.equal(mixed["key1"], first.carry["key1"])
    none_left = reader.read(now, kept(last(2), shallow), 1, When(3, False))
    assert none_left.maps[1].isfinite().all()


def test_a_memory_of_the_last_two_frames() -> None:
    reader = reader_of(LSTT)
    memory = Memory({"last": last(2)}, reader)
    banks = memory.start()
    for time in range(4):
        seen, encoding = features(), Encoding(torch.randn(1, 1, WIDTH, *SIZE))
        when = When(time, time == 0)
        readout = memory.read(banks, seen, 1, when, encoding if time == 0 else None)
        banks = memory.write(banks, reader.entry(seen, readout, encoding, {}), when)
        held = banks["last"].time[0, 0].tolist()
        assert held == list(range(max(0, time - 1), time + 1))
