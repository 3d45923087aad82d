from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from models import tiny
from scenes import contents, scene

from vosfm import InputError, Tracker
from vosfm.callbacks import Overlays
from vosfm.data import ProceduralVideo, VideoDataModule, Videos, overlay
from vosfm.data.video import Video
from vosfm.task import SegmentationTask


class Three(Videos):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Video:
        return scene(7, seed=index)


class Pictures(WandbLogger):
    """A W&B logger that keeps the pictures instead of sending them."""

    def __init__(self) -> None:
        super().__init__(offline=True)
        self.taken: dict[str, tuple[Any, ...]] = {}

    @property
    def experiment(self) -> Any:
        """No run is begun."""
        return None

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kw: Any) -> None:
        self.taken[key] = (images, step, kw["caption"])

    def log_metrics(self, *args: Any, **kwargs: Any) -> None: ...
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...
    def finalize(self, status: str) -> None: ...


def _validate(overlays: Overlays, *loggers: Any) -> None:
    trainer = L.Trainer(
        accelerator="cpu", callbacks=[overlays], logger=list(loggers), enable_progress_bar=False
    )
    trainer.validate(SegmentationTask(tiny()), VideoDataModule(validate=Three()), verbose=False)


def test_files_where_the_logger_takes_no_pictures(tmp_path: Path) -> None:
    _validate(Overlays(videos=2, frames=2, within=4), CSVLogger(tmp_path, "a", version=0))
    folder = tmp_path / "a" / "version_0" / "overlays" / "step_0000000"
    names = [f"procedural-{video}_0000{frame}.jpg" for video in (0, 1) for frame in (2, 4)]
    assert sorted(contents(folder)) == names
    picture = cv2.imread(str(folder / names[1]))
    assert picture is not None
    video = scene(7)
    result = list(Tracker(tiny()).track(video.frames(), video.prompts()))[4]
    frame = list(video.frames())[4]
    expected = overlay(frame, result.masks, result.object_ids)
    difference = np.abs(picture[..., ::-1].astype(int) - expected)
    assert difference.mean() < 8 < np.abs(frame.astype(int) - expected).mean()


def test_images_for_weights_and_biases(tmp_path: Path) -> None:
    logger = Pictures()
    _validate(Overlays(videos=1, frames=3, within=20), logger)
    ((name, (images, step, captions)),) = logger.taken.items()
    assert name == "overlays/procedural-0"
    assert step == 0
    assert captions == ["00002", "00004", "00006"]
    assert all(image.shape == (64, 64, 3) for image in images)


def test_nothing_without_a_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vosfm.callbacks.overlays.overlay", None)
    _validate(Overlays())


@pytest.mark.parametrize("arguments", [{"videos": 0}, {"frames": 0}, {"frames": 4, "within": 3}])
def test_arguments_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(InputError, match="Overlays"):
        Overlays(**arguments)


def test_pictures_of_objects_that_overlap() -> None:
    video = ProceduralVideo(0, 3, (64, 64), objects=2, parts=True)
    task = SegmentationTask(tiny(), exclusive=False)
    pictures = dict(Overlays(frames=2, within=2)._draw(task.tracker(video), video))
    assert set(pictures) == {"00001", "00002"}
