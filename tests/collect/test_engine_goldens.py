"""The released data engine's numbers, through the functions that the engine is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from goldens import Golden, load
from numpy.typing import NDArray

from vosfm.collect.following import follow
from vosfm.collect.matching import Offer, cascade, ious, suppress
from vosfm.collect.prompting import Candidates, PromptedSegmenter, Proposer
from vosfm.collect.settings import PRESETS
from vosfm.collect.warping import cycle_error, trusted
from vosfm.data.video import Image, Mask
from vosfm.flow import Flow, pull

ROUNDS = (0.9, 0.8, 0.7, 0.6, 0.5)


def flow_of(golden: Golden, name: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(golden.inputs[name].numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("motion", ["zero", "shift", "smooth"])
def test_warp(motion: str) -> None:
    golden = load("data_engine_warp", "mmpm")
    masks = golden.inputs["masks"].numpy() > 0
    warped = pull(masks, flow_of(golden, f"flow_{motion}"))
    golden.check(f"warped_{motion}", torch.from_numpy(warped))


@pytest.mark.parametrize("case", ["flow", "flow2"])
def test_cycle(case: str) -> None:
    golden = load("data_engine_cycle", "mmpm")
    there, back = flow_of(golden, case), flow_of(golden, f"{case}_inv")
    golden.check(f"error_{case}", torch.from_numpy(cycle_error(there, back)))
    ok = trusted(there, back, golden.params["threshold"])
    golden.check(f"ok_{case}", torch.from_numpy(ok))


def test_ious() -> None:
    golden = load("data_engine_ious", "mmpm")
    table = ious(golden.inputs["m1"].numpy() > 0, golden.inputs["m2"].numpy() > 0)
    golden.check("ious", torch.from_numpy(table))


@pytest.mark.parametrize("case", ["chain", "chain_reversed", "chain_bac", "random"])
def test_nms(case: str) -> None:
    golden = load("data_engine_nms", "mmpm")
    masks = golden.inputs[case].numpy() > 0
    golden.check(f"ious_{case}", torch.from_numpy(ious(masks, masks)))
    kept = suppress(masks, golden.params["iou_threshold"])
    golden.check(f"kept_{case}", torch.from_numpy(kept))


def test_cascade() -> None:
    """All scenarios at once, as tracks; the mask of a candidate says which it is."""
    golden = load("data_engine_cascade", "mmpm")
    similar, stability = (golden.inputs[n].numpy() for n in ("iou", "stability"))

    def ask(number: int, pending: Sequence[int]) -> Iterator[Offer]:
        for draw in range(similar.shape[2]):
            masks = draw * 3 + np.arange(3).reshape(3, 1, 1)
            for track in pending:
                own = similar[track, number, draw], stability[track, number, draw]
                yield Offer(track, np.zeros((1, 2), np.float32), masks, *own)

    matches = cascade(range(len(similar)), ask, ROUNDS, golden.params["stability_min"])
    found = [matches.get(track) for track in range(len(similar))]
    golden.check("lost", torch.tensor([m is None for m in found]))
    golden.check("iou", torch.tensor([m.iou if m else 0.0 for m in found]))
    golden.check("chosen", torch.tensor([int(m.mask[0, 0]) if m else -1 for m in found]))
    last = len(ROUNDS) - 1
    golden.check("final_round", torch.tensor([m.round if m else last for m in found]))


class Still(Flow):
    """Nothing moves."""

    def __call__(self, source: Image, target: Image) -> NDArray[np.float32]:
        return np.zeros((*source.shape[:2], 2), np.float32)


class Scripted(Proposer, PromptedSegmenter):
    """One track, of 1000 pixels, and candidates that overlap it as a scenario of the golden says.

    A candidate of an IoU is that share of the track's pixels.
    """

    def __init__(self, similar: NDArray[np.float32], stability: NDArray[np.float32]) -> None:
        self._similar, self._stability = similar, stability
        self.answered = 0

    def propose(self, image: Image) -> Mask:
        mask = np.zeros((1, *image.shape[:2]), bool)
        mask[0, :20] = True
        return mask

    def look(self, image: Image, frame: int) -> None:
        pass

    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        masks = np.zeros((len(points), 3, 30, 50), bool)
        stability = np.zeros((len(points), 3), np.float32)
        for query in range(len(points)):
            number, draw = divmod(self.answered, 2)
            for k in range(3):
                share = round(float(self._similar[number, draw, k]) * 1000)
                masks[query, k].ravel()[:share] = True
            stability[query] = self._stability[number, draw]
            self.answered += 1
        return Candidates(masks, stability, stability)


@pytest.mark.parametrize("chunk", [1, 64])
def test_cascade_of_a_clip(chunk: int) -> None:
    golden = load("data_engine_cascade", "mmpm")
    settings = {**PRESETS["official"].to_json(), "draws": 2, "nms_iou": None, "chunk": chunk}
    official = PRESETS["official"].from_json(settings)
    frames = [np.zeros((30, 50, 3), np.uint8)] * 2
    for scenario in range(len(golden.outputs["iou"])):
        similar, stability = (golden.inputs[n][scenario].numpy() for n in ("iou", "stability"))
        script = Scripted(similar, stability)
        _, tracks = follow(frames, script, script, Still(), official, seed=scenario)
        lost = bool(golden.outputs["lost"][scenario])
        assert len(tracks) == (not lost)
        rounds = int(golden.outputs["final_round"][scenario]) + 1
        assert script.answered == 2 * rounds
        if tracks:
            expected = float(golden.outputs["iou"][scenario])
            assert tracks[0].iou == pytest.approx(expected, abs=6e-4)  # of 1000 pixels
