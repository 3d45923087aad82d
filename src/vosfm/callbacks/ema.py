"""Evaluate and save an exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from vosfm.schedules import ema_decay


class EMA(WeightAveraging):
    """An exponential moving average that early steps do not hold back.

    Validation sees the average, checkpoints hold it under `state_dict`, and training ends with it.

    Args:
        horizon: share of the training that the average looks back on; its decay is
            1 - 1 / (horizon * steps).

    Raises:
        ValueError: if the horizon is not in (0, 1].

    Source: AOT's released code.
    """

    def __init__(self, horizon: float = 0.1) -> None:
        if not 0 < horizon <= 1:
            raise ValueError(f"horizon must be in (0, 1], not {horizon}")
        super().__init__(use_buffers=False, avg_fn=self._average)
        self.horizon = horizon
        self._highest = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn how long the training is."""
        steps = float(trainer.estimated_stepping_batches)
        self._highest = max(0.0, 1 - 1 / max(1.0, self.horizon * steps))

    def _average(self, averaged: Tensor, current: Tensor, updates: Any) -> Tensor:
        return averaged.lerp(current, 1 - ema_decay(int(updates), self._highest))
