"""Several views of every frame: what they agree on, and what they must not change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import CONFIG, square, tiny, video
from numpy.typing import NDArray
from scenes import save_scene, save_tiny, scene
from torch import Tensor

import vosfm
from vosfm import InputError, Segmenter, Tracker, augment
from vosfm.augmentation import Augmented
from vosfm.cli import main
from vosfm.data import open_video, read_labels
from vosfm.ops.masks import harden
from vosfm.task import SegmentationTask
from vosfm.track import track
from vosfm.tracker import Prompts, Result
from vosfm.types import Prompt

Frames = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


@pytest.fixture(scope="module")
def model(segmenter: Segmenter) -> Augmented:
    return Augmented(segmenter, (0.7,), flip=True)


def image(frame: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255


def mirrored(frames: Frames) -> Frames:
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def mirrored_prompts(prompts: Prompts) -> Prompts:
    return {
        frame: {object_id: np.asarray(mask)[:, ::-1].copy() for object_id, mask in given.items()}
        for frame, given in prompts.items()
    }


def assert_equal(ours: list[Result], theirs: list[Result]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.frame, one.object_ids) == (other.frame, other.object_ids)
        assert np.array_equal(one.masks, other.masks)
        assert np.array_equal(one.scores, other.scores)


# An object joins, another is corrected, both while others are tracked.
JOINING: Prompts = {
    0: {1: square(0, 0), 2: square(30, 40)},
    2: {5: square(36, 70)},
    4: {1: square(10, 10, 30), 5: square(40, 60)},
}


class TestOneView:
    """Nothing is augmented: equal to the model, bit by bit, at a size that is resized."""

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_equals_the_model(self, segmenter: Segmenter, exclusive: bool) -> None:
        trackers = [Tracker(s, exclusive=exclusive) for s in (segmenter, Augmented(segmenter))]
        results = []
        for tracker in trackers:
            seen = list(tracker.track(video(5), JOINING))
            tracker.remove(2)
            results.append(seen + list(tracker.track(video(2, seed=1))))
        assert_equal(*results)
        assert results[0][-1].masks.any()
        plain, augmented = (tracker.state for tracker in trackers)
        assert plain is not None
        assert augmented is not None
        assert set(augmented.banks) == {f"1/{name}" for name in plain.banks}
        for name, held in plain.banks.items():
            for leaf, value in held.rows.items():
                assert torch.equal(value, augmented.banks[f"1/{name}"].rows[leaf])

    @torch.inference_mode()
    def test_equals_the_model_where_nobody_decides(self, segmenter: Segmenter) -> None:
        ends = []
        for model in (segmenter, Augmented(segmenter)):
            state = model.start((64, 96))
            for index, frame in enumerate(video(3)):
                features = model.encode(image(frame))
                proposal = model.propose(state, features, JOINING.get(index) if not index else None)
                state = model.commit(state, features, proposal)
            ends.append(model.aggregate(proposal))
        assert torch.equal(*ends)

    def test_is_the_model_itself(self, segmenter: Segmenter) -> None:
        assert augment(segmenter) is segmenter
        assert augment(segmenter, (1,), False) is segmenter
        assert isinstance(augment(segmenter, (1.3,)), Augmented)
        assert isinstance(augment(segmenter, (1.0,), True), Augmented)

    def test_of_the_same_size_twice_equal_one(self, segmenter: Segmenter) -> None:
        twice = Augmented(segmenter, (1.0, 1.001))
        assert len(twice.views) == 2
        one, two = (list(Tracker(s).track(video(5), JOINING)) for s in (segmenter, twice))
        assert_equal(one, two)


class TestMirror:
    """With flip, a mirrored video gives the mirrored result; without, it does not."""

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_tracks_a_mirrored_video_mirrored(self, model: Segmenter, exclusive: bool) -> None:
        frames = video(5)
        straight = list(Tracker(model, exclusive=exclusive).track(frames, JOINING))
        turned = list(
            Tracker(model, exclusive=exclusive).track(mirrored(frames), mirrored_prompts(JOINING))
        )
        for one, other in zip(straight, turned, strict=True):
            assert np.array_equal(one.masks, other.masks[..., ::-1])
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert any(0 < result.masks.mean() < 1 for result in straight[-1:])

    @torch.inference_mode()
    @pytest.mark.parametrize(("flip", "equal"), [(True, True), (False, False)])
    def test_probabilities(self, segmenter: Segmenter, flip: bool, equal: bool) -> None:
        model = Augmented(segmenter, (1.0, 1.3), flip=flip)
        ends = []
        for turn in (False, True):
            frames, prompts = video(4), JOINING
            if turn:
                frames, prompts = mirrored(frames), mirrored_prompts(prompts)
            state = model.start((64, 96))
            for index, frame in enumerate(frames):
                features = model.encode(image(frame))
                proposal = model.propose(state, features, prompts.get(index))
                # Both are told the same masks, so that a tie cannot part them.
                masks = np.stack([square(3 * index, 5), square(30, 40 - index), square(36, 70)])
                told = torch.from_numpy(masks[: proposal.objects.count])[None]
                told = told.flip(-1) if turn else told
                state = model.commit(state, features, proposal, None if index in prompts else told)
            ends.append(model.aggregate(proposal))
        difference = float((ends[0] - ends[1].flip(-1)).abs().max())
        assert difference < 1e-5 if equal else difference > 1e-2

    @torch.inference_mode()
    def test_void_is_turned_with_the_masks(self, segmenter: Segmenter) -> None:
        model = Augmented(segmenter, flip=True)
        masks = torch.from_numpy(square(10, 5)[None, None])
        void = torch.from_numpy(square(30, 70)[None])
        (frame,) = video(1)

        def remembered(model: Segmenter, name: str, *, turn: bool, told: bool) -> Tensor:
            """The values kept of the frame, its mask given with it or told afterwards."""
            seen, mask, nothing = (_turned(maps, turn) for maps in (image(frame), masks, void))
            state, features = model.start((64, 96), [1]), model.encode(seen)
            given = Prompt(mask, torch.tensor([[True]]), None if told else nothing)
            proposal = model.propose(state, features, given)
            late = (mask, nothing) if told else (None, None)
            return model.commit(state, features, proposal, *late).banks[name].rows["value0"]

        for told in (False, True):
            ours = remembered(model, "1-flip/local", turn=False, told=told)
            assert torch.equal(ours, remembered(segmenter, "local", turn=True, told=told))
            assert not torch.equal(ours, remembered(segmenter, "local", turn=False, told=told))


class TestViews:
    @torch.inference_mode()
    def test_equals_plain_models_side_by_side(self, segmenter: Segmenter) -> None:
        """Written out: each view a plain stream, told what the mean of all decides."""
        size, scaled = (65, 97), (97, 145)  # 1.5 times, and both of 16k + 1: nothing is rounded
        frames = video(5, size)
        given = {
            0: {1: square(0, 0, size=size), 2: square(30, 40, size=size)},
            3: {3: square(40, 70, size=size)},
        }
        model = Augmented(segmenter, (1.0, 1.5), flip=True)
        results = list(Tracker(model).track(frames, given))

        turns = [(size, False), (size, True), (scaled, False), (scaled, True)]
        states = [segmenter.start(s) for s, _ in turns]
        for t, frame in enumerate(frames):
            seen = [
                segmenter.encode(
                    F.interpolate(_turned(image(frame), flip), size=s, mode="bicubic")
                    if s != size
                    else _turned(image(frame), flip)
                )
                for s, flip in turns
            ]
            proposals = [
                segmenter.propose(*pair) if t else None for pair in zip(states, seen, strict=True)
            ]
            masks = torch.zeros(1, 0, *size, dtype=torch.bool)
            if t:
                mean = torch.stack(
                    [
                        _turned(segmenter.aggregate(p, size=size), flip)
                        for p, (_, flip) in zip(proposals, turns, strict=True)
                        if p is not None
                    ]
                ).mean(0)
                masks = harden(mean, states[0].objects)
            told = {i + 1: masks[0, i] for i in range(masks.shape[1])}
            if t in given:
                new = {i: torch.from_numpy(mask) for i, mask in given[t].items()}
                taken = torch.stack(list(new.values())).any(0)
                told = {i: mask & ~taken for i, mask in told.items()} | new
            assert np.array_equal(results[t].masks, np.stack([m.numpy() for m in told.values()]))
            for index, (s, flip) in enumerate(turns):
                own = {i: _nearest(_turned(mask, flip), s) for i, mask in told.items()}
                kept = proposals[index]
                if t in given:
                    kept = segmenter.propose(states[index], seen[index], own)
                assert kept is not None
                stacked = None if t in given else torch.stack(list(own.values()))[None]
                states[index] = segmenter.commit(states[index], seen[index], kept, stacked)
        assert len({result.masks.tobytes() for result in results}) == len(results)

    @torch.inference_mode()
    def test_every_view_remembers_what_all_decide(self, model: Augmented) -> None:
        frames = video(2)
        features = model.encode(image(frames[0]))
        start = model.start((64, 96))
        state = model.commit(start, features, model.propose(start, features, JOINING[0]))
        features = model.encode(image(frames[1]))
        proposal = model.propose(state, features)
        decided = harden(model.aggregate(proposal), proposal.objects)
        alone = [model.segmenter.aggregate(p, size=(64, 96)) for p in proposal.views]
        assert not torch.equal(harden(alone[0], proposal.objects), decided)
        unsaid, said = (model.commit(state, features, proposal, m) for m in (None, decided))
        for name, held in said.banks.items():
            for leaf, value in held.rows.items():
                assert torch.equal(value, unsaid.banks[name].rows[leaf])

    @torch.inference_mode()
    def test_a_frame_is_resized_once(self, segmenter: Segmenter) -> None:
        (frame,) = video(1)
        features = Augmented(segmenter, (1.0, 1.3, 0.5), flip=True).encode(image(frame))
        sizes = [(65, 97), (81, 129), (33, 49)]
        assert [f.geometry.prepared for f in features.views] == [s for s in sizes for _ in "ab"]
        for index, view in enumerate(features.views):
            assert view.geometry.source == (64, 96)
            turned = _turned(image(frame), bool(index % 2))
            once = F.interpolate(turned, size=view.geometry.prepared, mode="bicubic")
            encoder = segmenter.encoder
            assert torch.equal(view.image, (once - encoder.mean) / encoder.std)

    @torch.inference_mode()
    def test_the_limit_of_the_encoder_is_that_of_every_view(self) -> None:
        limited = vosfm.build(str(CONFIG), encoder={"long_edge": 128})
        features = Augmented(limited, (1.0, 1.3, 4.0)).encode(image(video(1)[0]))
        assert [f.geometry.prepared for f in features.views] == [(65, 97), (81, 129), (81, 129)]

    def test_weights_are_the_model_s(self, segmenter: Segmenter) -> None:
        model = Augmented(segmenter, (1.0, 1.3))
        assert model.encoder is segmenter.encoder
        assert model.memory is segmenter.memory
        assert model.device == segmenter.device
        assert [id(p) for p in model.parameters()] == [id(p) for p in segmenter.parameters()]
        with pytest.raises(AttributeError, match="neck"):
            _ = model.neck

    def test_every_view_counts(self, segmenter: Segmenter) -> None:
        ends = []
        for scales, flip in (((1.0,), False), ((1.0,), True), ((1.3,), False), ((1.0, 1.3), False)):
            tracker = Tracker(augment(segmenter, scales, flip))
            ends.append(list(tracker.track(video(3), {0: JOINING[0]}))[-1].masks.tobytes())
        assert len(set(ends)) == 4


def _turned(maps: Tensor, flip: bool) -> Tensor:
    return maps.flip(-1) if flip else maps


def _nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(mask[None, None].float(), size=size, mode="nearest")[0, 0].bool()


class TestStream:
    """Objects come and go as they do without augmentation."""

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_a_resumed_stream_is_bit_equal(
        self, model: Segmenter, tmp_path: Path, exclusive: bool
    ) -> None:
        frames = video(5)
        whole = list(Tracker(model, exclusive=exclusive).track(frames, JOINING))
        first = Tracker(model, exclusive=exclusive)
        list(first.track(frames[:3], {t: g for t, g in JOINING.items() if t < 3}))
        first.save(tmp_path / "stream.safetensors")
        second = Tracker(model)
        second.resume(tmp_path / "stream.safetensors")
        rest = list(second.track(frames[3:], {t: g for t, g in JOINING.items() if t >= 3}))
        assert_equal(whole[3:], rest)

    def test_only_the_same_views_resume(
        self, segmenter: Segmenter, model: Segmenter, tmp_path: Path
    ) -> None:
        tracker = Tracker(model)
        tracker.step(video(1)[0], JOINING[0])
        tracker.save(tmp_path / "stream")
        for other in (segmenter, augment(segmenter, (0.7,))):
            with pytest.raises(InputError, match=r"banks \['0.7-flip/local'.* this model has"):
                Tracker(other).resume(tmp_path / "stream")

    def test_objects_join_and_are_corrected(self, model: Segmenter) -> None:
        frames = video(5)
        results = list(Tracker(model).track(frames, JOINING))
        assert [len(result.object_ids) for result in results] == [2, 2, 3, 3, 3]
        for frame, given in JOINING.items():
            for object_id, mask in given.items():
                row = results[frame].object_ids.index(object_id)
                assert np.array_equal(results[frame].masks[row], mask)
        for result in results:
            assert result.masks.sum(0).max() <= 1
        alone = list(Tracker(model).track(frames[:3], {0: JOINING[0]}))
        assert_equal(results[:2], alone[:2])
        taken = square(36, 70)
        assert np.array_equal(results[2].masks[:2], alone[2].masks & ~taken)

    def test_overlapping_objects_do_not_disturb_each_other(self, model: Segmenter) -> None:
        whole, part = square(10, 10, 40), square(20, 20, 10)
        alone, both = (
            list(Tracker(model, exclusive=False).track(video(4), prompts))
            for prompts in ({0: {1: whole}}, {0: {1: whole, 2: part}})
        )
        assert np.array_equal(both[0].masks[1], part)
        for one, two in zip(alone, both, strict=True):
            assert np.array_equal(one.masks[0], two.masks[0])

    def test_a_removed_object_is_as_if_it_never_was(self, model: Segmenter) -> None:
        frames = video(4)
        whole, part = square(10, 10, 40), square(20, 20, 10)
        alone = list(Tracker(model, exclusive=False).track(frames, {0: {1: whole}}))
        tracker = Tracker(model, exclusive=False)
        list(tracker.track(frames[:2], {0: {1: whole, 2: part}}))
        tracker.remove(2)
        assert_equal(alone[2:], list(tracker.track(frames[2:])))
        tracker.remove(1)
        (result,) = tracker.step(frames[0], {7: part})
        assert result.object_ids == (7,)
        assert tracker.state is not None
        assert all(held.count for held in tracker.state.banks.values())

    def test_a_stream_starts_with_a_mask(self, model: Segmenter) -> None:
        features = model.encode(image(video(1)[0]))
        with pytest.raises(InputError, match="no object has a mask yet"):
            model.propose(model.start((64, 96)), features)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda s: augment(s, ()), "no scale is given"),
        (lambda s: augment(s, (1.0, 0.0)), "scale 0.0: give numbers above 0"),
        (lambda s: augment(s, (-1.3,)), "scale -1.3: give numbers above 0"),
        (lambda s: augment(s, (float("nan"),)), "scale nan: give numbers above 0"),
        (lambda s: augment(s, (1.0, 1.3, 1.0)), "scale 1 is given twice"),
        (lambda s: augment(Augmented(s), (1.3,)), "augmented already"),
    ],
)
def test_what_cannot_be_augmented(
    segmenter: Segmenter, wrong: Callable[[Segmenter], Segmenter], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        wrong(segmenter)


class TestCommands:
    def test_track(self, tmp_path: Path) -> None:
        frames, first = save_scene(tmp_path, scene(3))
        clip, out = open_video(frames, first), tmp_path / "views"
        views: dict[str, Any] = {"scales": (1.0, 1.3), "flip": True}
        assert track(tiny(), clip, out, rate=None, **views) == 3
        results = Tracker(augment(tiny(), **views)).track(clip.frames(), clip.prompts())
        for result, path in zip(results, sorted(out.glob("*.png")), strict=True):
            assert np.array_equal(read_labels(path) == 1, result.masks[0])
        assert track(tiny(), clip, out, resume=True, rate=None, **views) == 0
        for other in ({}, {"scales": (1.0, 1.3)}, {"flip": True}):
            with pytest.raises(InputError, match="with another choice of --scales or --flip"):
                track(tiny(), clip, out, resume=True, rate=None, **other)
        with pytest.raises(InputError, match=r"scale 0\.0: give numbers above 0"):
            track(tiny(), clip, tmp_path / "none", scales=(0.0,))
        assert not (tmp_path / "none").exists()

    def test_track_from_the_command_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frames, first = save_scene(tmp_path, scene(2))
        named = [f"--masks={first}", f"--model={CONFIG}", f"--out={tmp_path / 'out'}"]
        named.append(f"--checkpoint={save_tiny(tmp_path / 'tiny.pth')}")
        asked = []
        monkeypatch.setattr(
            "vosfm.track.track", lambda *_, scales, flip, **__: asked.append((scales, flip)) or 0
        )
        for options in ([], ["--scales", "1", "1.3", "--flip"]):
            assert main(["track", str(frames), *named, *options]) == 0
        assert asked == [([1.0], False), ([1.0, 1.3], True)]

    def test_task(self, segmenter: Segmenter) -> None:
        assert type(SegmentationTask(segmenter).tracker(scene()).segmenter) is Segmenter
        task = SegmentationTask(segmenter, scales=(1.0, 1.3), flip=True)
        clip = scene(3)
        ours = list(task.predict_step(clip, 0))
        model = Augmented(vosfm.fuse(segmenter), (1.0, 1.3), flip=True)
        assert_equal(ours, list(Tracker(model).track(clip.frames(), clip.prompts())))
        # Training, checkpoints and the optimiser know the model alone.
        assert set(task.state_dict()) == set(SegmentationTask(segmenter).state_dict())
        with pytest.raises(InputError, match="scale -1"):
            SegmentationTask(segmenter, scales=(-1.0,))
