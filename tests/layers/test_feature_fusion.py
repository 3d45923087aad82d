"""Fusion against the released XMem's numbers, and its image share."""

from __future__ import annotations

import goldens
import pytest
import torch
from official_keys import FUSION, HIDDEN_UPDATE, load
from torch import nn

from vosfm.layers import FeatureFusion, GatedUpdate, HiddenUpdate


@torch.inference_mode()
def test_equals_the_released_fusion() -> None:
    golden = goldens.load("xmem_feature_fusion", system="mmpm")
    fusion = FeatureFusion(1024, 256, 512, 512)
    load(fusion, golden, FUSION)
    golden.check("out", fusion(golden.inputs["x"], golden.inputs["g"]))


@torch.inference_mode()
def test_equals_the_released_reinforcement() -> None:
    golden = goldens.load("xmem_hidden_reinforcer", system="mmpm")
    update = GatedUpdate(512, 64)
    load(update, golden)
    golden.check("new_h", update(golden.inputs["g"], golden.inputs["h"]))


@torch.inference_mode()
def test_equals_the_released_update_of_three_scales() -> None:
    golden = goldens.load("xmem_hidden_updater", system="mmpm")
    update = HiddenUpdate((512, 256, 257), 256, 64)
    load(update, golden, HIDDEN_UPDATE)
    g16, g8, g4 = (golden.inputs[name] for name in ("g16", "g8", "g4"))
    scales = ((g16,), (g8,), (g4[:, :, :256], g4[:, :, 256:]))
    golden.check("new_h", update(scales, golden.inputs["h"]))


@torch.inference_mode()
def test_equals_the_released_update_of_one_scale() -> None:
    golden = goldens.load("mmpm_hidden_updater", system="mmpm")
    update = HiddenUpdate((513,), 256, 64)
    load(update, golden, HIDDEN_UPDATE)
    golden.check("new_h", update(((golden.inputs["g"],),), golden.inputs["h"]))


@pytest.mark.parametrize("width", [6, 9])
@torch.inference_mode()
def test_skips_what_it_was_given(width: int) -> None:
    """With silent blocks the fusion is its own skip connections; as many channels need no other."""
    fusion = FeatureFusion(4, 5, width, width)
    assert (fusion.enter.skip is None) == (width == 9)
    for silent in (fusion.enter.conv2, fusion.exit.conv2):
        nn.init.zeros_(silent.weight)
        nn.init.zeros_(silent.bias)
    for scale in fusion.attention.parameters():
        nn.init.zeros_(scale)  # every gate is half open
    image, rows = torch.randn(2, 4, 5, 6), torch.randn(2, 3, 5, 5, 6)
    both = torch.cat((image[:, None].expand(-1, 3, -1, -1, -1), rows), 2)
    if fusion.enter.skip is not None:
        both = fusion.enter.skip(both.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(fusion(image, rows), 1.25 * both)


@torch.inference_mode()
def test_gates_hold_let_go_and_overwrite() -> None:
    update = GatedUpdate(3, 2)
    nn.init.zeros_(update.transform.weight)
    values, hidden = torch.randn(1, 2, 3, 4, 4), torch.randn(1, 1, 2, 4, 4)

    def moved(forget: float, overwrite: float) -> torch.Tensor:
        bias = torch.tensor([forget, forget, overwrite, overwrite, 0.5, 0.5])
        update.transform.bias.copy_(bias)
        return update(values, hidden)

    kept = hidden.expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(moved(50.0, -50.0), kept)
    torch.testing.assert_close(moved(-50.0, -50.0), torch.zeros_like(kept))
    new = torch.full_like(kept, 0.5).tanh()
    torch.testing.assert_close(moved(50.0, 50.0), new)
    torch.testing.assert_close(moved(50.0, 0.0), (kept + new) / 2)
