"""The reader that matches keys: what it reads of the banks, and what it keeps of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from vosfm import InputError, Segmenter, Tracker
from vosfm.decoders import Upsampling
from vosfm.encoders import TimmPyramid
from vosfm.mask_encoders import ResNetValues
from vosfm.memory import Affinity, Memory, Sequential, Temporal
from vosfm.memory.banks.contents import append
from vosfm.types import Contents, Encoding, Features, Geometry, When

SIZE = (3, 4)
N = SIZE[0] * SIZE[1]
NOW = When(3, False)  # nothing here depends on it


def reader(**changes: Any) -> Affinity:
    options = {"embedding": 8, "key": 4, "value": 5, "matched": ("old", "new"), **changes}
    return Affinity(**options).eval()


def frame(seed: int) -> Features:
    embedding = torch.randn(1, 8, *SIZE, generator=torch.Generator().manual_seed(seed))
    return Features(torch.empty(0), {}, embedding, Geometry(SIZE, SIZE, SIZE))


def encoding(seed: int, rows: int = 2) -> Encoding:
    chance = torch.Generator().manual_seed(100 + seed)
    return Encoding(torch.randn(1, rows, 5, *SIZE, generator=chance))


def remembered(reader: Affinity, *times: int, rows: int = 2) -> Contents:
    contents = Contents()
    for time in times:
        entry = reader.entry(frame(time), None, encoding(time, rows), {})
        contents, _ = append(contents, entry, time)
    return contents


@torch.inference_mode()
def test_a_memory_without_entries_reads_zeros() -> None:
    ours = reader(state="hidden", hidden=3)
    views = {"old": Contents(), "new": Contents(), "hidden": Contents()}
    maps = ours.read(frame(0), views, 2, NOW).maps
    assert [tuple(each.shape) for each in maps] == [(1, 2, 5, *SIZE), (1, 2, 3, *SIZE)]
    assert not any(each.any() for each in maps)


@pytest.mark.parametrize("similarity", ["anisotropic", "l2"])
@torch.inference_mode()
def test_a_frame_that_is_remembered_finds_itself(similarity: str) -> None:
    """Where only the most alike token is read, of whatever bank."""
    ours = reader(similarity=similarity, top_k=1)
    views = {"old": remembered(ours, 0, 1), "new": remembered(ours, 2, 3)}
    for time in range(4):
        (maps,) = ours.read(frame(time), views, 2, NOW).maps
        torch.testing.assert_close(maps, encoding(time).maps)


@pytest.mark.parametrize("top_k", [None, 5])
@torch.inference_mode()
def test_every_query_is_counted_once(top_k: int | None) -> None:
    ours = reader(top_k=top_k, counted=("old", "new"))
    views = {"old": remembered(ours, 0), "new": remembered(ours, 1, 2)}
    usage = ours.read(frame(3), views, 2, NOW).usage
    assert {name: tuple(count.shape) for name, count in usage.items()} == {
        "old": (1, N),
        "new": (1, 2 * N),
    }
    assert float(sum(count.sum() for count in usage.values())) == pytest.approx(N, rel=1e-5)
    some = reader(top_k=top_k, counted=("new",))
    some.load_state_dict(ours.state_dict())
    alone = some.read(frame(3), views, 2, NOW).usage
    assert set(alone) == {"new"}
    assert torch.equal(alone["new"], usage["new"])


@pytest.mark.parametrize("top_k", [None, 5])
@torch.inference_mode()
def test_a_row_reads_as_if_what_it_lacks_were_not_there(top_k: int | None) -> None:
    ours = reader(matched=("old",), top_k=top_k)
    whole = remembered(ours, 0, 1, 2)
    valid = torch.tensor([[[True, True, True], [False, True, True]]])
    late = Contents(whole.rows, whole.shared, whole.time, valid)
    read = {
        name: ours.read(frame(3), {"old": contents}, 2, NOW).maps[0]
        for name, contents in {
            "all": whole,
            "late": late,
            "without the first": remembered(ours, 1, 2),
        }.items()
    }
    torch.testing.assert_close(read["late"][:, 0], read["all"][:, 0])
    torch.testing.assert_close(read["late"][:, 1], read["without the first"][:, 1])
    assert not torch.allclose(read["late"][:, 1], read["all"][:, 1])


@torch.inference_mode()
def test_single_tokens_are_read_as_those_of_frames() -> None:
    """Prototypes are tokens without a frame."""
    ours = reader(matched=("old",))
    frames = remembered(ours, 0, 1)
    tokens = Contents(
        {"value": frames.rows["value"].flatten(2, 3)},
        {name: leaf.flatten(1, 2) for name, leaf in frames.shared.items()},
        frames.time.repeat_interleave(N, 2),
    )
    one, other = (ours.read(frame(2), {"old": c}, 2, NOW).maps[0] for c in (frames, tokens))
    torch.testing.assert_close(one, other)


@torch.inference_mode()
def test_what_is_kept_of_a_frame() -> None:
    ours = reader(counted=("old",))
    moved: Mapping[str, Tensor] = {"hidden": torch.ones(1, 2, 3, *SIZE)}
    bare = ours.entry(frame(0), None, None, moved)
    assert (dict(bare.rows), dict(bare.shared), dict(bare.state)) == ({}, {}, dict(moved))
    unread = ours.entry(frame(0), None, encoding(0), moved)
    readout = ours.read(frame(0), {"old": Contents(), "new": Contents()}, 2, NOW)
    entry = ours.entry(frame(0), readout, encoding(0), moved)
    assert set(entry.shared) == {"key", "shrinkage", "selection"}
    for one, other in ((entry.shared, unread.shared), (entry.rows, unread.rows)):
        assert all(torch.equal(leaf, other[name]) for name, leaf in one.items())
    assert torch.equal(entry.rows["value"].transpose(2, 3).unflatten(3, SIZE), encoding(0).maps)
    assert torch.equal(entry.state["value"], encoding(0).maps)
    assert (entry.shared["shrinkage"] >= 1).all()
    assert "selection" not in reader().entry(frame(0), None, encoding(0), {}).shared


@torch.inference_mode()
def test_the_hidden_state_is_the_last_map() -> None:
    ours = reader(state="hidden", hidden=3)
    bank = Contents({"hidden": torch.rand(1, 2, 1, 3, *SIZE)}, {}, torch.zeros(1, 2, 1).long())
    views = {"old": remembered(ours, 0), "new": Contents(), "hidden": bank}
    assert torch.equal(ours.read(frame(1), views, 2, NOW).maps[1], bank.rows["hidden"][:, :, 0])


def small(top_k: int | None) -> Segmenter:
    return Segmenter(
        TimmPyramid("test_resnet", 32, align_corners=False),
        ResNetValues(32, 16, "test_resnet"),
        Memory({"temporal": Temporal(2, capacity=2)}, Affinity(32, 8, 16, top_k=top_k)),
        Upsampling(32, (16,), (32, 48), 16, None),
    ).eval()


def test_more_tokens_than_the_memory_holds() -> None:
    """A frame of 64x96 pixels has 24 tokens; the second frame is the first that is read."""
    frames = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8).numpy()
    mask = torch.zeros(64, 96, dtype=torch.bool)
    mask[8:40, 8:40] = True
    prompts = {0: {1: mask.numpy()}}
    assert len(list(Tracker(small(24)).track(iter(frames), prompts))) == 3
    with pytest.raises(InputError, match="top_k is 25, but the memory holds 24 tokens: lower top_"):
        list(Tracker(small(25)).track(iter(frames), prompts))


@pytest.mark.parametrize("top_k", [0, -1])
def test_no_tokens_at_all(top_k: int) -> None:
    with pytest.raises(InputError, match=f"top_k is {top_k}: give at least 1, or None"):
        Affinity(top_k=top_k)


def test_banks_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"Affinity reads bank 'sequential', memory has \['temp"):
        Memory({"temporal": Temporal(5)}, Affinity(state="sequential"))
    banks = {"temporal": Temporal(5), "sequential": Sequential()}
    with pytest.raises(ValueError, match="spill from 'temporal' to 'long_term': memory has no ba"):
        Memory(banks, Affinity(), {"temporal": "long_term"})
