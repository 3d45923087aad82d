"""DDMemory: all subsets of its banks, its constant cost, and a model that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from models import square, video
from streams import same
from torch import Tensor, nn

import vosfm
from vosfm import zoo
from vosfm.data import ProceduralClips, collate
from vosfm.errors import InputError
from vosfm.losses import SegmentationLoss
from vosfm.memory import LSTT, Global, Local, Reference
from vosfm.memory.footprint import footprint
from vosfm.types import Contents, Features, Geometry, When

SUBSETS = ("R", "G", "L", "RG", "RL", "GL", "RGL")
every_subset = pytest.mark.parametrize("kept", SUBSETS)


def memory(kept: str, **changes: Any) -> dict[str, Any]:
    """The memory of the small model with these banks alone; changes are of the global one."""
    config = yaml.safe_load((zoo.CONFIGS / "model" / "ddmemory_nano.yaml").read_text())
    whole = config["model"]["segmenter"]["init_args"]["memory"]["init_args"]
    names = [name for name in ("reference", "global", "local") if name[0].upper() in kept]
    banks = {name: whole["banks"][name] for name in names}
    if "G" in kept:
        feed = {"feed": "evicted" if "L" in kept else "written"}
        banks["global"]["init_args"] |= feed | changes
    reader = whole["reader"]
    reader["init_args"] |= {
        "long": [name for name in names if name != "local"],
        "short": "local" if "L" in kept else None,
    }
    spill = {"local": "global"} if {"G", "L"} <= set(kept) else {}
    arguments = {"banks": banks, "reader": reader, "spill": spill}
    return {"class_path": "vosfm.memory.Memory", "init_args": arguments}


def ddmemory(kept: str = "RGL", **changes: Any) -> vosfm.Segmenter:
    """With outputs that depend on what is remembered."""
    torch.manual_seed(0)
    segmenter = vosfm.build("ddmemory_nano", memory=memory(kept, **changes)).eval()
    nn.init.normal_(segmenter.decoder.exit.weight, std=0.5)
    return segmenter


def prompts() -> dict[int, dict[int, Any]]:
    """Objects join twice, the second time so many that there are two groups; one is corrected."""
    later = {n: square(34, 12 * (n - 3), 10) for n in range(3, 9)}
    return {0: {1: square(0, 0), 2: square(2, 60)}, 3: later, 5: {1: square(4, 4)}}


def bank(tracker: vosfm.Tracker, name: str = "global") -> Contents:
    assert tracker.state is not None
    return tracker.state.banks[name]


def test_the_configs_are_the_paper() -> None:
    for name in ("ddmemory", "ddmemory_nano"):
        segmenter = vosfm.build(name)
        remembered = segmenter.memory
        assert {n: type(b) for n, b in remembered.banks.items()} == {
            "reference": Reference,
            "local": Local,
            "global": Global,
        }
        assert remembered.spill == {"local": "global"}
        reader = remembered.reader
        assert isinstance(reader, LSTT)
        assert (reader.long, reader.short) == (("reference", "global"), "local")
        assert len(reader.widths) == 3
    ours = {k: v.shape for k, v in vosfm.build("ddmemory").state_dict().items()}
    theirs = {k: v.shape for k, v in vosfm.build("aot_b").state_dict().items()}
    added = set(ours) - set(theirs)
    assert {name.split(".recurrence")[0] for name in added} == {"memory.banks.global"}
    assert all(ours[name] == shape for name, shape in theirs.items())


@every_subset
class TestSubsets:
    def test_it_tracks_and_resumes(self, kept: str, tmp_path: Path) -> None:
        """Objects join, one is given again, one leaves; a resumed stream is the same bit by bit."""
        whole, frames = vosfm.Tracker(ddmemory(kept)), video(10)
        results = list(whole.track(frames[:7], prompts()))
        assert results[-1].object_ids == tuple(range(1, 9))
        whole.remove(2)
        whole.save(tmp_path / "stream.safetensors")
        resumed = vosfm.Tracker(ddmemory(kept))
        resumed.resume(tmp_path / "stream.safetensors")
        for one, other in zip(whole.track(frames[7:]), resumed.track(frames[7:]), strict=True):
            assert one.object_ids == other.object_ids == (1, *range(3, 9))
            assert (one.masks == other.masks).all()
        assert whole.state is not None
        assert resumed.state is not None
        ours, theirs = whole.state.banks, resumed.state.banks
        assert {name[0].upper() for name in ours} == set(kept)
        assert all(same(ours[name], theirs[name]) for name in ours)
        if "G" in kept:
            assert bank(whole).time.tolist() == [[[8 if "L" in kept else 9]] * 2]

    def test_all_that_is_there_learns(self, kept: str) -> None:
        """Three frames suffice: no process of several would wait for a gradient."""
        segmenter = ddmemory(kept).train()
        clips = ProceduralClips(length=3, size=(64, 64), objects=2, clips=2)
        clip = collate([clips[0], clips[1]])
        sum(p.logits.square().mean() for p in segmenter(clip)).backward()
        learning = dict(segmenter.named_parameters())
        assert not [n for n, p in learning.items() if p.requires_grad and p.grad is None]
        assert any("long_term" in n for n in learning) == bool(set("RG") & set(kept))
        assert any("short_term" in n for n in learning) == ("L" in kept)
        assert any("banks.global" in n for n in learning) == ("G" in kept)
        if "G" in kept:
            grads = [p.grad for n, p in learning.items() if "banks.global" in n]
            assert all(g is not None and bool(g.any()) for g in grads)

    def test_what_a_frame_looks_at_does_not_grow(self, kept: str) -> None:
        segmenter = ddmemory(kept)
        seen: list[tuple[int, int]] = []
        block = segmenter.memory.reader.blocks[1]

        def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            _, _, _, identity, long, short = inputs
            if identity is None:
                counts = [0 if of is None else of[0].shape[2] for of in (long, short)]
                seen.append((counts[0], counts[1]))

        block.register_forward_pre_hook(look)
        list(vosfm.Tracker(segmenter).track(video(8), {0: {1: square(0, 0)}}))
        tokens = 5 * 7
        long = tokens * len(set("RG") & set(kept))
        assert seen == [(long, tokens if "L" in kept else 0)] * 7


@torch.no_grad()
def test_repeated_tokens_do_not_change_what_is_read() -> None:
    """The paper repeats the reference where there is no global map; a softmax does not see that."""
    torch.manual_seed(0)
    once = LSTT(width=16, layers=2, heads=2, hidden=32, radius=1, long=("one",)).eval()
    twice = LSTT(width=16, layers=2, heads=2, hidden=32, radius=1, long=("one", "two")).eval()
    twice.load_state_dict(once.state_dict())
    size = (4, 5)

    def contents() -> Contents:
        rows = {f"{k}{n}": torch.randn(1, 2, 1, 20, 16) for k in ("key", "value") for n in (0, 1)}
        return Contents(rows, {}, torch.zeros(1, 2, 1, dtype=torch.int64))

    features = Features(torch.empty(0), {}, torch.randn(1, 16, *size), Geometry(size, size, size))
    one, local, other = contents(), contents(), contents()
    when = When(1, False)
    alone = once.read(features, {"one": one, "local": local}, 2, when)
    repeated = twice.read(features, {"one": one, "two": one, "local": local}, 2, when)
    for ours, theirs in zip(alone.maps, repeated.maps, strict=True):
        torch.testing.assert_close(ours, theirs)
    changed = twice.read(features, {"one": one, "two": other, "local": local}, 2, when)
    assert float((changed.maps[1] - alone.maps[1]).abs().max()) > 1e-3


def test_nothing_to_read() -> None:
    with pytest.raises(ValueError, match="nothing of the past is read"):
        LSTT(width=16, heads=2, hidden=32, long=(), short=None)


@every_subset
def test_the_footprint_is_foreseen(kept: str) -> None:
    """In the first frame; of one object, as more of them need more."""
    segmenter = ddmemory(kept)
    tracker = vosfm.Tracker(segmenter)
    foreseen = []
    for frame in video(6):
        tracker.step(frame, None if foreseen else {1: square(0, 0)})
        assert tracker.state is not None
        foreseen.append(footprint(segmenter.memory, tracker.state.banks))
    entries = len(kept)
    leaves = 3 * 2 * 5 * 7 * 128 * 4
    bookkeeping = 16 if "G" in kept else 0
    assert foreseen == [entries * leaves + bookkeeping] * 6


def test_a_memory_that_will_not_fit_is_refused() -> None:
    tracker = vosfm.Tracker(ddmemory("G"), memory_limit=3 * 2 * 5 * 7 * 128 * 4)
    with pytest.raises(InputError, match="the limit is"):
        tracker.step(video(1)[0], {1: square(0, 0)})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"place": "before_layers", "feed": "delayed"},
        {"place": "before_layers", "feed": "delayed", "follows": "value", "identity": "fused"},
    ],
    ids=["layers", "before", "fused"],
)
def test_in_bfloat16_everything_is(changes: dict[str, Any], tmp_path: Path) -> None:
    kept = "RG" if changes else "RGL"
    segmenter = ddmemory(kept, **changes)
    tracker = vosfm.Tracker(segmenter, precision="bf16")
    list(tracker.track(video(4), {0: {1: square(0, 0)}}))
    assert {leaf.dtype for leaf in bank(tracker).rows.values()} == {torch.bfloat16}
    tracker.save(tmp_path / "stream.safetensors")
    vosfm.Tracker(segmenter, precision="bf16").resume(tmp_path / "stream.safetensors")


def test_an_augmented_model_has_a_map_for_every_view() -> None:
    tracker = vosfm.Tracker(vosfm.augment(ddmemory(), (0.7,), flip=True))
    list(tracker.track(video(4), {0: {1: square(0, 0)}}))
    assert tracker.state is not None
    views = [name for name in tracker.state.banks if name.endswith("global")]
    assert len(views) == 2
    assert not same(bank(tracker, views[0]).rows, bank(tracker, views[1]).rows)


@pytest.mark.parametrize(
    ("kept", "changes", "spill", "message"),
    [
        ("RGL", {}, {}, "nothing spills into it"),
        ("RGL", {"feed": "written"}, {"local": "global"}, "it would take them twice"),
        ("RG", {"layers": 2}, {}, "follows 2 layers of 128 channels"),
        ("RG", {"width": 64}, {}, "follows 3 layers of 64 channels"),
    ],
)
def test_what_cannot_be_combined(
    kept: str, changes: dict[str, Any], spill: dict[str, str], message: str
) -> None:
    arguments = memory(kept, **changes)
    arguments["init_args"]["spill"] = spill
    with pytest.raises(InputError, match=message):
        vosfm.build("ddmemory_nano", memory=arguments)


def test_the_map_alone_decides_what_is_seen() -> None:
    """With no other bank: another history, other masks."""
    segmenter = ddmemory("G")
    frames = video(6)

    def last(history: list[Any]) -> Tensor:
        tracker = vosfm.Tracker(segmenter)
        list(tracker.track(history[:-1], {0: {1: square(0, 0)}}))
        assert tracker.state is not None
        with torch.inference_mode():
            image = torch.from_numpy(history[-1]).permute(2, 0, 1)[None].float() / 255
            features = segmenter.encode(image)
            return segmenter.propose(tracker.state, features).logits

    plain, other = last(frames), last([*frames[:2], *frames[4:1:-1], frames[5]])
    assert float((plain - other).abs().max()) > 1e-4


@pytest.mark.slow
def test_it_learns_what_moves() -> None:
    """Forty steps from scratch, on clips of four frames; told by clips that it never saw."""
    torch.manual_seed(0)
    segmenter = vosfm.build("ddmemory_nano").train()
    clips = ProceduralClips(4, (64, 64), objects=2, clips=168, difficulty=(0.0, 0.3))
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=2e-3)
    loss = SegmentationLoss()
    apart = [clips[n] for n in range(160, 168)]

    @torch.no_grad()
    def told() -> float:
        return float(loss(segmenter(collate(apart)), collate(apart), 0.0))

    before = told()
    for step in range(40):
        clip = collate([clips[4 * step + n] for n in range(4)])
        optimizer.zero_grad()
        loss(segmenter(clip), clip, 0.0).backward()
        optimizer.step()
        grads = {n: p.grad for n, p in segmenter.named_parameters() if p.requires_grad}
        assert not [name for name, grad in grads.items() if grad is None]
    after = told()
    print(f"loss {before:.3f}, {after:.3f} after 40 steps")
    assert after < 0.75 * before
