"""Objects that join, overlap, leave; streams that are saved and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import square, tiny, video

from vosfm import InputError, Segmenter, Tracker
from vosfm.tracker import Prompts, Result


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
