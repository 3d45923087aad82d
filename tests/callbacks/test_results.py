from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from models import tiny
from numpy.typing import NDArray
from scenes import contents, scene

from vosfm import InputError, Result, Tracker
from vosfm.callbacks import PredictionWriter
from vosfm.data import VideoDataModule, Videos, read_labels
from vosfm.data.results import ResultFolder
from vosfm.data.video import Video
from vosfm.task import SegmentationTask

NAMES = ("a", "b")


def _result(masks: NDArray[np.bool_], ids: tuple[int, ...], frame: int = 0) -> Result:
    return Result(frame, ids, masks, np.ones(len(ids), np.float32))


def _two(overlap: bool) -> NDArray[np.bool_]:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :2] = True
    masks[1, 1 if overlap else 2 :] = True
    return masks


class TestResultFolder:
    def test_an_index_mask(self, tmp_path: Path) -> None:
        folder = ResultFolder(tmp_path / "new", NAMES)
        folder.write(_result(_two(overlap=False), (254, 3), frame=1))
        labels = read_labels(tmp_path / "new" / "b.png")
        assert labels.tolist() == [[254] * 6] * 2 + [[3] * 6] * 2
        assert folder.read(1).object_ids == (3, 254)

    def test_nothing_seen_is_background(self, tmp_path: Path) -> None:
        ResultFolder(tmp_path, NAMES).write(_result(np.zeros((0, 4, 6), bool), ()))
        assert read_labels(tmp_path / "a.png").tolist() == [[0] * 6] * 4

    def test_a_folder_per_object(self, tmp_path: Path) -> None:
        folder = ResultFolder(tmp_path, NAMES, overlap=True)
        folder.write(_result(_two(overlap=True), (10, 9)))
        assert set(contents(tmp_path)) == {"10/a.png", "9/a.png"}
        assert set(read_labels(tmp_path / "10" / "a.png").ravel()) == {0, 10}
        annotation = folder.read(0)
        assert annotation.object_ids == (9, 10)
        assert np.array_equal(annotation.masks, _two(overlap=True)[::-1])

    def test_an_overlap_fits_no_index_mask(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="one folder per object"):
            ResultFolder(tmp_path, NAMES).write(_result(_two(overlap=True), (1, 2)))
        assert not contents(tmp_path)

    @pytest.mark.parametrize("overlap", [True, False])
    @pytest.mark.parametrize("object_id", [0, 255, 300])
    def test_an_id_that_a_png_cannot_hold(
        self, tmp_path: Path, object_id: int, overlap: bool
    ) -> None:
        with pytest.raises(InputError, match=f"object {object_id}"):
            ResultFolder(tmp_path, NAMES, overlap).write(
                _result(_two(overlap=False), (1, object_id))
            )
        assert not contents(tmp_path)

    @pytest.mark.parametrize("overlap", [True, False])
    def test_a_frame_that_was_not_written(self, tmp_path: Path, overlap: bool) -> None:
        with pytest.raises(InputError, match=r"a\.png"):
            ResultFolder(tmp_path, NAMES, overlap).read(0)


class Two(Videos):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Video:
        return scene(3, seed=index)


class Watched(SegmentationTask):
    """Notes in which precision the model runs, and how far the writer is."""

    def predict_step(self, video: Video, index: int) -> Iterator[Result]:
        for result in super().predict_step(video, index):
            self.autocast = torch.is_autocast_enabled("cpu")
            yield result


def test_predictions_are_written_as_they_come(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path)
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[writer],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.predict(SegmentationTask(tiny()), VideoDataModule(predict=Two()))
    assert sorted(contents(tmp_path)) == [
        f"procedural-{video}/0000{frame}.png" for video in range(2) for frame in range(3)
    ]
    for video in Two():
        folder = ResultFolder(tmp_path / video.name, video.frame_names)
        for result in Tracker(tiny()).track(video.frames(), video.prompts()):
            seen = result.masks.any((1, 2))
            assert np.array_equal(folder.read(result.frame).masks, result.masks[seen])


def test_predictions_run_in_the_precision_of_the_trainer(tmp_path: Path) -> None:
    task = Watched(tiny())
    trainer = L.Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        callbacks=[PredictionWriter(tmp_path)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_predict_batches=1,
    )
    trainer.predict(task, VideoDataModule(predict=Two()))
    assert task.autocast
