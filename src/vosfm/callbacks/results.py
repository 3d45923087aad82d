"""The masks of `predict`, written as `vosfm track` writes them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import lightning as L

from vosfm.data.results import ResultFolder
from vosfm.data.video import Video
from vosfm.tracker import Result


class PredictionWriter(L.Callback):
    """Writes the masks of every video, frame by frame as they are tracked, of its reported frames.

    Args:
        folder: of the results; each video has a folder of its name in it.
        overlap: whether masks may overlap, see `vosfm.data.results.ResultFolder`.
    """

    def __init__(self, folder: str | os.PathLike[str], overlap: bool = False) -> None:
        self.folder = Path(folder)
        self.overlap = overlap

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Iterable[Result],
        batch: Video,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the results of a video and write each."""
        results = ResultFolder(self.folder / batch.name, batch.frame_names, self.overlap)
        reported = frozenset(batch.reported())
        # The prediction is lazy: the model runs here, and so in the precision of a prediction.
        with trainer.precision_plugin.predict_step_context():
            for result in outputs:
                if result.frame in reported:
                    results.write(result)
