"""Pictures of the masks on validation frames, in the logger."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from vosfm.data.drawing import overlay
from vosfm.data.video import Image, Video
from vosfm.errors import InputError
from vosfm.task import SegmentationTask
from vosfm.tracker import Tracker


class Overlays(L.Callback):
    """Logs a few overlays of the first validation videos after every validation.

    Weights & Biases gets them as images; other loggers have no place for pictures, so that they
    are files in their folder, under ``overlays/``.

    The beginning of each of these videos is tracked once more: results of a validation are scored
    and let go.

    Args:
        videos: how many videos.
        frames: pictures of each.
        within: the pictures are spread over so many frames after the first.

    Raises:
        InputError: if a number is below 1, or there are more pictures than frames.
    """

    def __init__(self, videos: int = 2, frames: int = 3, within: int = 15) -> None:
        if min(videos, frames, within) < 1 or frames > within:
            raise InputError(
                f"Overlays: videos {videos}, frames {frames}, within {within}: give at least 1 of "
                "each, and no more frames than within"
            )
        self.videos = videos
        self.frames = frames
        self.within = within

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Video,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and log, if the video is one of the first."""
        if trainer.sanity_checking or not trainer.is_global_zero or batch_idx >= self.videos:
            return
        if not trainer.loggers:
            return
        assert isinstance(pl_module, SegmentationTask)
        with trainer.precision_plugin.val_step_context():
            pictures = dict(self._draw(pl_module.tracker(batch), batch))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(
                    f"overlays/{batch.name}",
                    list(pictures.values()),
                    step=trainer.global_step,
                    caption=list(pictures),
                )
            elif logger.log_dir is not None:
                folder = Path(logger.log_dir) / "overlays" / f"step_{trainer.global_step:07d}"
                folder.mkdir(parents=True, exist_ok=True)
                for name, picture in pictures.items():
                    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
                    cv2.imwrite(str(folder / f"{batch.name}_{name}.jpg"), bgr)

    def _draw(self, tracker: Tracker, video: Video) -> Iterator[tuple[str, Image]]:
        last = min(self.within, len(video) - 1)
        wanted = set(np.linspace(last, 0, self.frames, endpoint=False).round().astype(int).tolist())
        prompts = video.prompts()
        for index, frame in enumerate(islice(video.frames(), last + 1)):
            for result in tracker.step(frame, prompts.get(index)):
                if result.frame in wanted:
                    picture = overlay(frame, result.masks, result.object_ids)
                    yield video.frame_names[result.frame], picture
