"""SAM as the data engine asks it, beside segment_anything's own predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sams import SIDE, WIDTH, frame, ours, released
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from vosfm import Box, InputError, Points
from vosfm.collect import prompted_network
from vosfm.collect.prompted_sam import PromptedSam
from vosfm.prompters import Prompter, SamPrompter
from vosfm.types import Features

OFFSET = 0.1
"""Random weights are not sure enough for the usual one."""


@pytest.fixture(scope="module")
def sam() -> Sam:
    return released()


@pytest.fixture(scope="module")
def prompter(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> SamPrompter:
    return ours(sam, tmp_path_factory.mktemp("sam"))


def queries(size: tuple[int, int], count: int, points: int) -> NDArray[np.float32]:
    chance = np.random.default_rng(1)
    return (chance.random((count, points, 2)) * (size[1], size[0])).astype(np.float32)


def expected(sam: Sam, image: NDArray[np.uint8], points: NDArray[np.float32]) -> list[Any]:
    """Logits of the image's size, quality and logits as decoded, of queries one after another."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    said = [predictor.predict(each, np.ones(len(each)), return_logits=True) for each in points]
    return [np.stack(leaf) for leaf in zip(*said, strict=True)]


def stabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return calculate_stability_score(torch.from_numpy(logits), 0.0, OFFSET).numpy()


class TestParity:
    """On images whose longer side needs no resizing, which the predictor rounds to bytes."""

    @pytest.mark.parametrize("points", [1, 5])
    @pytest.mark.parametrize("size", [(48, SIDE), (SIDE, 50)])
    def test_equals_the_predictor(
        self, sam: Sam, prompter: SamPrompter, size: tuple[int, int], points: int
    ) -> None:
        asked = queries(size, 6, points)
        full, quality, low = expected(sam, frame(*size), asked)
        segmenter = PromptedSam(prompter)
        segmenter.look(frame(*size), 3)
        found = segmenter.candidates(asked, OFFSET)
        assert found.masks.shape == (6, 3, *size)
        assert np.array_equal(found.masks, full > 0)
        np.testing.assert_allclose(found.quality, quality, atol=1e-5)
        np.testing.assert_allclose(found.stability, stabilities(low), atol=1e-3)
        finer = segmenter.at_image_size().candidates(asked, OFFSET)
        assert np.array_equal(finer.masks, full > 0)
        np.testing.assert_allclose(finer.stability, stabilities(full), atol=1e-3)
        assert float(np.abs(finer.stability - found.stability).mean()) > 1e-2
        assert len(np.unique(found.stability.round(3))) > 6
        with torch.no_grad():
            image = torch.from_numpy(frame(*size)).permute(2, 0, 1)[None] / 255
            assert prompter.encoder is not None
            logits, _ = prompter.every(prompter.encoder(image), torch.from_numpy(asked))
        np.testing.assert_allclose(logits.numpy(), low, rtol=1e-4, atol=1e-4 * low.std())

    def test_frames_of_another_size(self, sam: Sam, prompter: SamPrompter) -> None:
        image, asked = frame(90, 130), queries((90, 130), 4, 5)
        full, quality, _ = expected(sam, image, asked)
        segmenter = PromptedSam(prompter)
        segmenter.look(image, 0)
        found = segmenter.candidates(asked)
        assert float((found.masks == (full > 0)).mean()) > 0.99
        np.testing.assert_allclose(found.quality, quality, atol=1e-2)


class TestQueries:
    def test_how_they_are_computed_changes_nothing(
        self, prompter: SamPrompter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size, restored = (48, SIDE), []
        restore = prompted_network.restore

        def watched(logits: Tensor, geometry: Any) -> Tensor:
            restored.append(len(logits))
            return restore(logits, geometry)

        whole, parted = PromptedSam(prompter), PromptedSam(prompter, batch=3)
        for segmenter in (whole, parted):
            segmenter.look(frame(*size), 0)
        asked = queries(size, 7, 2)
        expected = whole.candidates(asked, OFFSET)
        monkeypatch.setattr(prompted_network, "restore", watched)
        monkeypatch.setattr(prompted_network, "_AT_ONCE", 2 * SIDE**2)
        found = parted.candidates(asked, OFFSET)
        assert max(restored) == 2
        assert sum(restored) == 7 * 3
        assert np.array_equal(found.masks, expected.masks)
        np.testing.assert_allclose(found.quality, expected.quality, atol=1e-5)
        np.testing.assert_allclose(found.stability, expected.stability, atol=1e-3)

    def test_an_image_is_encoded_once(
        self, prompter: SamPrompter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert prompter.encoder is not None
        segmenter, seen, extract = PromptedSam(prompter), [], prompter.encoder.extract

        def watched(image: Tensor) -> Any:
            seen.append(image)
            return extract(image)

        monkeypatch.setattr(prompter.encoder, "extract", watched)
        segmenter.look(frame(48, SIDE), 0)
        first = segmenter.candidates(queries((48, SIDE), 2, 1))
        segmenter.candidates(queries((48, SIDE), 2, 1))
        assert len(seen) == 1
        segmenter.look(frame(SIDE, 50)[::-1], 1)
        assert segmenter.candidates(queries((48, SIDE), 2, 1)).masks.shape[2:] == (SIDE, 50)
        segmenter.look(frame(48, SIDE), 2)
        again = segmenter.candidates(queries((48, SIDE), 2, 1))
        assert np.array_equal(first.masks, again.masks)

    def test_none(self, prompter: SamPrompter) -> None:
        segmenter = PromptedSam(prompter)
        with pytest.raises(ValueError, match="look at one first"):
            segmenter.candidates(queries((48, SIDE), 2, 1))
        segmenter.look(frame(48, SIDE), 0)
        found = segmenter.candidates(queries((48, SIDE), 0, 5))
        assert found.masks.shape == (0, 3, 48, SIDE)
        assert found.quality.shape == found.stability.shape == (0, 3)

    def test_an_empty_mask_is_not_stable(self) -> None:
        logits = torch.full((1, 4, 4), -5.0)
        assert float(prompted_network.stability(logits, 1.0)) == 0
        logits[0, :2] = 5.0
        assert float(prompted_network.stability(logits, 1.0)) == 1
        logits[0, 2] = 0.5
        assert float(prompted_network.stability(logits, 1.0)) == pytest.approx(8 / 12)


class OneMask(Prompter):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Features, given: Sequence[Box | Points]) -> Tensor:
        return torch.zeros(len(given), *features.geometry.source)


def test_prompters_that_cannot_be_asked(prompter: SamPrompter) -> None:
    with pytest.raises(InputError, match="give it an encoder of its own"):
        PromptedSam(SamPrompter(WIDTH, SIDE))
    with pytest.raises(InputError, match="OneMask tells one mask of the same points"):
        PromptedSam(OneMask(prompter.encoder))
    with pytest.raises(ValueError, match="batch is 0"):
        PromptedSam(prompter, batch=0)
