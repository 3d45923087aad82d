"""Flows point from the source into the target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import video
from numpy.typing import NDArray
from sams import frame
from torch import nn
from torchvision.models.optical_flow import Raft_Large_Weights, raft_large, raft_small

from vosfm import InputError
from vosfm.flow import DIS, RAFT

Frame = NDArray[np.uint8]


def network(size: str) -> nn.Module:
    """torchvision's, of random weights whose flow is some pixels long."""
    torch.manual_seed(0)
    made = {"large": raft_large, "small": raft_small}[size](weights=None).eval()
    for name, weight in made.named_parameters():
        if "flow_head.conv2" in name:
            weight.data.mul_(3)
    return made


@pytest.fixture(scope="module", params=["large", "small"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, RAFT]:
    made = network(request.param)
    path = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(made.state_dict(), path)
    return made, RAFT(path)


@torch.no_grad()
def expected(made: nn.Module, source: Frame, target: Frame) -> NDArray[np.float32]:
    """The flow of torchvision's network behind its own transforms."""
    frames = [torch.from_numpy(frame).permute(2, 0, 1)[None] for frame in (source, target)]
    flow = made(*Raft_Large_Weights.C_T_SKHT_V2.transforms()(*frames))[-1]
    return flow[0].permute(1, 2, 0).numpy()


def widened(frame: Frame, height: int, width: int) -> Frame:
    below, beside = height - frame.shape[0], width - frame.shape[1]
    return np.pad(frame, ((0, below), (0, beside), (0, 0)), mode="edge")


class TestRAFT:
    def test_equals_torchvision(self, both: tuple[nn.Module, RAFT]) -> None:
        made, raft = both
        source, target = video(2, (128, 136))
        flow = raft(source, target)
        assert flow.dtype == np.float32
        assert np.array_equal(flow, expected(made, source, target))
        assert float(np.abs(flow).mean()) > 0.5
        assert not np.array_equal(flow, raft(target, source))
        assert np.array_equal(flow, raft(source, target)), "nothing stays of a call"

    @pytest.mark.parametrize(("size", "padded"), [((130, 141), (136, 144)), ((40, 61), (128, 128))])
    def test_any_size(
        self, both: tuple[nn.Module, RAFT], size: tuple[int, int], padded: tuple[int, int]
    ) -> None:
        made, raft = both
        source, target = video(2, size)
        flow = raft(source, target)
        whole = expected(made, widened(source, *padded), widened(target, *padded))
        assert np.array_equal(flow, whole[: size[0], : size[1]])

    def test_wrong_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
            RAFT(tmp_path / "none.pth")
        damaged = tmp_path / "damaged.pth"
        damaged.write_bytes(b"PK\x03\x04 and no more")
        with pytest.raises(InputError, match=r"damaged\.pth: "):
            RAFT(damaged)
        code, other, part = (tmp_path / f"{name}.pth" for name in ("code", "other", "part"))
        torch.save(nn.Linear(2, 2), code)
        with pytest.raises(InputError, match=r"code\.pth: holds code"):
            RAFT(code)
        torch.save({"fnet.conv1.weight": torch.zeros(2)}, other)
        with pytest.raises(InputError, match=r"other\.pth: not the weights of RAFT .* give its"):
            RAFT(other)
        weights = network("small").state_dict()
        weights.pop("update_block.flow_head.conv2.weight")
        torch.save(weights, part)
        with pytest.raises(InputError, match=r"part\.pth: .* missing update_block.flow_head.conv2"):
            RAFT(part)


def test_dis_points_into_the_target() -> None:
    """What drifts to the left by four pixels is found there."""
    source, target = (frame(64, 100)[:, 4 * t : 4 * t + 96] for t in range(2))
    inner = DIS()(source, target)[8:-8, 12:-8]
    assert np.median(inner[..., 0]) == pytest.approx(-4, abs=0.5)
    assert np.median(inner[..., 1]) == pytest.approx(0, abs=0.5)
