from __future__ import annotations

from typing import Any

import lightning as L
import pytest
from models import tiny
from scenes import scene

from vosfm.callbacks import ProgressBar
from vosfm.data import VideoDataModule, Videos
from vosfm.data.video import Video
from vosfm.task import SegmentationTask


class Three(Videos):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Video:
        return scene(4, seed=index)


class Watched(ProgressBar):
    """Notes what stands beside the bar after every video."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def _note(self) -> None:
        assert self.progress is not None
        self.seen.append(self.progress.tasks[-1].description)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_validation_batch_end(*args, **kwargs)
        self._note()

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_test_batch_end(*args, **kwargs)
        self._note()


@pytest.mark.parametrize(("command", "stage"), [("validate", "val"), ("test", "test")])
def test_j_and_f_of_the_videos_so_far(command: str, stage: str) -> None:
    bar = Watched()
    trainer = L.Trainer(accelerator="cpu", callbacks=[bar], logger=False)
    data = VideoDataModule(validate=Three(), test=Three())
    task = SegmentationTask(tiny())
    (logged,) = getattr(trainer, command)(task, data, verbose=False)
    what = {"val": "Validation", "test": "Testing"}[stage]
    assert len(set(bar.seen)) == 3
    assert all(text.startswith(f"{what} J&F 0.") for text in bar.seen)
    assert bar.seen[-1] == f"{what} J&F {logged[f'{stage}/J&F']:.3f}"


def test_no_bar_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = ProgressBar(refresh_rate=0)
    monkeypatch.setattr("vosfm.metrics.VideoSegmentation.clone", None)
    trainer = L.Trainer(accelerator="cpu", callbacks=[bar], logger=False)
    trainer.test(SegmentationTask(tiny()), VideoDataModule(test=Three()), verbose=False)
