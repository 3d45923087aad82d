from __future__ import annotations

from dataclasses import replace
from typing import Any

import goldens
import pytest
import torch
from torch import Tensor, nn

from vosfm import InputError
from vosfm.checkpoints.sam2 import translate
from vosfm.decoders import Sam2Decoder
from vosfm.decoders.sam2 import ABSENT
from vosfm.decoders.sam2_prompts import PromptEncoder
from vosfm.ops.resizing import to_prepared
from vosfm.types import Box, Decoded, Features, Geometry, Objects, Points, Prompt, Readout

WIDTH = 16
INSIDE = Points(((9.0, 40.0),), (1,))
TWO = Points(((9.0, 40.0), (70.0, 3.0)), (1, 0))


def decoder(**changes: Any) -> Sam2Decoder:
    """A tiny one; what it decodes is surely there."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"embedding": WIDTH, "readouts": (WIDTH,), "width": WIDTH}
    model = Sam2Decoder(**{**sizes, "skips": (2, 7), **changes}).eval()
    expect(model, 5.0)
    return model


def expect(model: Sam2Decoder, presence: float) -> None:
    """Let it say of all objects that they are there, or not."""
    last: Any = model.presence_head[2]
    nn.init.constant_(last.bias, presence)


def frame(batch: int = 1, height: int = 4, width: int = 6) -> Features:
    torch.manual_seed(1)
    size = (16 * height, 16 * width)
    pyramid = {
        4: torch.randn(batch, 2, 4 * height, 4 * width),
        8: torch.randn(batch, 7, 2 * height, 2 * width),
        16: torch.randn(batch, WIDTH, height, width),
    }
    geometry = Geometry(size, size, size)
    return Features(torch.zeros(batch, 3, *size), pyramid, pyramid[16], geometry)


def seen(rows: int, batch: int = 1, *channels: int) -> Readout:
    torch.manual_seed(2)
    return Readout(tuple(torch.randn(batch, rows, c, 4, 6) for c in channels or (WIDTH,)))


def objects(count: int, batch: int = 1) -> Objects:
    numbers = torch.arange(count).expand(batch, -1)
    return Objects(numbers + 1, numbers >= 0, numbers, torch.zeros_like(numbers))


def masks(count: int, batch: int = 1, height: int = 64, width: int = 96) -> Tensor:
    """Half-planes, another one for each object."""
    torch.manual_seed(3)
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    a, b, c = torch.randn(3, batch, count, 1, 1)
    return a * rows + b * columns > 0.3 * c


def run(model: Sam2Decoder, features: Features, readout: Readout) -> Decoded:
    batch, count = readout.maps[0].shape[:2]
    decoded: Decoded = model(features, readout, objects(count, batch))
    return decoded


def prompt(
    model: Sam2Decoder,
    features: Features,
    readout: Readout,
    given: Tensor | None = None,
    drawn: dict[int, Box | Points] | None = None,
    tracked: Decoded | None = None,
    fresh: tuple[int, ...] | None = None,
    rows: Tensor | None = None,
) -> Decoded:
    """Ask with masks of some columns, or of all; columns are fresh unless told otherwise."""
    batch, count = readout.maps[0].shape[:2]
    which = torch.zeros(batch, count, dtype=torch.bool)
    if given is not None:
        which = torch.ones_like(which) if rows is None else rows
    else:
        given = torch.zeros(batch, count, *features.geometry.source, dtype=torch.bool)
    new = torch.zeros(batch, count, dtype=torch.bool)
    new[:, list(range(count)) if fresh is None else list(fresh)] = True
    return model.prompt(
        features, readout, objects(count, batch), Prompt(given, which), drawn or {}, tracked, new
    )


def same(ours: Decoded, theirs: Decoded, columns: list[int], other: list[int]) -> bool:
    """Whether two decodings say the same of some objects."""

    def pairs() -> list[tuple[Tensor, Tensor]]:
        assert ours.scores is not None
        assert theirs.scores is not None
        assert ours.presence is not None
        assert theirs.presence is not None
        return [
            (ours.logits, theirs.logits),
            (ours.scores, theirs.scores),
            (ours.presence, theirs.presence),
            (ours.candidates["pointer"], theirs.candidates["pointer"]),
        ]

    return all(
        torch.allclose(one[:, columns], two[:, other], atol=1e-4, rtol=1e-4) for one, two in pairs()
    )


def load(golden: goldens.Golden) -> Sam2Decoder:
    """The decoder of a golden; the golden has maps as skip connections, so they are passed on."""
    model = Sam2Decoder().eval()
    weights = {k.removeprefix("decoder."): v for k, v in translate(golden.weights()).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) == {"mask_prompt.weight", "mask_prompt.bias"}
    model.skip4 = model.skip8 = nn.Identity()  # type: ignore[assignment]
    return model


@pytest.fixture(scope="module")
def golden() -> goldens.Golden:
    return goldens.load("sam2_mask_decoder", "sam2")


@pytest.fixture
def released(golden: goldens.Golden) -> Sam2Decoder:
    return load(golden)


def view(golden: goldens.Golden, sample: slice) -> Features:
    maps = [golden.inputs[k][sample] for k in ("image_embeddings", "high_res_0", "high_res_1")]
    pyramid = dict(zip((16, 4, 8), maps, strict=True))
    geometry = Geometry((96, 96), (96, 96), (96, 96))
    return Features(torch.zeros(len(maps[0]), 3, 96, 96), pyramid, pyramid[16], geometry)


class TestAsReleased:
    def test_positions(self) -> None:
        golden = goldens.load("sam2_position_encoding", "sam2")
        encoder = PromptEncoder()
        encoder.gaussian = golden.inputs["gauss"]
        height, width = golden.description["config"]["img"]
        xy = golden.inputs["coords"] / torch.tensor((width, height))
        golden.check("random_coords", encoder.positions(xy))
        size = golden.description["config"]["dense"]
        golden.check("random_dense", encoder.grid(size).permute(2, 0, 1))

    @torch.inference_mode()
    def test_prompts(self) -> None:
        golden = goldens.load("sam2_prompt_encoder", "sam2")
        encoder = PromptEncoder()
        prefix, size = "decoder.prompts.", (96, 96)
        encoder.load_state_dict(
            {k.removeprefix(prefix): v for k, v in translate(golden.weights()).items()}
        )
        golden.check("dense_pe", encoder.grid((6, 6)).permute(2, 0, 1)[None])
        golden.check("mask_dense", encoder.embed_masks(golden.inputs["masks"])[:, 0])
        nothing = encoder.without_masks(1, 2)[0].expand(-1, -1, 6, 6)
        golden.check("nomask_dense", nothing)
        points = encoder.embed_points(golden.inputs["points"], golden.inputs["labels"].long(), size)
        filling = encoder.without_points(1, 2)[0, :, :1]
        golden.check("points_sparse", torch.cat((points, filling), 1))
        boxes: list[Box | Points] = [Box(*box) for box in golden.inputs["boxes"].tolist()]
        drawn = encoder.embed_drawn(boxes, Geometry(size, size, size))[0]
        golden.check("boxes_sparse", drawn[:, :2])
        golden.check("points_boxes_sparse", torch.cat((points, drawn[:, :2]), 1))
        assert torch.equal(drawn[:, 2:], filling)

    @pytest.mark.parametrize(
        ("name", "ask", "threshold", "count"),
        [
            ("multi", "three", None, 3),
            ("single", "one", None, 1),
            ("single_dynamic", "one", 0.98, 1),
        ],
    )
    @torch.inference_mode()
    def test_candidates(
        self,
        golden: goldens.Golden,
        released: Sam2Decoder,
        name: str,
        ask: str,
        threshold: float | None,
        count: int,
    ) -> None:
        released.stability_threshold = threshold
        told = {}

        def listen(tokens: Tensor, maps: Tensor) -> Any:
            told["answer"] = getattr(released, ask)(tokens, maps)
            return told["answer"]

        features = view(golden, slice(None))
        sparse, dense = (golden.inputs[key][:, None] for key in ("sparse", "dense"))
        maps = features.embedding[:, None]
        positions = golden.inputs["image_pe"].flatten(2).transpose(1, 2)
        shared = released.look(features)._replace(positions=positions)
        decoded = released.decode(maps, sparse, dense, shared, listen)
        logits, scores, tokens = told["answer"]
        golden.check(f"{name}_masks", logits[:, :count])
        golden.check(f"{name}_ious", scores[:, :count])
        golden.check(f"{name}_tokens", tokens[:, :count])
        assert decoded.presence is not None
        golden.check(f"{name}_object_score", decoded.presence)
        there = decoded.presence > 0
        assert torch.equal(decoded.logits[there], logits[there[:, 0]])
        assert (decoded.logits[~there] == ABSENT).all()

    @torch.inference_mode()
    def test_pointed_out(self, golden: goldens.Golden, released: Sam2Decoder) -> None:
        """One point; of the samples, some are not there."""
        parts = []
        for sample in range(3):
            features = view(golden, slice(sample, sample + 1))
            (xy,) = golden.inputs["points"][sample].tolist()
            drawn = Points(((xy[0], xy[1]),), (int(golden.inputs["labels"][sample, 0]),))
            readout = Readout((features.embedding[:, None],))
            parts.append(prompt(released, features, readout, drawn={0: drawn}))
        logits = torch.cat([part.logits[:, 0] for part in parts])
        scores = torch.cat([part.scores[:, 0] for part in parts if part.scores is not None])
        pointers = torch.cat([part.candidates["pointer"][:, 0] for part in parts])
        golden.check("heads_low_res_multimasks", logits)
        golden.check("heads_ious", scores)
        presence = torch.cat([part.presence for part in parts if part.presence is not None])
        golden.check("heads_object_score", presence)
        best = scores.argmax(1)
        chosen = logits[torch.arange(3), best][:, None]
        golden.check("heads_low_res_masks", chosen)
        large = nn.functional.interpolate(chosen, size=(96, 96), mode="bilinear")
        golden.check("heads_high_res_masks_sp::4", large[..., ::4, ::4])
        golden.check("heads_obj_ptr", pointers[torch.arange(3), best])
        assert {True, False} == set((presence > 0).flatten().tolist())


class TestTracking:
    def test_shapes(self) -> None:
        decoded = run(decoder(), frame(2), seen(3, 2))
        assert decoded.logits.shape == (2, 3, 3, 16, 24)
        assert decoded.scores is not None
        assert decoded.scores.shape == (2, 3, 3)
        assert decoded.presence is not None
        assert decoded.presence.shape == (2, 3)
        assert decoded.candidates["pointer"].shape == (2, 3, 3, WIDTH)
        assert run(decoder(), frame(), seen(0)).logits.shape == (1, 0, 3, 16, 24)

    def test_it_asks_with_two_points_outside_and_without_a_mask(self) -> None:
        """As the released call, which fills up a list of points that had one filled in."""
        model, readout = decoder(), seen(2)
        asked: list[Tensor] = []
        model.transformer.register_forward_pre_hook(lambda module, inputs: asked.extend(inputs))
        run(model, frame(), readout)
        tokens, image, _ = asked
        own = (model.object_token, model.quality_token, model.mask_tokens)
        outside = model.prompts.outside.expand(2, -1)
        assert torch.equal(tokens, torch.cat((*own, outside)).expand(2, -1, -1))
        expected = readout.maps[0][0] + model.prompts.no_mask[:, None, None]
        assert torch.equal(image, expected.flatten(2).transpose(1, 2))

    def test_objects_and_samples_do_not_see_each_other(self) -> None:
        model, features, readout = decoder(), frame(2), seen(3, 2)
        together = run(model, features, readout)
        assert not torch.allclose(together.logits[:, 0], together.logits[:, 1])
        for sample in range(2):
            one = slice(sample, sample + 1)
            alone = replace(
                features,
                pyramid={stride: level[one] for stride, level in features.pyramid.items()},
                embedding=features.embedding[one],
            )
            for column in range(3):
                readout_alone = Readout((readout.maps[0][one, column : column + 1],))
                decoded = run(model, alone, readout_alone)
                assert decoded.scores is not None
                assert together.scores is not None
                torch.testing.assert_close(decoded.logits[0, 0], together.logits[sample, column])
                torch.testing.assert_close(decoded.scores[0, 0], together.scores[sample, column])
                torch.testing.assert_close(
                    decoded.candidates["pointer"][0, 0],
                    together.candidates["pointer"][sample, column],
                )

    @pytest.mark.parametrize("stride", [4, 8])
    def test_a_skip_is_seen_where_it_lies(self, stride: int) -> None:
        model, features, readout = decoder(), frame(), seen(2)
        before = run(model, features, readout).logits
        changed = features.pyramid[stride].clone()
        changed[..., -1, 0] += 5
        pyramid = {**features.pyramid, stride: changed}
        after = run(model, replace(features, pyramid=pyramid), readout).logits
        difference = (before != after).any(2)[0]
        reach = stride // 4
        assert difference[:, -reach:, :reach].all()
        difference[:, -reach:, :reach] = False
        assert not difference.any()

    @pytest.mark.parametrize("chunk", [1, 2, 9])
    def test_in_chunks(self, chunk: int) -> None:
        features, readout, model = frame(2), seen(5, 2), decoder()
        given = masks(5, 2)
        whole = run(model, features, readout), prompt(model, features, readout, given)
        counts: list[int] = []
        model.chunk = chunk
        model.transformer.register_forward_hook(
            lambda module, inputs, outputs: counts.append(len(inputs[0]))
        )
        part = run(model, features, readout), prompt(model, features, readout, given)
        assert max(counts) == 2 * min(chunk, 5)
        columns = list(range(5))
        assert all(same(*pair, columns, columns) for pair in zip(part, whole, strict=True))

    def test_the_absent_have_no_pixel_and_one_pointer(self) -> None:
        model, features, readout = decoder(), frame(), seen(2)
        there = run(model, features, readout).candidates["pointer"]
        expect(model, -50.0)
        decoded = run(model, features, readout)
        assert (decoded.logits == ABSENT).all()
        assert torch.equal(decoded.candidates["pointer"], model.no_pointer.expand_as(there))
        assert not torch.allclose(decoded.candidates["pointer"], there)

    def test_any_other_readout_is_fused_with_the_embedding(self) -> None:
        model, features, readout = decoder(readouts=(5, 3)), frame(), seen(2, 1, 5, 3)
        assert decoder().fuse is None
        assert decoder(readouts=(2 * WIDTH,)).fuse is not None
        assert decoder(embedding=2 * WIDTH).fuse is not None
        assert decoder(fused=True).fuse is not None
        decoded = run(model, features, readout)
        assert decoded.logits.shape == (1, 2, 3, 16, 24)
        for changed in (
            run(model, replace(features, embedding=-features.embedding), readout),
            run(model, features, Readout((readout.maps[0], -readout.maps[1]))),
        ):
            assert not torch.allclose(changed.logits, decoded.logits)
        shared = Readout((readout.maps[0], readout.maps[1][:, :1]))
        spread = Readout((readout.maps[0], readout.maps[1][:, :1].expand(-1, 2, -1, -1, -1)))
        assert torch.equal(run(model, features, shared).logits, run(model, features, spread).logits)
        assert prompt(model, features, readout, masks(2)).logits.shape == (1, 2, 3, 16, 24)


class TestGivenMasks:
    def test_they_stand_as_they_are(self) -> None:
        """At stride 4, as the pixels of the source say; not what the decoder makes of them."""
        mask = torch.zeros(1, 1, 64, 96, dtype=torch.bool)
        mask[..., 16:48, 32:64] = True
        decoded = prompt(decoder(), frame(), seen(1), mask)
        assert decoded.scores is not None
        assert decoded.presence is not None
        assert decoded.scores.tolist() == [[[1.0, -1.0, -1.0]]]
        assert decoded.presence.tolist() == [[10.0]]
        inside = torch.zeros(16, 24, dtype=torch.bool)
        inside[4:12, 8:16] = True
        for candidate in decoded.logits[0, 0]:
            assert torch.equal(candidate > 0, inside)
            assert candidate[8, 12].item() == pytest.approx(10)
            assert candidate[0, 0].item() == pytest.approx(-10)

    def test_the_pointer_is_of_the_embedding_and_the_mask(self) -> None:
        """It is that of the single mask, decoded where the mask is laid over the embedding."""
        model, features, given = decoder(), frame(), masks(2)
        pointers = prompt(model, features, seen(2), given).candidates["pointer"]
        hints = model.mask_prompt(given[0].float().unsqueeze(1)).unsqueeze(0)[:, :, 0]
        maps = features.embedding[:, None].expand(-1, 2, -1, -1, -1)
        points = model.prompts.without_points(1, 2)
        dense = model.prompts.embed_masks(hints)
        expected = model.decode(maps, points, dense, model.look(features), model.one)
        torch.testing.assert_close(pointers, expected.candidates["pointer"])
        other = prompt(model, features, Readout((-seen(2).maps[0],)), given)
        assert torch.equal(other.candidates["pointer"], pointers)
        assert not torch.allclose(pointers[:, 0], pointers[:, 1])

    def test_an_empty_mask_is_of_nobody(self) -> None:
        given = masks(2)
        given[:, 0] = False
        model = decoder()
        decoded = prompt(model, frame(), seen(2), given)
        assert decoded.presence is not None
        assert decoded.presence.tolist() == [[-10.0, 10.0]]
        pointers = decoded.candidates["pointer"][0]
        assert torch.equal(pointers[0], model.no_pointer.expand(3, -1))
        assert not torch.allclose(pointers[1], model.no_pointer)
        torch.testing.assert_close(decoded.logits[0, 0], torch.full((3, 16, 24), -10.0))

    def test_samples_may_be_given_other_objects(self) -> None:
        model, features, readout, given = decoder(), frame(2), seen(3, 2), masks(3, 2)
        rows = torch.tensor([[True, False, True], [True, True, False]])
        some = prompt(model, features, readout, given, rows=rows)
        every = prompt(model, features, readout, given)
        for some_leaf, leaf in (
            (some.logits, every.logits),
            (some.candidates["pointer"], every.candidates["pointer"]),
        ):
            assert torch.equal(some_leaf[rows], leaf[rows])
            assert not some_leaf[~rows].any()

    def test_of_another_size_or_place(self) -> None:
        """A frame twice as large, and one with rows around it, is the same prepared image."""
        model, features, readout = decoder(), frame(), seen(1)
        given = torch.zeros(1, 1, 64, 96, dtype=torch.bool)
        given[..., 16:40, 32:80] = True
        expected = prompt(model, features, readout, given)
        large = given.repeat_interleave(2, 2).repeat_interleave(2, 3)
        geometry = Geometry((128, 192), (64, 96), (64, 96))
        decoded = prompt(model, replace(features, geometry=geometry), readout, large)
        assert same(decoded, expected, [0], [0])
        inner = given[..., 8:56, 16:]
        geometry = Geometry((48, 80), (48, 80), (64, 96), offset=(8, 16))
        decoded = prompt(model, replace(features, geometry=geometry), readout, inner)
        assert same(decoded, expected, [0], [0])


class TestBoxesAndPoints:
    def test_many_at_once_as_one_by_one(self) -> None:
        model, features, readout = decoder(), frame(), seen(4)
        drawn: dict[int, Box | Points] = {0: TWO, 1: INSIDE, 3: Box(8, 4, 60, 50)}
        tracked = run(model, features, readout)
        together = prompt(model, features, readout, drawn=drawn, tracked=tracked, fresh=(1,))
        for column, one in drawn.items():
            alone = Readout((readout.maps[0][:, [column]],))
            before = run(model, features, alone)
            fresh = (0,) if column == 1 else ()
            told = prompt(model, features, alone, drawn={0: one}, tracked=before, fresh=fresh)
            assert same(told, together, [0], [column])
        assert same(together, tracked, [2], [2])
        assert not same(together, tracked, [0], [0])

    def test_one_point_is_answered_with_three_more_with_one(self) -> None:
        decoded = prompt(decoder(), frame(), seen(2), drawn={0: INSIDE, 1: TWO})
        assert decoded.scores is not None
        assert (decoded.scores[0, 0] > 0).all()
        assert decoded.scores[0, 1, 1:].tolist() == [-1.0, -1.0]
        for leaf in (decoded.logits, decoded.candidates["pointer"]):
            assert not torch.allclose(leaf[0, 0, 0], leaf[0, 0, 1])
            assert torch.equal(leaf[0, 1, 0], leaf[0, 1, 1])
        patient = prompt(decoder(multimask_points=2), frame(), seen(1), drawn={0: TWO})
        assert patient.scores is not None
        assert (patient.scores > 0).all()

    def test_on_top_of_what_was_tracked_unless_the_object_is_new(self) -> None:
        model, features, readout = decoder(), frame(), seen(1)
        tracked = run(model, features, readout)
        drawn: dict[int, Box | Points] = {0: TWO}

        def told(logits: Tensor, fresh: tuple[int, ...]) -> Decoded:
            before = replace(tracked, logits=logits)
            return prompt(model, features, readout, drawn=drawn, tracked=before, fresh=fresh)

        sure, surer = (torch.where(tracked.logits > 0, x, -x) for x in (40.0, 400.0))
        assert not same(told(sure, ()), told(-sure, ()), [0], [0])
        assert same(told(sure, ()), told(surer, ()), [0], [0])
        assert same(told(sure, (0,)), told(-sure, (0,)), [0], [0])
        assert same(told(sure, (0,)), prompt(model, features, readout, drawn=drawn), [0], [0])

    def test_only_the_best_of_what_was_tracked_counts(self) -> None:
        model, features, readout = decoder(), frame(), seen(1)
        tracked = run(model, features, readout)
        assert tracked.scores is not None
        best = int(tracked.scores[0, 0].argmax())
        logits = torch.zeros_like(tracked.logits)
        logits[:, :, best] = tracked.logits[:, :, best]
        before = [tracked, replace(tracked, logits=logits)]
        told = [
            prompt(model, features, readout, drawn={0: TWO}, tracked=b, fresh=()) for b in before
        ]
        assert same(told[0], told[1], [0], [0])

    def test_in_pixels_of_the_source(self) -> None:
        geometry = Geometry((50, 100), (100, 150), (112, 160), offset=(6, 5))
        xy = torch.tensor([[0.0, 0.0], [100.0, 50.0], [10.0, 20.0]])
        assert to_prepared(xy, geometry).tolist() == [[5, 6], [155, 106], [20, 46]]
        model, features, readout = decoder(), frame(), seen(1)
        small = Points(((10.0, 20.0), (40.0, 7.0)), (1, 0))
        large = Points(((20.0, 40.0), (80.0, 14.0)), (1, 0))
        twice = replace(features, geometry=Geometry((128, 192), (64, 96), (64, 96)))
        expected = prompt(model, features, readout, drawn={0: small})
        assert same(prompt(model, twice, readout, drawn={0: large}), expected, [0], [0])
        assert not same(prompt(model, features, readout, drawn={0: large}), expected, [0], [0])

    def test_labels_and_places_are_heard(self) -> None:
        model, features, readout = decoder(), frame(), seen(1)
        asked: list[Box | Points] = [
            TWO,
            Points(TWO.xy, (0, 1)),
            Box(*TWO.xy[0], *TWO.xy[1]),
            Points(((9.0, 44.0), TWO.xy[1]), TWO.labels),
        ]
        told = [prompt(model, features, readout, drawn={0: one}).logits for one in asked]
        for index, one in enumerate(told):
            assert not any(torch.allclose(one, other) for other in told[index + 1 :])

    def test_a_mask_and_a_box_together(self) -> None:
        model, features, readout, given = decoder(), frame(), seen(3), masks(3)
        rows = torch.tensor([[False, True, False]])
        drawn: dict[int, Box | Points] = {0: INSIDE}
        both = prompt(model, features, readout, given, drawn, rows=rows)
        assert same(both, prompt(model, features, readout, drawn=drawn), [0, 2], [0, 2])
        assert same(both, prompt(model, features, readout, given), [1], [1])

    def test_an_unstable_mask_gives_way_but_not_in_training(self) -> None:
        features, readout = frame(), seen(1)
        model = decoder(stability_delta=1e6)
        drawn: dict[int, Box | Points] = {0: TWO}
        unstable = prompt(model, features, readout, drawn=drawn)
        three = prompt(decoder(multimask_points=9), features, readout, drawn=drawn)
        assert three.scores is not None
        assert unstable.scores is not None
        assert unstable.scores[0, 0, 0] == three.scores.max()
        best = three.scores[0, 0].argmax()
        torch.testing.assert_close(unstable.logits[0, 0, 0], three.logits[0, 0, best])
        kept = prompt(decoder(stability_threshold=None), features, readout, drawn=drawn)
        assert not torch.allclose(kept.logits, unstable.logits)
        torch.testing.assert_close(kept.candidates, unstable.candidates)
        training = prompt(model.train(), features, readout, drawn=drawn)
        assert same(training, kept, [0], [0])


def test_all_that_trains_is_used() -> None:
    """Processes that train together wait for the gradient of every weight."""
    model, features = decoder().train(), frame(2)
    features.embedding.requires_grad_()
    given = prompt(model, features, seen(2, 2), masks(2, 2)).candidates["pointer"]
    (seen_by_pointers,) = torch.autograd.grad(given.square().sum(), features.embedding)
    assert seen_by_pointers.flatten(1).any(1).all()
    given = prompt(model, features, seen(2, 2), masks(2, 2)).candidates["pointer"]
    decoded = run(model, features, Readout((seen(2, 2).maps[0] + given.mean(),)))
    assert decoded.scores is not None
    assert decoded.presence is not None
    told = (decoded.logits, decoded.scores, decoded.presence, decoded.candidates["pointer"])
    sum(leaf.square().mean() for leaf in told).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not model.prompts.points.requires_grad
    assert model.mask_prompt.weight.grad is not None
    assert model.mask_prompt.weight.grad.any()


class TestErrors:
    def test_no_levels_to_skip_from(self) -> None:
        features = frame()
        bare = replace(features, pyramid={16: features.embedding})
        with pytest.raises(InputError, match=r"the encoder has strides \[16\]"):
            run(decoder(), bare, seen(1))
        geometry = replace(features.geometry, align_corners=True)
        with pytest.raises(InputError, match="align_corners=True: give the decoder skips=None"):
            run(decoder(), replace(features, geometry=geometry), seen(1))
        assert run(decoder(skips=None), bare, seen(1)).logits.shape == (1, 1, 3, 16, 24)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"width": 40}, "width is 40: give a multiple of 16"),
            ({"fused": False, "readouts": (5, 3)}, r"the readout \(5, 3\) channels: give both"),
            ({"chunk": 0}, "chunk is 0: give at least 1"),
            ({"stability_delta": -1.0}, "stability_delta is -1.0: give at least 0"),
            ({"stability_threshold": 98.0}, "stability_threshold is 98.0: give a share"),
        ],
    )
    def test_arguments(self, change: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            decoder(**change)
