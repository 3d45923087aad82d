"""Models that are told the truth: what of it they take, and that they take nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from models import CONFIG, square, tiny, video
from numpy.typing import NDArray
from streams import same
from torch import Tensor

import vosfm
from vosfm import InputError, Result, Segmenter, Tracker, inform, zoo
from vosfm.augmentation import Augmented
from vosfm.checkpoints.loading import load
from vosfm.cli import main
from vosfm.data import ProceduralVideos
from vosfm.data.memory import ArrayVideo
from vosfm.data.video import Annotation
from vosfm.metrics import VideoSegmentation
from vosfm.ops.aggregation import aggregate, compete
from vosfm.ops.masks import harden
from vosfm.oracle import Informed, Oracle, Told, truth_of
from vosfm.proposals import SURE
from vosfm.search import MemoryTree, Search
from vosfm.task import SegmentationTask, score
from vosfm.tracker import Prompts
from vosfm.types import Geometry, Objects, State

Masks = NDArray[np.bool_]
SIZE = (60, 90)  # no model takes it as it is: it is resized or padded
VIT = {"image_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1]}
HIERA = {"image_size": [64, 96], "embed_dim": 16, "stages": [1, 1, 2, 1], "global_blocks": [3]}
LENGTH = 6
UNTOLD = 4
SEARCHES: dict[str, Callable[[], Search | None]] = {
    "greedy": lambda: None,
    "tree": lambda: MemoryTree(uncertainty_threshold=1e6),
    "tree of qualities": lambda: MemoryTree(
        uncertainty_threshold=1e6, modulation=None, certainty="quality"
    ),
}
FAMILIES = ("aot", "stcn", "mmpm", "sam2")
CASES = [*((name, "greedy") for name in FAMILIES), ("sam2", "tree"), ("mmpm", "tree of qualities")]
SHARING = [
    *((*case, place % 2 == 0) for place, case in enumerate(CASES)),
    ("aot", "greedy", False),
]
"""Family, search, and whether objects exclude each other."""


@cache
def model(name: str) -> Segmenter:
    """A small model of a family; of random weights, it finds objects in many places."""
    if name == "aot":
        return tiny()
    torch.manual_seed(3)
    if name == "deep aot":
        changes = {"memory": {"reader": {"layers": 2}}, "decoder": {"readouts": [16, 16]}}
        segmenter = vosfm.build(str(CONFIG), mask_encoder={"gain": 30.0}, **changes).eval()
        for block in segmenter.memory.reader.blocks:
            for part in (block.to_value, block.long_term.project, block.short_term.project):
                torch.nn.init.normal_(part.weight)
        return segmenter
    if name == "stcn":
        return zoo.build("stcn_tiny").eval()
    if name == "mmpm":
        return zoo.build("mmpm_long", encoder=VIT, mask_encoder=VIT).eval()
    segmenter = zoo.build("sam2_1_tiny", encoder=HIERA).eval()
    # Whoever is there is seen now and then.
    torch.nn.init.normal_(segmenter.decoder.presence_head[-1].weight, std=1.0)
    return segmenter


def box(top: int, left: int, height: int, width: int) -> Masks:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def truths() -> dict[int, Annotation]:
    """Two objects move apart; one is hidden in frames 2 and 3; nothing is known of frame UNTOLD."""
    told = {}
    for time in range(LENGTH):
        one, other = box(3 + time, 5, 22, 31), box(30, 50 + time, 17, 20)
        one[3 + time : 10 + time, 5:12] = False  # its box is more than its mask
        if time in (2, 3):
            other = np.zeros(SIZE, bool)
        told[time] = Annotation((1, 2), np.stack((one, other)), box(20, 0, 9, 40))
    del told[UNTOLD]
    return told


def everywhere(time: int) -> Annotation:
    """Masks that are not whole, of boxes that are."""
    corners = np.zeros(SIZE, bool)
    corners[[0, -1], [0, -1]] = True
    return Annotation(tuple(range(1, 9)), np.stack([corners] * 8))


GIVEN: Prompts = {0: dict(zip((1, 2), truths()[0].masks, strict=True))}
# An object joins, another is given again, both while others are tracked.
JOINING: Prompts = {
    **GIVEN,
    2: {5: square(34, 60, size=SIZE)},
    3: {1: square(10, 10, 30, SIZE), 5: square(34, 60, size=SIZE)},
}


def run(
    segmenter: Segmenter,
    search: str = "greedy",
    exclusive: bool = True,
    prompts: Prompts = GIVEN,
) -> tuple[list[Result], State]:
    tracker = Tracker(segmenter, SEARCHES[search](), exclusive)
    results = list(tracker.track(video(LENGTH, SIZE), prompts))
    assert tracker.state is not None
    return results, tracker.state


def assert_equal(ours: list[Result], theirs: list[Result]) -> None:
    assert [result.frame for result in ours] == [result.frame for result in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.object_ids == other.object_ids
        assert np.array_equal(one.masks, other.masks)
        assert np.array_equal(one.scores, other.scores)


def hull(mask: Masks) -> Masks:
    """The box of a mask, pixel by pixel."""
    return np.logical_and.outer(
        np.logical_or.accumulate(mask.any(1)) & np.logical_or.accumulate(mask.any(1)[::-1])[::-1],
        np.logical_or.accumulate(mask.any(0)) & np.logical_or.accumulate(mask.any(0)[::-1])[::-1],
    )


def outside(results: list[Result], told: Mapping[int, Annotation]) -> int:
    """How many pixels of tracked objects lie outside of their true boxes."""
    return sum(
        int((mask & ~hull(truth)).sum())
        for result in results[1:]
        if result.frame in told
        for mask, truth in zip(result.masks, told[result.frame].masks, strict=True)
    )


class TestBox:
    @pytest.mark.parametrize(("name", "search", "exclusive"), SHARING)
    def test_nothing_is_seen_outside(self, name: str, search: str, exclusive: bool) -> None:
        told = truths()
        plain, _ = run(model(name), search, exclusive)
        assert outside(plain, told) > 100, "or nothing is restricted"
        ours, _ = run(inform(model(name), told.get, "box"), search, exclusive)
        assert outside(ours, told) == 0
        assert any(result.masks[0].any() for result in ours[1:])
        for time in (2, 3):  # absent
            assert not ours[time].masks[1].any()
            assert ours[time].scores[1] == 0

    @pytest.mark.parametrize(("name", "search", "exclusive"), SHARING)
    def test_boxes_of_the_whole_frame_change_nothing(
        self, name: str, search: str, exclusive: bool
    ) -> None:
        plain, state = run(model(name), search, exclusive, JOINING)
        informed = inform(model(name), everywhere, "box")
        ours, informed_state = run(informed, search, exclusive, JOINING)
        assert_equal(ours, plain)
        assert same(dict(state.banks), dict(informed_state.banks))


def test_absent_objects_are_remembered_as_absent() -> None:
    for segmenter, expected in ((model("sam2"), False), (boxed("sam2"), True)):
        _, state = run(segmenter, exclusive=False)
        held = state.banks["pointers"]
        hidden = [held.time[0, 1].tolist().index(time) for time in (2, 3)]
        nobody = segmenter.decoder.no_pointer.expand(2, -1)
        assert torch.equal(held.rows["pointer"][0, 1, hidden], nobody) == expected
        absent = held.rows["presence"][0, 1, hidden].tolist() == [-SURE, -SURE]
        assert absent == expected
        assert not torch.equal(held.rows["pointer"][0, 0, hidden], nobody)


def boxed(name: str) -> Segmenter:
    return inform(model(name), truths().get, "box")


def stacked(annotation: Annotation, objects: Objects) -> Tensor:
    """True masks (1, O, H, W) of the objects, empty where they are absent."""
    known = dict(zip(annotation.object_ids, annotation.masks, strict=True))
    nothing = np.zeros(SIZE, bool)
    masks = [known.get(object_id, nothing) for object_id in objects.ids[0].tolist()]
    return torch.from_numpy(np.stack(masks))[None]


def by_hand(segmenter: Segmenter, told: Told, exclusive: bool) -> State:
    """The end of a stream whose user commits the truth where it is known."""
    state = segmenter.start(SIZE, exclusive=exclusive)
    for time, frame in enumerate(video(LENGTH, SIZE)):
        features = segmenter.encode(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255)
        proposal = segmenter.propose(state, features, GIVEN.get(time))
        annotation = told(time)
        if time == 0:
            state = segmenter.commit(state, features, proposal)
        elif annotation is None:
            soft = segmenter.mask_encoder.soft
            own = None if soft else harden(segmenter.aggregate(proposal), proposal.objects)
            state = segmenter.commit(state, features, proposal, own)
        else:
            masks = stacked(annotation, proposal.objects)
            there = masks.flatten(2).any(2)
            if proposal.scores is not None:
                proposal = replace(proposal, scores=torch.ones_like(proposal.scores))
            if proposal.presence is not None:
                proposal = replace(proposal, presence=torch.where(there, SURE, -SURE))
            if segmenter.understands:
                said = segmenter.decoder._believe(features, masks)
                proposal = replace(proposal, candidates=said.candidates)
            assert annotation.void is not None
            void = torch.from_numpy(annotation.void)[None]
            state = segmenter.commit(state, features, proposal, masks, void)
    return state


def other_masks(segmenter: Segmenter) -> Segmenter:
    """The model, except that it draws other masks."""
    other = deepcopy(segmenter)
    part = {"FPN": "exit", "Upsampling": "predict", "Sam2Decoder": "hyper"}
    for weight in getattr(other.decoder, part[type(other.decoder).__name__]).parameters():
        weight.data = 0.1 - weight.data
    return other


class TestMask:
    @torch.inference_mode()
    @pytest.mark.parametrize(
        ("name", "exclusive"), [("aot", True), ("stcn", False), ("mmpm", True), ("sam2", False)]
    )
    def test_remembers_what_a_user_would_commit(self, name: str, exclusive: bool) -> None:
        told = truths().get
        expected = by_hand(model(name), told, exclusive)
        results, state = run(inform(model(name), told, "mask"), exclusive=exclusive)
        assert same(dict(state.banks), dict(expected.banks))
        plain, other = run(model(name), exclusive=exclusive)
        assert not same(dict(state.banks), dict(other.banks))
        assert np.array_equal(results[1].masks, plain[1].masks), "of the frame, its own are told"

    @pytest.mark.parametrize(
        ("name", "exclusive"),
        # Which group of an AOT's an object that may overlap joins depends on what is seen.
        [("deep aot", True), ("stcn", True), ("stcn", False), ("sam2", True)],
    )
    def test_no_prediction_is_remembered(self, name: str, exclusive: bool) -> None:
        """Not of objects that are tracked while others are given, either."""
        told = truths() | {UNTOLD: Annotation((2,), truths()[0].masks[1:])}
        one, other = (truths()[time].masks for time in (0, 1))
        prompts: Prompts = {0: {1: one[0]}, 1: {2: other[1]}, 5: {1: truths()[5].masks[0]}}
        banks = []
        for segmenter in (model(name), other_masks(model(name))):
            _, state = run(inform(segmenter, told.get, "mask"), "greedy", exclusive, prompts)
            _, own = run(segmenter, "greedy", exclusive, prompts)
            banks.append((dict(state.banks), dict(own.banks)))
        (ours, plain), (others, apart) = banks
        assert same(ours, others)
        assert not same(plain, apart), "or the masks are the same anyway"

    def test_given_masks_stand(self) -> None:
        """SAM 2 remembers a given mask as the decoder draws it; another truth displaces it."""
        other = box(20, 20, 20, 20)
        for given, equal in ((truths()[0].masks, True), ((other, other), False)):
            prompts: Prompts = {0: dict(zip((1, 2), given, strict=True))}
            kept = [
                run(segmenter, "greedy", False, prompts)[1].banks["prompted"].rows["value"]
                for segmenter in (model("sam2"), inform(model("sam2"), truths().get, "mask"))
            ]
            assert torch.equal(*kept) == equal

    def test_a_mask_stands_beside_the_truth_of_others(self) -> None:
        prompts: Prompts = {0: {1: truths()[0].masks[0]}, 1: {2: truths()[1].masks[1]}}
        told = {time: replace(one, void=None) for time, one in truths().items()}
        kept = []
        for segmenter in (model("sam2"), inform(model("sam2"), told.get, "mask")):
            _, state = run(segmenter, "greedy", False, prompts)
            held = state.banks["prompted"]
            kept.append(held.rows["value"][0, 1, held.time[0, 1].tolist().index(1)])
        assert torch.equal(*kept)

    def test_pathways_remember_the_same(self) -> None:
        told = truths() | {UNTOLD: truths()[0]}
        banks = {}
        for segmenter in (model("sam2"), inform(model("sam2"), told.get, "mask")):
            _, state = run(segmenter, "tree", exclusive=False)
            ids = state.objects.ids[0]
            assert len(ids) > 2, "or nothing has parted"
            recent, pointers = (state.banks[name] for name in ("recent", "pointers"))
            alike = [
                torch.equal(leaf[0, a], leaf[0, b])
                for leaf in (*recent.rows.values(), *pointers.rows.values())
                for a in range(len(ids))
                for b in range(a)
                if ids[a] == ids[b]
            ]
            banks[type(segmenter)] = all(alike)
            if segmenter is not model("sam2"):
                assert recent.valid is not None
                hidden = [
                    set(recent.time[0, column][recent.valid[0, column]].tolist())
                    for column in range(len(ids))
                    if ids[column] == 2
                ]
                assert hidden == [{1, 4, 5}] * len(hidden), "a tree trusts what is there"
        assert banks == {Segmenter: False, Informed: True}


class TestBoth:
    @pytest.mark.parametrize(("name", "search"), CASES)
    def test_is_box_and_mask(self, name: str, search: str) -> None:
        """Objects that exclude nobody are seen as with true masks, cut to their boxes."""
        told = {time: truths()[time % 2] for time in range(LENGTH)}
        if name == "aot":  # objects of a group are given the pixels that others are kept from
            told = {time: Annotation((1,), one.masks[:1]) for time, one in told.items()}
        prompts: Prompts = {0: dict(zip(told[0].object_ids, told[0].masks, strict=True))}
        oracles: tuple[Oracle, ...] = ("mask", "both")
        (masks, one), (both, other) = (
            run(inform(model(name), told.get, oracle), search, False, prompts) for oracle in oracles
        )
        for free, cut in zip(masks[1:], both[1:], strict=True):
            boxes = np.stack([hull(mask) for mask in told[free.frame].masks])
            assert np.array_equal(free.masks & boxes, cut.masks)
        assert outside(masks, told) > 0
        if search == "greedy":
            assert same(dict(one.banks), dict(other.banks))


class TestCompetition:
    """By hand: of two objects at one pixel, the first is not allowed there."""

    OBJECTS = Objects(*(torch.tensor([row]) for row in ([1, 2], [True, True], [0, 1], [0, 0])))
    GEOMETRY = Geometry((1, 2), (1, 2), (1, 2))
    LOGITS = torch.tensor([[[[3.0, 3.0]], [[1.0, 1.0]]]])
    WITHIN = torch.tensor([[[[False, True]], [[True, True]]]])

    def test_the_background_takes_what_is_left(self) -> None:
        background = torch.zeros(1, 1, 1, 2)
        odds = np.exp(1)
        # In one group: e / (e + 1). In two: p = e / (e + 1) has the odds e, the background 1 / e.
        for identities, expected in ((2, odds / (odds + 1)), (1, odds / (odds + 1 / odds))):
            objects = replace(self.OBJECTS, identities=identities)
            groups = background.expand(1, objects.rows, 1, 2)
            free = aggregate(self.LOGITS, groups, objects, self.GEOMETRY, (1, 2))
            held = aggregate(self.LOGITS, groups, objects, self.GEOMETRY, (1, 2), self.WITHIN)
            assert held[0, 0, 0, 0] == 0
            assert float(held[0, 1, 0, 0]) == pytest.approx(expected, abs=1e-4)
            assert torch.equal(held[..., 1], free[..., 1])
            assert free[0, 1, 0, 0] < 0.15

    def test_without_a_background(self) -> None:
        held = aggregate(self.LOGITS, None, self.OBJECTS, self.GEOMETRY, (1, 2), self.WITHIN)
        p = 1 / (1 + np.exp(-1))
        odds, rest = p / (1 - p), (1 - p) / p
        assert held[0, :, 0, 0].tolist() == pytest.approx([0, odds / (odds + rest)], abs=1e-5)
        alone = replace(self.OBJECTS, exclusive=False)
        for objects, behind in ((self.OBJECTS, 0.0), (alone, p)):
            seen = compete(self.LOGITS, objects, self.GEOMETRY, (1, 2), self.WITHIN)
            assert seen[0, :, 0, 0].tolist() == pytest.approx([0, p])
            assert seen[0, 1, 0, 1] == pytest.approx(behind)


class TestViews:
    """Informed, then augmented."""

    def test_nothing_is_seen_outside(self) -> None:
        told = truths()
        informed = inform(model("aot"), told.get, "both")
        results, _ = run(Augmented(informed, (1.0, 0.8), flip=True))
        assert outside(results, told) == 0
        assert any(result.masks[0].any() for result in results[1:])
        with torch.inference_mode():
            augmented = Augmented(informed, (1.0, 0.8), flip=True)
            state = augmented.start(SIZE)
            for time, frame in enumerate(video(2, SIZE)):
                image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
                features = augmented.encode(image)
                proposal = augmented.propose(state, features, GIVEN.get(time))
                state = augmented.commit(state, features, proposal)
            seen = augmented.aggregate(proposal)[0].numpy()
            boxes = np.stack([hull(mask) for mask in told[1].masks])
            assert (seen[~boxes] == 0).all()
            assert (seen[boxes] > 0).all()
        plain, _ = run(Augmented(model("aot"), (1.0, 0.8), flip=True), prompts=JOINING)
        whole = inform(model("aot"), everywhere, "box")
        assert_equal(run(Augmented(whole, (1.0, 0.8), flip=True), prompts=JOINING)[0], plain)

    @pytest.mark.parametrize("oracle", ["box", "mask"])
    def test_a_mirrored_video_is_seen_mirrored(self, oracle: Oracle) -> None:
        told = truths()
        turned = {
            time: Annotation(one.object_ids, one.masks[..., ::-1], one.void[..., ::-1])  # type: ignore[index]
            for time, one in told.items()
        }
        frames = video(LENGTH, SIZE)
        mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
        masks = truths()[0].masks[..., ::-1]
        banks = []
        for truth, seen, first in (
            (told, frames, GIVEN),
            (turned, mirrored, {0: {1: masks[0].copy(), 2: masks[1].copy()}}),
        ):
            tracker = Tracker(Augmented(inform(model("aot"), truth.get, oracle), flip=True))
            results = list(tracker.track(seen, first))
            assert tracker.state is not None
            banks.append((tracker.state.banks, results))
        (ours, straight), (theirs, turned_back) = banks
        for one, other in zip(straight, turned_back, strict=True):
            assert np.array_equal(one.masks, other.masks[..., ::-1])
        for name in ("reference", "local"):
            for leaf, value in ours[f"1-flip/{name}"].rows.items():
                assert torch.equal(value, theirs[f"1/{name}"].rows[leaf])

    def test_no_prediction_is_remembered(self) -> None:
        told = truths() | {UNTOLD: truths()[0]}
        prompts: Prompts = {0: {1: told[0].masks[0]}, 1: {2: told[1].masks[1]}}
        banks = [
            dict(run(Augmented(inform(one, told.get, "mask"), flip=True), prompts=prompts)[1].banks)
            for one in (model("aot"), other_masks(model("aot")))
        ]
        assert same(*banks)


class TestRefusals:
    def test_models(self) -> None:
        told = truths().get
        with pytest.raises(InputError, match="augmented already: inform it first"):
            inform(Augmented(model("aot"), flip=True), told, "box")
        with pytest.raises(InputError, match="informed already"):
            inform(inform(model("aot"), told, "box"), told, "mask")
        with pytest.raises(InputError, match="cannot fuse Informed"):
            vosfm.fuse(inform(model("aot"), told, "box"))
        with pytest.raises(InputError, match=r"oracle is 'boxes': give one of \('box', 'mask'"):
            inform(model("aot"), told, "boxes")  # type: ignore[arg-type]

    def test_masks_of_another_size(self) -> None:
        told = {1: Annotation((1,), np.ones((1, 30, 45), bool))}.get
        with pytest.raises(InputError, match=r"frame 1: true masks of shape \(30, 45\)"):
            run(inform(model("stcn"), told, "mask"))

    def test_a_video_without_truth(self) -> None:
        class Test(ArrayVideo):
            def annotation(self, index: int) -> Annotation | None:
                return None if index else super().annotation(index)

            def annotated(self) -> tuple[int, ...]:
                return (0,)

        frames, masks = np.stack(video(3, SIZE)), np.stack([truths()[0].masks] * 3)
        hidden = Test(frames, masks, "libby")
        task = SegmentationTask(model("aot"), oracle="both")
        with pytest.raises(InputError, match=r"libby: no frame has true masks but .*\(00000\)"):
            task.tracker(hidden)
        assert truth_of(ArrayVideo(frames, masks))(1) is not None
        assert SegmentationTask(model("aot")).tracker(hidden) is not None

    def test_frames_that_waited(self, tmp_path: Path) -> None:
        informed = inform(model("sam2"), truths().get, "box")
        tracker = Tracker(informed, SEARCHES["tree"](), exclusive=False)
        frames = video(LENGTH, SIZE)
        for time in range(3):
            tracker.step(frames[time], GIVEN.get(time))
        assert tracker.reported < tracker.time
        tracker.save(tmp_path / "stream")
        again = Tracker(informed, SEARCHES["tree"](), exclusive=False)
        again.resume(tmp_path / "stream")
        with pytest.raises(InputError, match="saved while frames waited"):
            list(again.track(frames[3:]))


def test_a_frame_is_asked_for_once() -> None:
    asked: list[int] = []

    def told(time: int) -> Annotation | None:
        asked.append(time)
        return truths().get(time)

    for name in ("aot", "sam2"):
        asked.clear()
        run(inform(model(name), told, "both"))
        assert asked == list(range(LENGTH))


def test_training_is_that_of_the_model() -> None:
    clip = vosfm.Clip(
        torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 2, 64, 64) > 0.5, torch.ones(1, 2).bool()
    )
    informed = inform(model("aot"), everywhere, "both")
    ours, theirs = informed(clip), model("aot")(clip)
    assert torch.equal(ours[1].logits, theirs[1].logits)


class TestCommands:
    @pytest.fixture
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def scores(self, segmenter: Segmenter, oracle: Oracle | None) -> float:
        """What the command must print, video by video in a loop of our own."""
        metric = VideoSegmentation("davis2017")
        for clip in ProceduralVideos([0, 1], length=4, size=(64, 64), objects=2):
            told = vosfm.fuse(segmenter)
            if oracle is not None:
                told = inform(told, clip.annotation, oracle)
            score(metric, clip, Tracker(told).track(clip.frames(), clip.prompts()))
        return float(metric.compute()["J&F"])

    @pytest.mark.slow
    def test_test(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fit = ["fit", f"--config={CONFIG}", "--trainer.logger=false"]
        assert main([*fit, f"--trainer.default_root_dir={here}"]) == 0
        (checkpoint,) = here.rglob("*.ckpt")
        segmenter = vosfm.build(str(CONFIG))
        load(segmenter, checkpoint)
        found: dict[Oracle | None, float] = {}
        runs: tuple[tuple[str, Oracle | None], ...]
        runs = (("test", None), ("test", "both"), ("validate", "box"))
        for command, oracle in runs:
            capsys.readouterr()
            options = [] if oracle is None else ["--oracle", oracle]
            options += [f"--ckpt_path={checkpoint}", "--trainer.logger=false"]
            assert main([command, f"--config={CONFIG}", *options]) == 0
            printed = re.search(r"/J&F\W+([\d.]+)", capsys.readouterr().out)
            assert printed is not None
            found[oracle] = float(printed[1])
            assert found[oracle] == pytest.approx(self.scores(segmenter, oracle), abs=1e-4)
        assert found["box"] != found[None]

    def test_bad_input(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["test", f"--config={CONFIG}", "--oracle", "boxes"]) == 2
        assert "oracle" in capsys.readouterr().err
        assert main(["fit", f"--config={CONFIG}", "--oracle", "box"]) == 2
