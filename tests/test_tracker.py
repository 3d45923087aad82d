"""Objects that join, overlap, leave; streams that are saved and resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scripted
import torch
from models import layered, square, tiny, video
from scripted import LEFT, RIGHT, Script

from vosfm import InputError, Segmenter, Tracker, augment, fuse
from vosfm.memory import Local, Memory
from vosfm.memory.banks.contents import WHOLE
from vosfm.pace import DepthRule, Pace
from vosfm.search import MemoryTree
from vosfm.tracker import Prompts, Result
from vosfm.types import Contents, Decoded, Encoding, Entry, Features, Objects, Readout, When


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


def run(
    segmenter: Segmenter, prompts: Prompts, length: int = 5, exclusive: bool = True
) -> list[Result]:
    return list(Tracker(segmenter, exclusive=exclusive).track(video(length), prompts))


def mask_of(result: Result, object_id: int) -> np.ndarray:
    return result.masks[result.object_ids.index(object_id)]


def test_given_masks_come_back_as_given(segmenter: Segmenter) -> None:
    given = {7: square(0, 0), 3: square(30, 50)}
    first = run(segmenter, {0: given}, length=2)[0]
    assert first.object_ids == (7, 3)
    for object_id, mask in given.items():
        assert np.array_equal(mask_of(first, object_id), mask)


def test_masks_depend_on_what_was_given(segmenter: Segmenter) -> None:
    one = run(segmenter, {0: {1: square(0, 0)}})[-1]
    other = run(segmenter, {0: {1: square(30, 50)}})[-1]
    assert one.scores[0] != other.scores[0]
    assert not np.array_equal(one.masks, other.masks)


def test_objects_exclude_each_other(segmenter: Segmenter) -> None:
    given = {i: square(12 * (i // 5), 18 * (i % 5), 10) for i in range(1, 12)}
    results = run(segmenter, {0: given})
    assert segmenter.mask_encoder.identities == 4  # so that there are three groups
    for result in results:
        assert len(result.object_ids) == 11
        assert result.masks.sum(0).max() <= 1
    assert results[-1].masks.any()


def test_an_object_joins(segmenter: Segmenter) -> None:
    early = run(segmenter, {0: {1: square(0, 0)}})
    late = run(segmenter, {0: {1: square(0, 0)}, 2: {9: square(30, 50)}})
    for t in range(2):
        assert late[t].object_ids == (1,)
        assert np.array_equal(late[t].masks, early[t].masks)
    assert late[2].object_ids == (1, 9)
    assert np.array_equal(mask_of(late[2], 9), square(30, 50))
    assert np.array_equal(mask_of(late[2], 1), early[2].masks[0] & ~square(30, 50))
    assert late[4].object_ids == (1, 9)


def test_a_correction_replaces_what_was_tracked(segmenter: Segmenter) -> None:
    result = run(segmenter, {0: {1: square(0, 0), 2: square(30, 0)}, 3: {1: square(10, 60)}})[3]
    assert result.object_ids == (1, 2)
    assert np.array_equal(mask_of(result, 1), square(10, 60))


def test_overlapping_objects_do_not_disturb_each_other(segmenter: Segmenter) -> None:
    whole, part = square(10, 10, 40), square(20, 20, 10)
    alone = run(segmenter, {0: {1: whole}}, exclusive=False)
    both = run(segmenter, {0: {1: whole, 2: part}}, exclusive=False)
    assert np.array_equal(mask_of(both[0], 2), part)
    for one, two in zip(alone, both, strict=True):
        assert np.array_equal(mask_of(one, 1), mask_of(two, 1))


def test_overlap_takes_further_groups_and_nothing_else_does(segmenter: Segmenter) -> None:
    tracker = Tracker(segmenter, exclusive=False)
    given = {1: square(0, 0, 40), 2: square(10, 10, 10), 3: square(20, 20, 10), 4: square(0, 70)}
    tracker.step(video(1)[0], given)
    assert tracker.state is not None
    assert tracker.state.objects.row[0].tolist() == [0, 1, 1, 0]


def test_who_joins_over_a_tracked_object_takes_another_group(segmenter: Segmenter) -> None:
    frames = video(3)
    tracker = Tracker(segmenter, exclusive=False)
    tracker.step(frames[0], {1: square(0, 0, 40)})
    (result,) = tracker.step(frames[1], None)
    seen = result.masks[0]
    assert seen.any()
    assert not seen.all()
    apart = np.zeros_like(seen)
    apart[np.unravel_index(seen.argmin(), seen.shape)] = True
    tracker.step(frames[2], {2: ~apart, 3: apart})
    assert tracker.state is not None
    # Where object 1 was tracked in frame 2, it is all but certain to be covered by object 2.
    assert tracker.state.objects.row[0].tolist()[:2] == [0, 1]


def test_a_removed_object_is_as_if_it_never_was(segmenter: Segmenter) -> None:
    frames = video(6)
    whole, part = square(10, 10, 40), square(20, 20, 10)
    alone = list(Tracker(segmenter, exclusive=False).track(frames, {0: {1: whole}}))
    tracker = Tracker(segmenter, exclusive=False)
    list(tracker.track(frames[:3], {0: {1: whole, 2: part}}))
    tracker.remove(2)
    rest = list(tracker.track(frames[3:]))
    assert tracker.state is not None
    assert all(contents.time.shape[1] == 1 for contents in tracker.state.banks.values())
    for one, two in zip(alone[3:], rest, strict=True):
        assert two.object_ids == (1,)
        assert np.array_equal(one.masks, two.masks)


def test_an_identity_is_not_reused_while_memory_shows_it(segmenter: Segmenter) -> None:
    frames = video(4)
    tracker = Tracker(segmenter)
    tracker.step(frames[0], {1: square(0, 0), 2: square(0, 40)})
    tracker.remove(2)
    tracker.step(frames[1], {3: square(40, 40)})
    assert tracker.state is not None
    assert tracker.state.objects.slot[0].tolist() == [0, 1, 2]
    tracker.remove(1, 3)
    assert tracker.state.objects.count == 0
    assert not tracker.step(frames[2])[0].object_ids
    (result,) = tracker.step(frames[3], {2: square(0, 0)})
    assert result.object_ids == (2,)
    assert tracker.state.objects.slot[0].tolist() == [0]


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_resumed_stream_is_bit_equal(
    segmenter: Segmenter, tmp_path: Path, exclusive: bool
) -> None:
    frames = video(8)
    prompts: Prompts = {0: {1: square(0, 0), 2: square(30, 40)}, 3: {3: square(40, 60)}}
    whole = Tracker(segmenter, exclusive=exclusive)
    uninterrupted = list(whole.track(frames, prompts))
    first = Tracker(segmenter, exclusive=exclusive)
    list(first.track(frames[:5], prompts))
    first.save(tmp_path / "stream.safetensors")
    second = Tracker(segmenter)
    second.resume(tmp_path / "stream.safetensors")
    assert second.time == 5
    for one, two in zip(uninterrupted[5:], second.track(frames[5:]), strict=True):
        assert one.frame == two.frame
        assert one.object_ids == two.object_ids
        assert np.array_equal(one.masks, two.masks)
        assert np.array_equal(one.scores, two.scores)
    assert whole.state is not None
    assert second.state is not None
    for name, contents in whole.state.banks.items():
        for leaf, value in contents.rows.items():
            assert torch.equal(value, second.state.banks[name].rows[leaf])


def calm() -> Segmenter:
    """Keys that match less sharply, so that rounding does not change who is matched."""
    segmenter = tiny()
    segmenter.memory.reader.blocks[0].to_key.weight.data.mul_(0.1)
    return segmenter


def test_bf16_masks_are_close_and_memory_is_half() -> None:
    segmenter, prompts = calm(), {0: {1: square(20, 20, 24), 2: square(5, 60)}}
    full, half = Tracker(segmenter), Tracker(segmenter, precision="bf16")
    for one, two in zip(full.track(video(4), prompts), half.track(video(4), prompts), strict=True):
        assert (one.masks == two.masks).mean() > 0.97
        assert not one.frame or (one.scores != two.scores).all()
        for ours, theirs in zip(one.masks, two.masks, strict=True):
            assert ours.any()
            assert (ours & theirs).sum() > 0.8 * (ours | theirs).sum()
    assert full.state is not None
    assert half.state is not None
    for name, contents in full.state.banks.items():
        for leaf, value in contents.rows.items():
            assert half.state.banks[name].rows[leaf].nbytes == value.nbytes / 2


def test_a_resumed_bf16_stream_is_bit_equal(segmenter: Segmenter, tmp_path: Path) -> None:
    frames, prompts = video(6), {0: {1: square(0, 0)}, 2: {2: square(30, 40)}}
    path = tmp_path / "stream.safetensors"
    uninterrupted = list(Tracker(segmenter, precision="bf16").track(frames, prompts))
    first = Tracker(segmenter, precision="bf16")
    list(first.track(frames[:3], prompts))
    first.save(path)
    second = Tracker(segmenter, precision="bf16")
    second.resume(path)
    for one, two in zip(uninterrupted[3:], second.track(frames[3:]), strict=True):
        assert np.array_equal(one.masks, two.masks)
        assert np.array_equal(one.scores, two.scores)
    with pytest.raises(InputError, match=r"memory is of torch\.bfloat16, .* of torch\.float32"):
        Tracker(segmenter).resume(path)


def test_memory_does_not_grow(segmenter: Segmenter) -> None:
    tracker = Tracker(segmenter)
    results = tracker.track(video(30), {0: {1: square(0, 0)}})
    held = set()
    for _ in results:
        assert tracker.state is not None
        banks = tracker.state.banks.values()
        held.add(sum(leaf.numel() for contents in banks for leaf in contents.rows.values()))
    assert len(held) == 1


def test_frames_before_the_first_prompt_are_empty(segmenter: Segmenter) -> None:
    results = run(segmenter, {2: {1: square(0, 0)}})
    assert [len(r.object_ids) for r in results] == [0, 0, 1, 1, 1]
    assert [r.frame for r in results] == [0, 1, 2, 3, 4]


def test_scores_are_probabilities(segmenter: Segmenter) -> None:
    for result in run(segmenter, {0: {1: square(0, 0)}}):
        assert result.scores.shape == (1,)
        assert 0 <= result.scores[0] <= 1


def test_what_cannot_be_tracked(segmenter: Segmenter, tmp_path: Path) -> None:
    frames = video(3)
    good = square(0, 0)
    with pytest.raises(InputError, match="nothing to track"):
        run(segmenter, {})
    with pytest.raises(InputError, match="frame 0, object 1: mask of"):
        run(segmenter, {0: {1: good[:-1]}})
    with pytest.raises(InputError, match="frame 0, object 1: the mask is empty"):
        run(segmenter, {0: {1: np.zeros_like(good)}})
    with pytest.raises(InputError, match="overlap on 400 pixels"):
        run(segmenter, {0: {1: good, 2: good}})
    with pytest.raises(InputError, match="prompt for frame 9: the video has frames 0 to 4"):
        run(segmenter, {0: {1: good}, 9: {2: good}})
    with pytest.raises(InputError, match="prompt for frame 9"):
        list(Tracker(segmenter).track(iter(frames), {0: {1: good}, 9: {2: good}}))
    with pytest.raises(InputError, match="frame 1 is 64x95, the stream 64x96"):
        list(Tracker(segmenter).track([frames[0], frames[1][:, :-1]], {0: {1: good}}))
    with pytest.raises(InputError, match="object id 0"):
        run(segmenter, {0: {0: good}})
    with pytest.raises(InputError, match="precision is '16'"):
        Tracker(segmenter, precision="16")  # type: ignore[arg-type]
    tracker = Tracker(segmenter)
    with pytest.raises(InputError, match="has not begun"):
        tracker.save(tmp_path / "x")
    tracker.step(frames[0], {1: good})
    with pytest.raises(InputError, match="object 5 is not tracked"):
        tracker.remove(5)
    with pytest.raises(InputError, match="no such file"):
        tracker.resume(tmp_path / "absent")
    (tmp_path / "noise").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match="noise: damaged"):
        tracker.resume(tmp_path / "noise")


class InTurn(DepthRule):
    """Reads frames at depths as they are listed."""

    def __init__(self, depths: Iterable[int]) -> None:
        super().__init__()
        self.coming = iter(depths)

    def check(self, depths: Sequence[int]) -> None:
        pass

    def choose(self, depths: Sequence[int]) -> int:
        return next(self.coming)


class Twice(scripted.Last):
    """Reads the last mask, with one layer or with two that do the same."""

    widths = (1, 1)
    depths = (1, 2)

    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        newest = views["local"].rows
        return Readout(tuple(newest[f"mask{n}"][:, :, -1] for n in range(when.depth or 2)))

    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, torch.Tensor],
    ) -> Entry:
        assert encoding is not None
        depth = 2 if readout is None else len(readout.maps)
        rows = {f"mask{n}": encoding.maps for n in range(depth)}
        return Entry(rows, depth=None if depth == 2 else depth)


class Either(scripted.Scripted):
    """Decodes the last map of those it is given, and tells which side each row follows."""

    readouts = (1, 1)
    depths = (1, 2)

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.followed: list[list[int]] = []

    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        last = replace(readout, maps=readout.maps[-1:])
        self.followed.append(
            [LEFT if row[0, :, :4].mean() > 0.5 else RIGHT for row in last.maps[0][0]]
        )
        return super().forward(features, last, objects)


@pytest.fixture(scope="module")
def deep() -> Segmenter:
    return layered()


class TestDepth:
    JOINS: ClassVar[Prompts] = {0: {1: square(0, 0)}, 6: {2: square(30, 40)}}
    DEPTHS = (3, 1, 1, 2, 1, 3, 2, 1, 3, 2)
    """Of ten tracked frames; frames 0 and 6 are given, these and 5 and 11 enter the memory."""

    def test_every_depth_tracks_otherwise_and_the_last_is_the_whole_model(
        self, deep: Segmenter
    ) -> None:
        scores = []
        for depth in (1, 2, 3, None):
            tracker = Tracker(deep, depth=depth)
            results = list(tracker.track(video(8), self.JOINS))
            scores.append([result.scores.tolist() for result in results])
            if depth is not None:
                assert tracker.depth is not None
                assert tracker.depth.frames == {depth: 6}
        assert scores[2] == scores[3]
        assert scores[0] != scores[1] != scores[2] != scores[0]

    def test_depth_changes_in_mid_stream(self, deep: Segmenter) -> None:
        """What is kept tells with how many layers each frame was read."""
        tracker = Tracker(deep, depth=InTurn(self.DEPTHS))
        depths = []
        for result in tracker.track(video(12), self.JOINS):
            assert tracker.state is not None
            assert tracker.state.banks["local"].depth is None
            assert set(tracker.state.banks["local"].rows) == {
                f"{kind}{layer}" for kind in ("key", "value") for layer in range(3)
            }
            held = tracker.state.banks["temporal"]
            told = held.depth if held.depth is not None else torch.full((held.count,), WHOLE)
            depths.append((held.time[0, 0].tolist(), told.tolist()))
            assert result.frame < 6 or len(result.object_ids) == 2
        assert depths[4] == ([0], [WHOLE])
        assert depths[5] == ([0, 5], [WHOLE, 1])
        assert depths[6] == ([0, 5, 6], [WHOLE, 1, WHOLE])
        assert depths[11] == ([0, 5, 6, 11], [WHOLE, 1, WHOLE, 2])

    def test_a_deep_frame_looks_past_shallow_ones(self, deep: Segmenter) -> None:
        """What is written into the layers that an entry lacks, no frame ever sees."""
        results = []
        for junk in (0.0, 1e3):
            tracker = Tracker(deep, depth=InTurn((1,) * 5 + (2,) * 5 + (3, 2, 1)))
            list(tracker.track(video(12)[:11], {0: {1: square(0, 0)}}))
            assert tracker.state is not None
            held = tracker.state.banks["temporal"]
            assert held.depth is not None
            assert held.depth.tolist() == [WHOLE, 1, 2]
            with torch.inference_mode():
                for layer in (1, 2):
                    for kind in ("key", "value"):
                        held.rows[f"{kind}{layer}"][:, :, held.depth <= layer] += junk
            results += [list(tracker.track(video(14)[11:]))]
        for one, other in zip(*results, strict=True):
            assert np.array_equal(one.masks, other.masks)
            assert np.array_equal(one.scores, other.scores)

    @pytest.mark.parametrize("cut", [1, 3, 5, 6, 9])
    def test_a_stream_of_changing_depth_is_resumed_bit_by_bit(
        self, deep: Segmenter, tmp_path: Path, cut: int
    ) -> None:
        frames, path = video(12), tmp_path / "stream.safetensors"
        chosen = InTurn(self.DEPTHS)
        whole = Tracker(deep, depth=chosen)
        uninterrupted = list(whole.track(frames, self.JOINS))
        rule = InTurn(self.DEPTHS)
        first = Tracker(deep, depth=rule)
        list(first.track(frames[:cut], {k: v for k, v in self.JOINS.items() if k < cut}))
        first.save(path)
        second = Tracker(deep, depth=rule)
        second.resume(path)
        rest = second.track(frames[cut:], {k: v for k, v in self.JOINS.items() if k >= cut})
        for one, two in zip(uninterrupted[cut:], rest, strict=True):
            assert one.object_ids == two.object_ids
            assert np.array_equal(one.masks, two.masks)
            assert np.array_equal(one.scores, two.scores)
        assert rule.frames == chosen.frames == {1: 4, 2: 3, 3: 3}

    def test_a_resumed_stream_goes_on_at_the_depth_of_its_tracker(
        self, deep: Segmenter, tmp_path: Path
    ) -> None:
        first = Tracker(deep, depth=1)
        list(first.track(video(3), {0: {1: square(0, 0)}}))
        first.save(tmp_path / "stream.safetensors")
        second = Tracker(deep)
        second.resume(tmp_path / "stream.safetensors")
        assert second.state is not None
        assert second.state.depth == 1
        second.step(video(4)[3])
        assert second.state is not None
        assert second.state.depth is None

    def test_fused_and_augmented_models_have_the_depths(self, deep: Segmenter) -> None:
        model = augment(fuse(deep), (1.0, 1.5), flip=True)
        assert model.depths == (1, 2, 3)
        scores = []
        for depth in (1, 3):
            tracker = Tracker(model, depth=depth)
            results = list(tracker.track(video(8), self.JOINS))
            scores.append(results[-1].scores.tolist())
            assert tracker.state is not None
            for name, contents in tracker.state.banks.items():
                partial = name.endswith("temporal") and depth == 1
                assert contents.depth is None or partial
                if partial:  # frames 0 and 6 were given to every view
                    assert contents.depth is not None
                    assert contents.depth.tolist() == [WHOLE, 1, WHOLE]
        assert scores[0] != scores[1]

    def test_depths_that_cannot_be(self, deep: Segmenter, segmenter: Segmenter) -> None:
        with pytest.raises(InputError, match="depth 4: this model runs at depth 1 or 2 or 3"):
            Tracker(deep, depth=4)
        with pytest.raises(InputError, match="depth 2: this model runs at depth 1: leave"):
            Tracker(segmenter, depth=2)
        with pytest.raises(InputError, match="needs a model of several depths"):
            Tracker(segmenter, depth=Pace(10))
        assert Tracker(segmenter, depth=1).depth is not None

    def test_a_tree_of_memories_follows_pathways_at_any_depth(self) -> None:
        """Not certain in frame 2, the tree parts; both pathways keep what deeper layers knew."""
        script: Script = {
            1: (5.0, {LEFT: (0.9, 0.1)}),
            2: (0.5, {LEFT: (0.5, 0.6)}),
            3: (0.5, {LEFT: (0.9, 0.05), RIGHT: (0.04, 0.7)}),
            4: (0.5, {LEFT: (0.9, 0.1), RIGHT: (0.1, 0.6)}),
        }
        frames, search = scripted.video(5), MemoryTree(pathways=2, modulation=None)
        seen = {}
        for depths in ((1, 1, 1, 1), (2, 2, 2, 2), (2, 1, 1, 2), (1, 2, 2, 1)):
            decoder = Either(script)
            memory = Memory({"local": Local()}, Twice())
            model = Segmenter(scripted.Eye(), scripted.Whole(), memory, decoder).eval()
            tracker = Tracker(model, search, depth=InTurn(depths))
            results = []
            for time, frame in enumerate(frames):
                results += tracker.step(frame, {1: scripted.half(LEFT)} if time == 0 else None)
                assert tracker.state is not None
                held = tracker.state.banks["local"]
                assert set(held.rows) == {"mask0", "mask1"}
                assert held.time.shape[1] == tracker.state.objects.count
            results += list(tracker.track([], {}))
            assert [result.frame for result in results] == list(range(5))
            seen[depths] = decoder.followed, [bool(r.masks[0, 0, 0]) for r in results]
        # The same masks lie in both layers as long as all frames are read with both or the first.
        assert seen[1, 1, 1, 1] == seen[2, 2, 2, 2]
        assert seen[1, 1, 1, 1][0] == [[LEFT], [LEFT], [RIGHT, LEFT], [LEFT, RIGHT]]
        # The second layer of both pathways has last seen frame 1, in which they were one.
        assert seen[2, 1, 1, 2][0] == [[LEFT], [LEFT], [RIGHT, LEFT], [LEFT, LEFT]]
        assert seen[1, 2, 2, 1][0] == [[LEFT], [LEFT], [RIGHT, LEFT], [LEFT, RIGHT]]

    def test_a_pace_is_held_on_a_simulated_clock(
        self, deep: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Encoding takes 3, a layer 2 units of time; whatever lies between two steps takes none."""
        time = 0.0
        read, encode = deep.memory.reader.read, deep.encode

        def slow_read(*given: Any) -> Any:
            nonlocal time
            time += 2.0 * (given[3].depth or 3)
            return read(*given)

        def slow_encode(images: torch.Tensor) -> Any:
            nonlocal time
            time += 3.0
            return encode(images)

        monkeypatch.setattr(deep.memory.reader, "read", slow_read)
        monkeypatch.setattr(deep, "encode", slow_encode)
        pace = Pace(1 / 7.5, clock=lambda: time)  # 5, 7 and 9 units a frame
        tracker = Tracker(deep, depth=pace)
        for index, frame in enumerate(video(30)):
            tracker.step(frame, {1: square(0, 0)} if index == 0 else None)
            time += 1000
        assert pace.frames == {2: 28, 3: 1}  # the given frame does not count
        assert pace.seconds == {2: 28 * 7, 3: 9}
        assert "of 0.133333 was held" in pace.summary()

    def test_a_device_is_waited_for_before_its_time_is_taken(
        self, deep: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[str] = []
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append("wait"))

        def clock() -> float:
            events.append("look")
            return float(len(events))

        tracker = Tracker(deep, depth=Pace(10, clock=clock))
        frames = video(2)
        tracker.step(frames[0], {1: square(0, 0)})
        tracker.step(frames[1])
        assert events == ["look", "look"]

        class Elsewhere(torch.nn.Module):
            device = torch.device("cuda:0")

        tracker.segmenter = Elsewhere()  # type: ignore[assignment]
        events.clear()
        with tracker._timed(2):
            events.append("work")
        assert events == ["wait", "look", "work", "wait", "look"]
