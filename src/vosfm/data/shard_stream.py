"""Shards for the loaders that Lightning asks for."""

from __future__ import annotations

from typing import Any

import torch

from vosfm.data.datamodules import VideoDataModule
from vosfm.data.datasets import Videos
from vosfm.data.shards.loader import ShardLoader
from vosfm.data.shards.shard_clips import ShardClips


class ShardStream(VideoDataModule):
    """Clips that are streamed from shards; videos to validate, test and predict on.

    In one epoch no sample is seen twice, whatever the number of processes, and all processes take
    the same number of steps. A checkpoint within an epoch says where each of them is: a training
    that goes on from it sees the samples that it would have seen.

    Args:
        train: clips to train on.
        validate: videos to validate on.
        test: videos to test on.
        predict: videos to predict on.
        batch_size: clips of a batch, per process.
        num_workers: processes that load clips; 0 loads them in the main process. Samples and
            batches depend on it, for each worker reads another part of the shards.
        pin_memory: whether batches are copied to page-locked memory; None does where it helps.
        held_out: names of videos that are never trained on, beside those that are validated and
            tested on.

    Raises:
        ValueError: if the batch size or the number of workers is out of range.
    """

    def __init__(
        self,
        train: ShardClips | None = None,
        validate: Videos | None = None,
        test: Videos | None = None,
        predict: Videos | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        pin_memory: bool | None = None,
        held_out: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            validate=validate,
            test=test,
            predict=predict,
            batch_size=batch_size,
            num_workers=num_workers,
            pin_memory=pin_memory,
            held_out=held_out,
        )
        self.clips = train
        self._loader: ShardLoader | None = None
        self._state: dict[str, Any] | None = None

    @property
    def sources(self) -> frozenset[str]:
        """Names of the videos that samples were cut from.

        Raises:
            InputError: if the index of the shards cannot be read.
        """
        return frozenset() if self.clips is None else self.clips.sources

    @property
    def broken(self) -> int:
        """Samples that could not be read so far, over all workers of this process."""
        return 0 if self.clips is None else self.clips.corruption.broken

    def train_dataloader(self) -> ShardLoader:  # type: ignore[override]  # Lightning takes any
        """Batches of clips.

        Raises:
            InputError: if there are no training clips, or fewer than a step of all processes, or a
                checkpoint to go on from was written on other terms.
        """
        pin = torch.cuda.is_available() if self.pin_memory is None else self.pin_memory
        clips = self._given("train", self.clips)
        self._loader = ShardLoader(clips, self.batch_size, self.num_workers, pin)
        if self._state is not None:
            self._loader.load_state_dict(self._state)
            self._state = None
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """Where all processes are, for a checkpoint; all of them must call it.

        Lightning 2.6 saves the state of a loader itself, too, but does not load it if the model has
        asked before how many steps the training will take.
        """
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was, now or when the loader is made.

        Raises:
            InputError: if samples were shared out on other terms.
        """
        if self._loader is None:
            self._state = state_dict
        else:
            self._loader.load_state_dict(state_dict)

    def teardown(self, stage: str) -> None:
        """End the workers."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None
