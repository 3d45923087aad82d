"""Lightning's rich progress bar, with J&F of the videos so far."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from vosfm.metrics import VideoSegmentation
from vosfm.task import SegmentationTask


class ProgressBar(RichProgressBar):
    """Shows J&F of the videos that were validated or tested so far.

    Args:
        refresh_rate: drawings per second; 0 for none.
        leave: keep the bar of every finished epoch.
    """

    def __init__(self, refresh_rate: int = 10, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        super().on_validation_batch_end(trainer, pl_module, *args, **kwargs)
        if not trainer.sanity_checking:
            self._show(pl_module, "val", self.val_progress_bar_id, self.validation_description)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        super().on_test_batch_end(trainer, pl_module, *args, **kwargs)
        self._show(pl_module, "test", self.test_progress_bar_id, self.test_description)

    def _show(self, task: L.LightningModule, stage: str, bar: Any, description: str) -> None:
        if self.is_disabled or self.progress is None or bar is None:
            return
        assert isinstance(task, SegmentationTask)
        metric = task.scores[stage]
        assert isinstance(metric, VideoSegmentation)
        # The other processes are at other videos, or at none: they could not answer.
        score = float(metric.so_far()["J&F"])
        self.progress.update(bar, description=f"{description} J&F {score:.3f}")
