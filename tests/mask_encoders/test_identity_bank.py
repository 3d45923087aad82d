"""Identities: only those that somebody has are computed, and nobody notices."""

from __future__ import annotations

import pytest
import torch

from vosfm.mask_encoders import IdentityBank
from vosfm.ops.masks import to_identities
from vosfm.types import Features, Geometry, Objects

SIZE = (33, 49)


def objects(slots: list[list[int]]) -> Objects:
    slot = torch.tensor(slots, dtype=torch.int64).view(len(slots), -1)
    alive = torch.ones_like(slot, dtype=torch.bool)
    return Objects(slot + 1, alive, slot, torch.zeros_like(slot), identities=4)


def split(count: int, batch: int = 1) -> torch.Tensor:
    """(batch, count, H, W) masks in stripes that move from sample to sample."""
    columns = (torch.arange(SIZE[1]) + 5 * torch.arange(batch)[:, None]) // 7 % (count + 1)
    inside = columns[:, None] == torch.arange(count)[:, None]
    return inside[:, :, None].expand(-1, -1, *SIZE)


@pytest.mark.parametrize(
    "slots", [[[]], [[0]], [[3, 1]], [[5, 0, 2]], [[8]], [[0, 3], [2, 0]], [[0, 1, 2, 3]]]
)
def test_equals_a_convolution_over_all_identities(slots: list[list[int]]) -> None:
    torch.manual_seed(0)
    bank = IdentityBank(width=8, identities=4)
    features = Features(torch.empty(0), {}, torch.empty(0), Geometry(SIZE, SIZE, SIZE, True))
    present = objects(slots)
    masks = split(present.count, len(slots))
    void = torch.zeros(len(slots), *SIZE, dtype=torch.bool)
    void[:, 4:9, 20:] = True
    ours = bank(features, masks, present, void).maps
    channels = to_identities(masks, present, void)
    whole = bank.embed(channels.flatten(0, 1)).unflatten(0, channels.shape[:2])
    torch.testing.assert_close(ours, whole)
    weight = bank.embed.weight
    (gradient,) = torch.autograd.grad(ours.square().sum(), weight)
    (expected,) = torch.autograd.grad(whole.square().sum(), weight)
    torch.testing.assert_close(gradient, expected)
