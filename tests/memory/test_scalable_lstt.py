"""S-LSTT: every depth is a model of its own, and what a layer does not have it does not look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import vosfm
from vosfm.memory import Local, Memory, ScalableLSTT, Temporal
from vosfm.memory.readers.scalable_lstt import ScalableBlock, _with_layer
from vosfm.types import Contents, Encoding, Features, Geometry, State, When

SIZE = (65, 81)
PROMPTS: dict[int, dict[int, tuple[int, int]]] = {
    0: {1: (4, 4), 2: (40, 50)},
    # The fifth opens a second group.
    3: {1: (2, 2), 2: (2, 30), 3: (2, 58), 4: (40, 2), 5: (40, 40)},
}
"""Frame -> object id -> corner of a square. All objects are given, since where some are, the others
are tracked at full depth."""


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def lively(layers: int = 3, shared: str = "none") -> vosfm.Segmenter:
    """A small AOST, the same weights for the same layers, that lets the past decide."""
    segmenter = vosfm.build(
        "aost_nano",
        memory={
            "banks": {"temporal": {"interval": 2}},
            "reader": {"layers": layers, "shared": shared},
        },
        decoder={"readouts": [128] * layers},
    ).eval()
    for name, weight in segmenter.named_parameters():
        if name.startswith(("memory.", "decoder.exit")) and weight.dim() > 1:
            chance = torch.Generator().manual_seed(sum(map(ord, name)))
            weight.copy_(torch.randn(weight.shape, generator=chance) * weight.shape[-1] ** -0.5)
    return segmenter


@pytest.fixture(scope="module")
def whole() -> vosfm.Segmenter:
    torch.manual_seed(0)
    with torch.inference_mode():
        return lively()


def cut(whole: vosfm.Segmenter, layers: int) -> vosfm.Segmenter:
    """The first layers of a model as one of their own."""
    own = lively(layers)
    weights = whole.state_dict()
    own.load_state_dict({name: weights[name] for name in own.state_dict()})
    return own


def play(
    segmenter: vosfm.Segmenter, depths: Mapping[int, int | None], length: int = 8
) -> list[tuple[Tensor, State]]:
    """Logits of every frame of a noisy video, and the state behind it; depths from frame to frame.

    Objects are given in two frames; the others are remembered as they were seen.
    """
    chance = torch.Generator().manual_seed(3)
    state, seen = segmenter.start(SIZE), []
    for time, frame in enumerate(torch.rand(length, 1, 3, *SIZE, generator=chance)):
        state = replace(state, depth=depths.get(time, state.depth))
        prompts = {}
        for object_id, (top, left) in PROMPTS.get(time, {}).items():
            prompts[object_id] = torch.zeros(SIZE, dtype=torch.bool)
            prompts[object_id][top : top + 18, left : left + 18] = True
        features = segmenter.encode(frame)
        proposal = segmenter.propose(state, features, prompts or None)
        state = segmenter.commit(state, features, proposal)
        logits = torch.cat((proposal.logits.flatten(1), proposal.background.flatten(1)), 1)
        seen.append((logits, state))
    return seen


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_depth_is_the_model_cut_to_it_bit_by_bit(whole: vosfm.Segmenter, depth: int) -> None:
    ours, theirs = play(whole, {0: depth}), play(cut(whole, depth), {})
    for time, ((logits, state), (others, other)) in enumerate(zip(ours, theirs, strict=True)):
        assert logits.std() > 0.1
        given = time in PROMPTS  # these are read by all layers
        assert given or torch.equal(logits, others)
        for name, contents in other.banks.items():
            for leaf in contents.rows:
                assert torch.equal(state.banks[name].rows[leaf], contents.rows[leaf])
    assert ours[-1][1].banks["temporal"].count > 3


def test_depths_differ(whole: vosfm.Segmenter) -> None:
    last = [play(whole, {0: depth})[-1][0] for depth in (1, 2, 3)]
    assert (last[0] - last[1]).abs().max() > 0.1
    assert (last[1] - last[2]).abs().max() > 0.1


def test_full_depth_is_no_depth(whole: vosfm.Segmenter) -> None:
    named, state = play(whole, {0: 3})[-1]
    assert torch.equal(named, play(whole, {})[-1][0])
    assert all(contents.depth is None for contents in state.banks.values())


def test_what_shallow_entries_lack_is_never_looked_at(whole: vosfm.Segmenter) -> None:
    """Whatever lies in the place of absent layers, the frame is seen the same, bit by bit."""
    state = play(whole, {1: 1, 5: 2, 7: 3})[6][1]
    features = whole.encode(torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(4)))
    held = state.banks["temporal"]
    assert held.depth is not None
    assert {1, 2} < set(held.depth.tolist())
    spoilt = {}
    for name, leaf in held.rows.items():
        lacking = held.depth <= int(name[-1])
        assert not leaf[:, :, lacking].any()
        spoilt[name] = leaf.clone()
        spoilt[name][:, :, lacking] = torch.nan
    assert any(leaf.isnan().any() for leaf in spoilt.values())
    banks = {**state.banks, "temporal": replace(held, rows=spoilt)}
    for depth in (1, 2, None):
        ours = whole.propose(replace(state, banks=banks, depth=depth), features)
        theirs = whole.propose(replace(state, depth=depth), features)
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(ours.background, theirs.background)


def test_all_that_a_layer_has_is_looked_at(whole: vosfm.Segmenter) -> None:
    """Each layer reads as from a memory of the entries that have it, and of no other."""
    state = play(whole, {1: 1, 5: 2, 7: 3})[6][1]
    held, reader = state.banks["temporal"], whole.memory.reader
    assert isinstance(reader, ScalableLSTT)
    for layer in range(3):
        past = reader._past(state.banks, ("temporal",), layer)
        assert past is not None
        kept = [m for m, depth in enumerate(held.depth.tolist()) if depth > layer]
        assert torch.equal(past.key, held.rows[f"key{layer}"][:, :, kept].flatten(2, 3))
        assert torch.equal(past.value, held.rows[f"value{layer}"][:, :, kept].flatten(2, 3))


def features_of(size: tuple[int, int], channels: int) -> Features:
    chance = torch.Generator().manual_seed(1)
    embedding = torch.randn(1, channels, *size, generator=chance)
    pixels = (16 * size[0], 16 * size[1])
    return Features(torch.empty(0), {}, embedding, Geometry(pixels, pixels, pixels))


def test_entries_with_all_layers_cost_nothing() -> None:
    held = Contents(
        {"key0": torch.zeros(1, 1, 2, 3, 4)}, {}, torch.zeros(1, 1, 2, dtype=torch.int64)
    )
    assert _with_layer(held, 0) is held
    deep = replace(held, depth=torch.tensor([2, 3]))
    assert _with_layer(deep, 1) is deep
    assert _with_layer(deep, 3).count == 0  # of whose tensors there are none


def test_a_layer_that_no_entry_has_looks_at_the_last_frame_alone() -> None:
    """Where the first frame had to make room, and all others were seen with one layer."""
    torch.manual_seed(0)
    reader = ScalableLSTT(16, 2, 2, 32, 1, 0.0, long=("temporal",)).eval()
    memory = Memory({"temporal": Temporal(1, capacity=1, policy="fifo"), "local": Local()}, reader)
    alone = ScalableLSTT(16, 2, 2, 32, 1, 0.0, long=()).eval()
    features, encoding = features_of((3, 4), 16), Encoding(torch.randn(1, 1, 16, 3, 4))
    banks = memory.start()
    for time, depth in enumerate((None, 1)):
        given = encoding if time == 0 else None
        when = When(time, time == 0, depth=depth)
        readout = memory.read(banks, features, 1, when, given)
        banks = memory.write(banks, reader.entry(features, readout, encoding, {}), when)
    assert banks["temporal"].depth.tolist() == [1]
    readout = memory.read(banks, features, 1, When(2, False))
    weights = {k: v for k, v in reader.state_dict().items() if "long_term" not in k}
    alone.load_state_dict(weights)
    # The first layer of the one, then the second of the other, which has no long-term attention.
    alone.blocks[0], alone.long = reader.blocks[0], reader.long
    assert torch.equal(memory.read(banks, features, 1, When(2, False)).maps[1], readout.maps[1])
    assert torch.equal(alone.read(features, banks, 1, When(2, False)).maps[1], readout.maps[1])
    deep = Contents({name: leaf + 1 for name, leaf in banks["temporal"].rows.items()})
    deep = replace(deep, time=banks["temporal"].time)
    other = memory.read({**banks, "temporal": deep}, features, 1, When(2, False))
    assert not torch.equal(other.maps[1], readout.maps[1])


def test_an_entry_has_the_layers_that_the_frame_was_read_with() -> None:
    reader = ScalableLSTT(16, 3, 2, 32, 1, 0.0).eval()
    features, encoding = features_of((3, 4), 16), Encoding(torch.randn(1, 2, 16, 3, 4))
    whole = reader.entry(
        features, reader.read(features, {}, 2, When(0, True), encoding), encoding, {}
    )
    assert whole.depth is None
    assert sorted(whole.rows) == [f"{what}{n}" for what in ("key", "value") for n in range(3)]
    shallow = reader.read(features, {}, 2, When(0, True, depth=2), encoding)
    entry = reader.entry(features, shallow, encoding, {})
    assert len(shallow.maps) == entry.depth == 2
    assert sorted(entry.rows) == ["key0", "key1", "value0", "value1"]


def test_the_gate_of_a_key_by_hand() -> None:
    """A head whose gate is open at 0 keeps its key, one far below 0 loses it, far above doubles."""
    block = ScalableBlock(6, 3, 32, 1, 0.0)
    key = torch.arange(1.0, 7.0).view(1, 1, 1, 6)
    identity = torch.tensor([0.0, -50.0, 50.0, 1, 2, 3, 4, 5, 6]).view(1, 1, 1, 9)
    gated, value = block.remember(key, torch.ones(1, 1, 1, 6), identity)
    assert gated.flatten().tolist() == [1, 2, 0, 0, 10, 12]
    assert value.flatten().tolist() == [2, 3, 4, 5, 6, 7]


def test_shared_layers_are_one_layer_run_again(whole: vosfm.Segmenter) -> None:
    for shared in ("all", "matching"):
        one, three = lively(shared=shared), lively()
        weights = one.state_dict()
        for name in three.state_dict():
            if name.startswith(("memory.reader.blocks.", "memory.reader.norms.")) or (
                shared == "all" and name.startswith("memory.reader.identify.")
            ):
                part, place, rest = name.split(".", 4)[2:]
                assert place in "012"
                weights[name] = one.state_dict()[f"memory.reader.{part}.0.{rest}"]
        three.load_state_dict(weights)
        for depth in (1, 2, 3):
            ours, theirs = play(one, {0: depth}, 5), play(three, {0: depth}, 5)
            assert all(torch.equal(a, b) for (a, _), (b, _) in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("shared", "blocks", "identified"), [("all", 1, 1), ("matching", 1, 3)])
def test_what_is_shared(shared: str, blocks: int, identified: int) -> None:
    reader = ScalableLSTT(16, 3, 2, 32, 1, 0.0, shared=shared)  # type: ignore[arg-type]
    assert reader.depths == (1, 2, 3)
    assert (len(reader.blocks), len(reader.norms), len(reader.identify)) == (
        blocks,
        blocks,
        identified,
    )


def test_sharing_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="must be none, matching or all"):
        ScalableLSTT(shared="some")  # type: ignore[arg-type]
