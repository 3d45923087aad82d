"""What must hold for every segmenter."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from models import layered, square, tiny, video
from torch import Tensor

from vosfm import Box, Clip, InputError, Points, Segmenter, augment


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


def leaves(value: Any) -> list[Tensor]:
    """Every tensor inside a nest of dataclasses and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        return [t for f in fields(value) for t in leaves(getattr(value, f.name))]
    if isinstance(value, dict):
        return [t for v in value.values() for t in leaves(v)]
    return []


def clip(samples: int = 2, length: int = 3, seed: int = 0) -> Clip:
    frames = torch.stack(
        [
            torch.stack([torch.from_numpy(f) for f in video(length, seed=seed + s)])
            for s in range(samples)
        ]
    )
    masks = torch.zeros(samples, length, 2, 64, 96, dtype=torch.bool)
    for t in range(length):
        masks[:, t, 0, 4 : 24 + t, 4:30] = True
        masks[:, t, 1, 30:60, 40 : 70 + 2 * t] = True
    present = torch.ones(samples, 2, dtype=torch.bool)
    present[-1, 1] = False
    masks[~present[:, None].expand(-1, length, -1)] = False
    return Clip(frames.permute(0, 1, 4, 2, 3).float() / 255, masks, present)


def image(index: int) -> Tensor:
    return torch.from_numpy(video(index + 1)[index]).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def test_a_step_changes_nothing_it_was_given(segmenter: Segmenter) -> None:
    state = segmenter.start((64, 96))
    features = segmenter.encode(image(0))
    proposal = segmenter.propose(state, features, {1: square(0, 0)})
    state = segmenter.commit(state, features, proposal)
    before = [t.clone() for t in leaves(state)]
    features = segmenter.encode(image(1))
    proposal = segmenter.propose(state, features, {2: square(30, 30)})
    after = segmenter.commit(state, features, proposal)
    segmenter.remove(after, [1])
    assert all(torch.equal(a, b) for a, b in zip(before, leaves(state), strict=True))
    assert after.time == state.time + 1


@torch.inference_mode()
def test_two_futures_of_one_state_do_not_meet(segmenter: Segmenter) -> None:
    """A fork shares its past; what one branch remembers, the other does not know."""
    features = [segmenter.encode(image(t)) for t in range(3)]
    state = segmenter.start((64, 96))
    first = segmenter.propose(state, features[0], {1: square(0, 0)})
    state = segmenter.commit(state, features[0], first)
    proposal = segmenter.propose(state, features[1])
    branches = []
    for masks in (None, torch.from_numpy(square(30, 60))[None, None]):
        branch = segmenter.commit(state, features[1], proposal, masks)
        branches.append(segmenter.propose(branch, features[2]).logits)
    assert not torch.equal(*branches)
    again = segmenter.propose(segmenter.commit(state, features[1], proposal), features[2])
    assert torch.equal(branches[0], again.logits)


def test_training_and_streaming_are_the_same_road(segmenter: Segmenter) -> None:
    """Unrolling a clip gives the logits that a stream with corrected masks gives."""
    batch = clip(samples=2)
    batch = Clip(batch.frames[:1], batch.masks[:1], batch.present[:1])
    with torch.inference_mode():
        unrolled = segmenter(batch, feed="truth")
        state = segmenter.start((64, 96))
        for t, proposal in enumerate(unrolled):
            features = segmenter.encode(batch.frames[:, t])
            given = {o + 1: batch.masks[0, 0, o] for o in range(2)} if t == 0 else None
            streamed = segmenter.propose(state, features, given)
            torch.testing.assert_close(streamed.logits, proposal.logits, rtol=1e-3, atol=1e-3)
            truth = None if t == 0 else batch.masks[:, t]
            state = segmenter.commit(state, features, streamed, truth)


