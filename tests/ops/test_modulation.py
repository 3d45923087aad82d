"""Weights of what is remembered: against the released SAM2Long's, and for any entries."""

from __future__ import annotations

import goldens
import pytest
import torch

from vosfm.ops.modulation import key_weights, rank_weights

SPAN = (0.95, 1.05)


def test_equals_the_released_sam2long() -> None:
    golden = goldens.load("sam2long_modulation", system="sam2")
    counts = golden.inputs["counts"]
    scores = golden.inputs["frame_scores"], golden.inputs["ptr_scores"]
    seen = [torch.arange(each.shape[1]) < counts[:, [kind]] for kind, each in enumerate(scores)]
    frames, pointers = key_weights((scores[0], seen[0]), (scores[1], seen[1]), SPAN)
    golden.check("frame_weights", frames * seen[0])
    golden.check("ptr_weights", pointers * seen[1])


def test_who_takes_no_part_changes_nothing() -> None:
    scores = torch.tensor([[5.0, -3.0, 9.0, 1.0]])
    valid = torch.tensor([[True, False, True, True]])
    weights = rank_weights(scores, valid, SPAN)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 1.0, 1.05, 0.95]]))


def test_equal_scores_keep_their_order() -> None:
    scores = torch.full((1, 40), 10.0)
    weights = rank_weights(scores, torch.ones(1, 40, dtype=torch.bool), (0.0, 39.0))
    torch.testing.assert_close(weights, torch.arange(40.0)[None])


@pytest.mark.parametrize(("frames", "expected"), [(0, 1.0), (1, 1.0), (2, 0.95)])
def test_pointers_wait_for_a_second_frame(frames: int, expected: float) -> None:
    seen = torch.arange(3)[None] < frames
    pointer = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    _, weights = key_weights((torch.zeros(1, 3), seen), pointer, SPAN)
    assert weights.item() == pytest.approx(expected)
