"""An FPN with an entrance for each depth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vosfm.decoders import FPN, ScalableFPN
from vosfm.types import Features, Geometry, Objects, Readout

SIZE = (49, 65)
READOUTS, SKIPS = (6, 5, 4), (3, 4, 5)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def seen(seed: int = 0) -> tuple[Features, tuple[torch.Tensor, ...], Objects]:
    """Two identity groups of three, in a batch of two."""
    chance = torch.Generator().manual_seed(seed)
    place = Geometry(SIZE, SIZE, SIZE, align_corners=True)
    pyramid = {
        stride: torch.randn(2, c, SIZE[0] // stride + 1, SIZE[1] // stride + 1, generator=chance)
        for stride, c in zip((4, 8, 16), SKIPS, strict=True)
    }
    features = Features(torch.empty(0), pyramid, torch.randn(2, 8, 4, 5, generator=chance), place)
    maps = tuple(torch.randn(2, 2, c, 4, 5, generator=chance) for c in READOUTS)
    slot = torch.tensor([[0, 2, 4], [5, 1, 3]])
    alive = torch.ones_like(slot, dtype=torch.bool)
    return features, maps, Objects(slot + 1, alive, slot, torch.zeros_like(slot), identities=3)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_depth_is_an_fpn_with_an_entrance_of_its_own(depth: int) -> None:
    torch.manual_seed(0)
    scalable = ScalableFPN(8, READOUTS, SKIPS, 16, 3).eval()
    alone = FPN(8, READOUTS[:depth], SKIPS, 16, 3).eval()
    weights = {k: v for k, v in scalable.state_dict().items() if not k.startswith("enter.")}
    entrance = scalable.enter[depth - 1].state_dict()
    alone.load_state_dict({**weights, **{f"enter.{k}": v for k, v in entrance.items()}})
    features, maps, objects = seen()
    ours = scalable(features, Readout(maps[:depth]), objects)
    theirs = alone(features, Readout(maps[:depth]), objects)
    assert torch.equal(ours.logits, theirs.logits)
    assert torch.equal(ours.background, theirs.background)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_last_map_alone(depth: int) -> None:
    torch.manual_seed(0)
    decoder = ScalableFPN(8, READOUTS, SKIPS, 16, 3, entering="last").eval()
    assert [e.conv.in_channels for e in decoder.enter] == list(READOUTS)
    (features, maps, objects), (_, others, _) = seen(0), seen(1)
    logits = decoder(features, Readout(maps[:depth]), objects).logits
    same = decoder(features, Readout((*others[: depth - 1], maps[depth - 1])), objects).logits
    assert torch.equal(same, logits)
    other = decoder(features, Readout((*maps[: depth - 1], others[depth - 1])), objects).logits
    assert not torch.equal(other, logits)


def test_depths() -> None:
    assert ScalableFPN(8, READOUTS, SKIPS, 16, 3).depths == (1, 2, 3)
    assert FPN(8, READOUTS, SKIPS, 16, 3).depths is None


def test_what_cannot_enter() -> None:
    with pytest.raises(ValueError, match="must be all or last"):
        ScalableFPN(entering="first")  # type: ignore[arg-type]