def test_samples_of_a_batch_do_not_meet(segmenter: Segmenter) -> None:
    batch = clip(samples=2)
    with torch.inference_mode():
        together = segmenter(batch, feed="prediction", shuffle=[6, 7])
        again = segmenter(batch, feed="prediction", shuffle=[6, 7])
        other = segmenter(
            Clip(
                batch.frames, torch.cat((batch.masks[:1], batch.masks[1:] * False)), batch.present
            ),
            feed="prediction",
            shuffle=[6, 7],
        )
    for one, two, three in zip(together, again, other, strict=True):
        assert torch.equal(one.logits, two.logits)
        torch.testing.assert_close(one.logits[0], three.logits[0])
    assert not torch.allclose(together[-1].logits[1], other[-1].logits[1])


def test_shuffled_identities_are_a_function_of_the_seed(segmenter: Segmenter) -> None:
    batch = clip()
    count = len(batch.frames)
    slots = [
        segmenter(batch, shuffle=range(s, s + count))[0].objects.slot for s in (5, 5, 16, 27, 38)
    ]
    assert torch.equal(slots[0], slots[1])
    assert any(not torch.equal(slots[0], other) for other in slots[2:])
    assert all(len(set(row.tolist())) == row.numel() for s in slots for row in s)


def test_gradients_reach_every_part(segmenter: Segmenter) -> None:
    segmenter.zero_grad()
    sum(p.logits.square().mean() for p in segmenter(clip(), feed="truth")).backward()
    silent = [n for n, p in segmenter.named_parameters() if p.grad is None]
    assert not silent


def test_overlapping_truth_takes_further_groups(segmenter: Segmenter) -> None:
    batch = clip()
    masks = batch.masks.clone()
    masks[:, :, 1] = masks[:, :, 0]
    proposal = segmenter(Clip(batch.frames, masks, batch.present))[0]
    assert not proposal.objects.exclusive
    assert proposal.objects.row.tolist() == [[0, 1], [0, 1]]
    assert proposal.background is not None
    assert proposal.background.shape[1] == 2


def test_prompts_that_need_a_prompt_encoder(segmenter: Segmenter) -> None:
    features = segmenter.encode(image(0))
    state = segmenter.start((64, 96))
    with pytest.raises(InputError, match="takes masks, not box"):
        segmenter.propose(state, features, {1: Box(0, 0, 9, 9)})
    with pytest.raises(InputError, match="takes masks, not points"):
        segmenter.propose(state, features, {1: Points(((1.0, 2.0),), (1,))})
    with pytest.raises(InputError, match="no object has a mask yet"):
        segmenter.propose(state, features)


def test_own_masks_are_remembered_without_gradient(segmenter: Segmenter) -> None:
    """The identities learn from true masks alone (AOT's sequential training)."""
    for feed, expected in (("truth", [True, True]), ("prediction", [True, False])):
        learning: list[bool] = []
        hook = segmenter.mask_encoder.register_forward_hook(
            lambda *_, seen=learning: seen.append(torch.is_grad_enabled())
        )
        segmenter(clip(length=3), feed=feed)
        hook.remove()
        assert learning == expected


@pytest.fixture(scope="module")
def deep() -> Segmenter:
    return layered()


