"""From datasets to the loaders that Lightning asks for."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vosfm.data.datasets import Clips, Videos, collate
from vosfm.data.sampling import ClipSampler, PaddedVideos, VideoSampler
from vosfm.data.video import Video
from vosfm.data.workers import processes, take_one_thread
from vosfm.errors import InputError
from vosfm.types import Clip

_Data = TypeVar("_Data")


class VideoDataModule(LightningDataModule):
    """Clips to train on; videos to validate, test and predict on.

    The training loader yields batched `Clip`s, other ones in every epoch; the others yield one
    `Video` at a time, read lazily. Where several processes validate or test, each takes the same
    number of steps; those that have a video less than others take a last one with None.

    Args:
        train: clips to train on.
        validate: videos to validate on.
        test: videos to test on.
        predict: videos to predict on.
        batch_size: clips of a batch, per process.
        num_workers: processes that load clips; 0 loads them in the main process. Samples do not
            depend on it.
        seed: of the order of clips.
        pin_memory: whether batches are copied to page-locked memory; None does where it helps.
        held_out: names of videos that are never trained on, beside those that are validated and
            tested on.

    Raises:
        ValueError: if the batch size or the number of workers is out of range.
    """

    def __init__(
        self,
        train: Clips | None = None,
        validate: Videos | None = None,
        test: Videos | None = None,
        predict: Videos | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
        pin_memory: bool | None = None,
        held_out: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, not {num_workers}")
        self.train = train
        self.validate = validate
        self.test = test
        self.predict = predict
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.held_out = tuple(held_out)

    def setup(self, stage: str) -> None:
        """Check, before a training, that it does not see what it is tested on.

        Raises:
            InputError: if training clips are taken from a video that is held out.
        """
        sources = self.sources if stage == "fit" else frozenset()
        if not sources:
            return
        for use, names in (
            ("held out", self.held_out),
            ("validated on", _names(self.validate)),
            ("tested on", _names(self.test)),
        ):
            if leaked := sorted(sources & set(names)):
                raise InputError(
                    f"data.train: {', '.join(leaked[:6])} would be trained on and {use}, which "
                    "makes every score worthless; leave them out of one of the two"
                )

    @property
    def sources(self) -> frozenset[str]:
        """Names of the videos that are trained on."""
        return frozenset() if self.train is None else self.train.sources

    @property
    def broken(self) -> int:
        """Training samples that could not be read so far, over all workers of this process."""
        return 0 if self.train is None else self.train.broken

    def train_dataloader(self) -> DataLoader[Clip]:
        """Batches of clips.

        Raises:
            InputError: if there are no training clips, or fewer than a batch.
        """
        clips = self._given("train", self.train)
        sampler = ClipSampler(clips, self.seed)
        if len(sampler) < self.batch_size:
            raise InputError(
                f"data.train: an epoch of {len(sampler)} clips per process does not fill a batch "
                f"of {self.batch_size}; raise the number of clips or lower data.batch_size"
            )
        pin = torch.cuda.is_available() if self.pin_memory is None else self.pin_memory
        return DataLoader(
            clips,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            drop_last=True,
            pin_memory=pin,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=take_one_thread,
            multiprocessing_context=processes() if self.num_workers else None,
        )

    def val_dataloader(self) -> DataLoader[Video | None] | list[Any]:
        """Videos to validate on; none is allowed, Lightning then skips validation."""
        return [] if self.validate is None else _one_by_one(PaddedVideos(self.validate))

    def test_dataloader(self) -> DataLoader[Video | None]:
        """Videos to test on.

        Raises:
            InputError: if there are none.
        """
        return _one_by_one(PaddedVideos(self._given("test", self.test)))

    def predict_dataloader(self) -> DataLoader[Video]:
        """Videos to predict on.

        Raises:
            InputError: if there are none.
        """
        return _one_by_one(self._given("predict", self.predict))

    def transfer_batch_to_device(
        self, batch: Clip | Video | None, device: torch.device, dataloader_idx: int
    ) -> Clip | Video | None:
        """Move clips without waiting; leave videos where they are."""
        if isinstance(batch, Clip):
            return batch.to(device, non_blocking=True)
        return batch

    @staticmethod
    def _given(stage: str, data: _Data | None) -> _Data:
        if data is None:
            raise InputError(f"data.{stage}: nothing to {stage} on was configured; set it")
        return data


def _names(videos: Videos | None) -> tuple[str, ...]:
    """Of the videos; none where they are not there, since a training does not need them."""
    try:
        return () if videos is None else videos.names
    except InputError:
        return ()


def _one_by_one(videos: Videos | PaddedVideos) -> DataLoader[Any]:
    return DataLoader(videos, batch_size=None, sampler=VideoSampler(videos), collate_fn=_as_it_is)


def _as_it_is(video: Any) -> Any:
    return video
