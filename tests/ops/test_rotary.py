"""Positions as rotations, and the sines beside them, against the released SAM 2's."""

from __future__ import annotations

import goldens
import torch

from vosfm.ops.attention import sine_positions
from vosfm.ops.positions import sine_code
from vosfm.ops.rotary import rotate, rotations

CPU = torch.device("cpu")


def test_equals_the_released_sam2() -> None:
    golden = goldens.load("sam2_position_encoding", system="sam2")
    channels, height, width = golden.description["config"]["rope"]
    turns = rotations((height, width), channels, CPU)
    golden.check("rope_cos", turns.real)
    golden.check("rope_sin", turns.imag)
    for name in ("q", "k"):
        turned = rotate(golden.inputs[name][:, 0].clone(), turns)
        golden.check(f"{name}_rot", turned.unsqueeze(1))


def test_sines_equal_the_released_sam2() -> None:
    golden = goldens.load("sam2_position_encoding", system="sam2")
    for index, (channels, *size) in enumerate(golden.description["config"]["sine"]):
        ours = sine_positions((size[0], size[1]), channels, CPU, first=1)
        golden.check(f"sine{index}", ours.T.unflatten(1, size).unsqueeze(0))
    ours = sine_code(golden.inputs["pos1d"], golden.description["config"]["dim1d"])
    golden.check("sine1d", ours)


def test_only_the_way_from_one_token_to_another_matters() -> None:
    size = (4, 7)
    turns = rotations(size, 8, CPU)
    query, key = torch.randn(2, 8)

    def alike(a: tuple[int, int], b: tuple[int, int]) -> torch.Tensor:
        every = [vector.expand(1, 28, 8).clone() for vector in (query, key)]
        turned, other = (rotate(tokens, turns)[0].unflatten(0, size) for tokens in every)
        return turned[a] @ other[b]

    torch.testing.assert_close(alike((0, 1), (2, 4)), alike((1, 3), (3, 6)))
    for b in ((2, 5), (3, 4)):
        assert not torch.allclose(alike((0, 1), (2, 4)), alike((0, 1), b), atol=1e-3)


def test_every_map_is_turned_alike_and_the_last_tokens_not() -> None:
    turns = rotations((2, 3), 8, CPU)
    tokens = torch.randn(2, 6, 8)
    last = torch.randn(2, 5, 8)
    turned = rotate(torch.cat((tokens, tokens, last), 1), turns, still=5)
    once = rotate(tokens.clone(), turns)
    torch.testing.assert_close(turned, torch.cat((once, once, last), 1))
    assert torch.equal(rotate(last.clone(), turns, still=5), last)


def test_half_precision_is_turned_in_full() -> None:
    turns = rotations((2, 3), 8, CPU)
    tokens = torch.randn(2, 17, 8).bfloat16()
    expected = rotate(tokens.float(), turns, still=5).bfloat16()
    assert torch.equal(rotate(tokens.clone(), turns, still=5), expected)


def test_rotations_first_used_for_inference_serve_training() -> None:
    with torch.inference_mode():
        rotations((5, 3), 12, CPU)
    tokens = torch.randn(1, 15, 12, requires_grad=True)
    rotate(tokens * 1.0, rotations((5, 3), 12, CPU)).square().sum().backward()
    torch.testing.assert_close(tokens.grad, 2 * tokens.detach())  # lengths do not change