class TestDepth:
    def test_a_model_knows_its_depths(self, deep: Segmenter, segmenter: Segmenter) -> None:
        assert deep.depths == (1, 2, 3)
        assert segmenter.depths == (1,)

    def test_a_depth_needs_a_reader_and_a_decoder_that_have_it(self) -> None:
        fixed = layered()
        for depths, left in ((None, (3,)), ((3,), (3,)), ((1, 3), (1, 3))):
            fixed.decoder.depths = depths
            assert fixed.depths == left

    @torch.inference_mode()
    def test_a_frame_is_read_as_deep_as_the_state_says(self, deep: Segmenter) -> None:
        state = deep.start((64, 96))
        features = deep.encode(image(0))
        state = deep.commit(state, features, deep.propose(state, features, {1: square(0, 0)}))
        features = deep.encode(image(1))
        seen = []
        for depth in (1, 2, 3, None):
            asked = replace(state, depth=depth)
            proposal = deep.propose(asked, features)
            assert proposal.readout is not None
            assert len(proposal.readout.maps) == (depth or 3)
            seen.append(proposal.logits)
            after = deep.commit(asked, features, proposal)
            assert after.depth == depth
            assert after.banks["local"].depth is None
        assert torch.equal(seen[2], seen[3])
        assert not torch.allclose(seen[0], seen[1])
        assert not torch.allclose(seen[1], seen[2])

    @torch.inference_mode()
    @pytest.mark.parametrize("flip", [False, True])
    def test_a_given_frame_is_read_at_full_depth(self, deep: Segmenter, flip: bool) -> None:
        """The first look at those who are tracked through it included, in every view."""
        asked: list[int | None] = []
        read = deep.memory.reader.read

        def listen(*given: Any) -> Any:
            asked.append(given[3].depth)
            return read(*given)

        model = augment(deep, flip=flip)
        state = replace(model.start((64, 96)), depth=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deep.memory.reader, "read", listen)
            for time in range(4):
                features = model.encode(image(time))
                given = {0: {1: square(0, 0)}, 2: {2: square(30, 30)}}.get(time)
                proposal = model.propose(state, features, given)
                state = model.commit(state, features, proposal)
        expected = [None, 1, None, None, 1]
        assert asked == [depth for depth in expected for _ in range(1 + flip)]
        assert state.depth == 1

    def test_a_depth_that_the_model_does_not_have(
        self, deep: Segmenter, segmenter: Segmenter
    ) -> None:
        with pytest.raises(InputError, match="depth 4: this model runs at depth 1 or 2 or 3"):
            deep(clip(), depth=4)
        with pytest.raises(InputError, match="depth 0: this model runs at depth 1: leave"):
            segmenter(clip(), depth=0)
        with torch.inference_mode():
            state = deep.start((64, 96))
            features = deep.encode(image(0))
            state = deep.commit(state, features, deep.propose(state, features, {1: square(0, 0)}))
            with pytest.raises(InputError, match="depth 7"):
                deep.propose(replace(state, depth=7), features)

    @torch.inference_mode()
    def test_a_clip_is_unrolled_at_the_depth_of_a_stream(self, deep: Segmenter) -> None:
        batch = clip(samples=2)
        batch = Clip(batch.frames[:1], batch.masks[:1], batch.present[:1])
        for depth in (1, 2):
            state = replace(deep.start((64, 96)), depth=depth)
            for t, proposal in enumerate(deep(batch, feed="truth", depth=depth)):
                features = deep.encode(batch.frames[:, t])
                given = {o + 1: batch.masks[0, 0, o] for o in range(2)} if t == 0 else None
                streamed = deep.propose(state, features, given)
                torch.testing.assert_close(streamed.logits, proposal.logits, rtol=1e-3, atol=1e-3)
                truth = None if t == 0 else batch.masks[:, t]
                state = deep.commit(state, features, streamed, truth)

    def test_training_speaks_for_every_depth(self) -> None:
        """In the second frame, whose memory is the given one alone, as that depth by itself."""
        deep = layered().train()
        with torch.no_grad():
            proposals = deep(clip(), feed="truth")
            alone = {depth: deep(clip(), feed="truth", depth=depth)[1] for depth in (1, 2)}
        for proposal in proposals:
            assert len(proposal.auxiliary) == 2
            for own in proposal.auxiliary:
                assert own.readout is proposal.readout
                assert own.prompt is proposal.prompt
                assert own.logits.shape == proposal.logits.shape
                assert own.background is not None
        for depth, own in enumerate(proposals[1].auxiliary, 1):
            torch.testing.assert_close(own.logits, alone[depth].logits)
            assert not torch.allclose(own.logits, proposals[1].logits)
            assert not alone[depth].auxiliary
        with torch.no_grad():
            whole = deep(clip(), feed="truth", depth=3)
            assert all(len(proposal.auxiliary) == 2 for proposal in whole)
            assert not any(proposal.auxiliary for proposal in deep.eval()(clip()))
            assert not any(proposal.auxiliary for proposal in tiny().train()(clip()))
