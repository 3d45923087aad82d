"""Who owns a pixel."""

from __future__ import annotations

import goldens
import pytest
import torch
from torch import Tensor

from vosfm.ops.aggregation import aggregate, log_odds, share
from vosfm.ops.masks import harden, to_identities
from vosfm.types import Geometry, Objects

SIZE = (4, 5)
PLACE = Geometry(SIZE, SIZE, SIZE, align_corners=True)


def objects(
    slots: list[int], exclusive: bool = True, dead: tuple[int, ...] = (), identities: int | None = 3
) -> Objects:
    slot = torch.tensor([slots])
    alive = torch.ones_like(slot, dtype=torch.bool)
    alive[0, list(dead)] = False
    return Objects(slot + 1, alive, slot, torch.zeros_like(slot), exclusive, identities)


def test_one_group_is_a_softmax() -> None:
    logits, background = torch.randn(1, 2, *SIZE), torch.randn(1, 1, *SIZE)
    masks = aggregate(logits, background, objects([0, 1]), PLACE, SIZE)
    torch.testing.assert_close(masks, torch.cat((background, logits), 1).softmax(1)[:, 1:])


def test_groups_merge_by_their_backgrounds() -> None:
    logits, background = torch.randn(1, 3, *SIZE), torch.randn(1, 2, *SIZE)
    masks = aggregate(logits, background, objects([0, 1, 3]), PLACE, SIZE)
    first = torch.cat((background[:, :1], logits[:, :2]), 1).softmax(1)
    second = torch.cat((background[:, 1:], logits[:, 2:]), 1).softmax(1)
    both = torch.cat((first[:, :1] * second[:, :1], first[:, 1:], second[:, 1:]), 1)
    expected = both.clamp(1e-5, 1 - 1e-5).logit().softmax(1)
    torch.testing.assert_close(masks, expected[:, 1:])


def test_groups_that_may_overlap_stay_apart() -> None:
    logits, background = torch.randn(1, 3, *SIZE), torch.randn(1, 2, *SIZE)
    masks = aggregate(logits, background, objects([0, 1, 3], exclusive=False), PLACE, SIZE)
    alone = aggregate(logits[:, 2:], background[:, 1:], objects([0]), PLACE, SIZE)
    torch.testing.assert_close(masks[:, 2:], alone)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("slots", [[0, 1], [0, 3]])
def test_the_dead_own_nothing(exclusive: bool, slots: list[int]) -> None:
    logits = torch.randn(1, 2, *SIZE)
    background = torch.randn(1, 1 + slots[1] // 3, *SIZE)
    masks = aggregate(logits, background, objects(slots, exclusive, dead=(1,)), PLACE, SIZE)
    assert masks[:, 1].max() < 1e-4
    assert masks[:, 0].max() > 0.1


@pytest.mark.parametrize("count", [1, 3])
def test_soft_aggregation(count: int) -> None:
    golden = goldens.load("xmem_aggregate", system="mmpm")
    seen = golden.inputs[f"prob_{count}"]
    golden.check(f"logits_{count}", log_odds(seen))
    shared = golden.outputs[f"prob_{count}"][:, 1:]
    torch.testing.assert_close(share(seen), shared, rtol=1e-4, atol=1e-5)
    place = Geometry((6, 8), (6, 8), (6, 8))
    alone = objects(list(range(count)), identities=None)
    everybody = Objects(
        *(t.expand(2, -1) for t in (alone.ids, alone.alive, alone.slot, alone.born))
    )
    masks = aggregate(seen.logit(), None, everybody, place, (6, 8))
    torch.testing.assert_close(masks, shared, rtol=1e-4, atol=1e-5)


def test_objects_that_may_overlap_are_as_if_alone() -> None:
    logits = 3 * torch.randn(1, 2, *SIZE)
    both = aggregate(logits, None, objects([0, 1], False, identities=None), PLACE, SIZE)
    for o in range(2):
        for exclusive in (True, False):
            one = objects([0], exclusive, identities=None)
            alone = aggregate(logits[:, o : o + 1], None, one, PLACE, SIZE)
            torch.testing.assert_close(both[:, o : o + 1], alone)


@pytest.mark.parametrize("exclusive", [True, False])
def test_half_precision_is_as_good(exclusive: bool) -> None:
    logits = torch.tensor([[-40.0, 0.0, 9.0, 40.0], [1.0, 2.0, 40.0, 40.0]])[None, :, None]
    place = Geometry((1, 4), (1, 4), (1, 4))
    who = objects([0, 1], exclusive, identities=None)
    whole, half = (aggregate(x, None, who, place, (1, 4)) for x in (logits, logits.bfloat16()))
    torch.testing.assert_close(whole, half)
    assert whole.isfinite().all()
    assert share(logits.bfloat16().sigmoid()).isfinite().all()


def test_harden_takes_the_largest_share() -> None:
    shares = torch.tensor([0.45, 0.40]).view(1, 2, 1, 1)  # the background has 0.15
    assert harden(shares, objects([0, 1])).flatten().tolist() == [True, False]
    assert harden(shares, objects([0, 3])).flatten().tolist() == [True, False]
    # Alone with the background, neither is the larger.
    assert harden(shares, objects([0, 3], exclusive=False)).flatten().tolist() == [False, False]
    both = torch.tensor([0.9, 0.8]).view(1, 2, 1, 1)
    assert harden(both, objects([0, 3], exclusive=False)).flatten().tolist() == [True, True]
    assert harden(both, objects([0, 1], False, identities=None)).all()


def test_identities_are_one_hot() -> None:
    masks = torch.zeros(1, 3, *SIZE, dtype=torch.bool)
    masks[0, 0, 0], masks[0, 1, 1], masks[0, 2, 0] = True, True, True
    void = torch.zeros(1, *SIZE, dtype=torch.bool)
    void[0, 3] = True
    onehot: Tensor = to_identities(masks, objects([2, 0, 3], dead=(1,)), void)
    assert onehot.shape == (1, 2, 4, *SIZE)
    assert (onehot.sum(2)[0, :, :3] == 1).all()
    assert (onehot[:, :, :, 3] == 0).all()
    assert onehot[0, 0, 3, 0].all()
    assert onehot[0, 1, 1, 0].all()
    assert onehot[0, 0, 0, 1].all()
