"""What tracking cost, as one torchmetrics class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class TrackingCost(Metric):
    """Frames per second, peak memory and evictions of tracked videos, over all processes.

    Args:
        **kwargs: of `torchmetrics.Metric`.

    Example:
        >>> cost = TrackingCost()
        >>> cost.update(frames=10, seconds=2.0, evictions=3)
        >>> cost.update(memory_mib=512.0)
        >>> {name: value.item() for name, value in cost.compute().items()}
        {'evictions': 3.0, 'memory_mib': 512.0, 'fps': 5.0}
    """

    is_differentiable = False
    full_state_update = False

    frames: Tensor
    seconds: Tensor
    evictions: Tensor
    memory_mib: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("frames", "seconds", "evictions"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("memory_mib", torch.tensor(0.0), dist_reduce_fx="max")

    def update(
        self,
        frames: int = 0,
        seconds: float = 0.0,
        evictions: int = 0,
        memory_mib: float = 0.0,
    ) -> None:
        """Add what a video cost.

        Args:
            frames: with objects in them.
            seconds: of the wall clock, that tracking them took.
            evictions: frames that the memory gave up, see `vosfm.memory.turnover`.
            memory_mib: the most memory that was in use so far, in MiB.
        """
        self.frames += frames
        self.seconds += seconds
        self.evictions += evictions
        self.memory_mib = self.memory_mib.clamp(min=memory_mib)

    def compute(self) -> dict[str, Tensor]:
        """What all cost; no frames per second where no frame was tracked.

        Several processes that track at once are added up: frames of all by seconds of all.
        """
        told = {"evictions": self.evictions, "memory_mib": self.memory_mib}
        if self.seconds > 0:
            told["fps"] = self.frames / self.seconds
        return told
