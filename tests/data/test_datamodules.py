"""Loaders: the same clips whatever the workers, other ones in every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from PIL import Image as Picture

from vosfm.data import (
    ArrayVideo,
    Davis,
    FrameFolder,
    MixedClips,
    ProceduralClips,
    ProceduralVideos,
    VideoClips,
    VideoDataModule,
    Videos,
    write_labels,
)
from vosfm.data.sampling import ClipSampler, PaddedVideos, VideoSampler
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.types import Clip


def _module(num_workers: int = 0, **more: Any) -> VideoDataModule:
    return VideoDataModule(
        train=ProceduralClips(2, (48, 48), clips=6),
        validate=ProceduralVideos((1, 2), 3, (48, 48)),
        test=ProceduralVideos((3,), 3, (48, 48)),
        predict=ProceduralVideos((4, 5), 3, (48, 48)),
        batch_size=2,
        num_workers=num_workers,
        **more,
    )


def test_workers_change_nothing() -> None:
    # A busy thread pool in this process is what a forked worker would stumble over.
    cv2.GaussianBlur(np.zeros((1500, 1500, 3), np.float32), (31, 31), 5)
    loaders = [_module(num_workers).train_dataloader() for num_workers in (0, 2)]
    for epoch in (0, 1):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        alone, shared = (list(loader) for loader in loaders)
        assert len(alone) == len(shared) == 3
        for a, b in zip(alone, shared, strict=True):
            assert a.names == b.names
            assert torch.equal(a.frames, b.frames)
            assert torch.equal(a.masks, b.masks)
            assert torch.equal(a.present, b.present)


class _Listener(LightningModule):
    """Notes what Lightning hands it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[str, int, Any]] = []

    def training_step(self, clip: Clip, index: int) -> torch.Tensor:
        assert isinstance(clip, Clip)
        self.seen.append(("train", self.current_epoch, clip.names))
        return (self.weight * clip.images.mean()).sum()

    def validation_step(self, video: Video, index: int) -> None:
        assert isinstance(video, Video)
        if not self.trainer.sanity_checking:
            self.seen.append(("validate", self.current_epoch, video.name))

    def test_step(self, video: Video, index: int) -> None:
        self.seen.append(("test", 0, (video.name, len(list(video.frames())))))

    def predict_step(self, video: Video, index: int) -> str:
        return video.name

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_under_lightning(tmp_path: Path) -> None:
    listener = _Listener()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = _module()
    trainer.fit(listener, data)
    epochs = [
        {
            name
            for kind, epoch, names in listener.seen
            if (kind, epoch) == ("train", e)
            for name in names
        }
        for e in (0, 1)
    ]
    for epoch, names in enumerate(epochs):
        assert names == {f"procedural-clip-{epoch}-{index}" for index in range(6)}
    validated = [name for kind, _, name in listener.seen if kind == "validate"]
    assert validated == ["procedural-1", "procedural-2"] * 2
    trainer.test(listener, data, verbose=False)
    assert listener.seen[-1] == ("test", 0, ("procedural-3", 3))
    assert trainer.predict(listener, data) == ["procedural-4", "procedural-5"]


def test_ranks_share_an_epoch() -> None:
    clips = ProceduralClips(clips=7)
    shares = [ClipSampler(clips, 5, rank, 3) for rank in range(3)]
    for share in shares:
        share.set_epoch(2)
    orders = [list(share) for share in shares]
    assert [len(order) for order in orders] == [3, 3, 3]
    assert {index for order in orders for index in order} == set(range(14, 21))
    shares[0].set_epoch(3)
    assert [index - 7 for index in shares[0]] != orders[0]


def test_ranks_share_videos_without_repeating_any() -> None:
    videos = ProceduralVideos(range(5))
    shares = [VideoSampler(videos, rank, 3) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3], [1, 4], [2]]
    assert [len(share) for share in shares] == [2, 2, 1]


@pytest.mark.parametrize(("count", "ranks"), [(5, 3), (6, 3), (2, 4), (3, 1)])
def test_padding_evens_out_ranks_and_repeats_no_video(count: int, ranks: int) -> None:
    padded = PaddedVideos(ProceduralVideos(range(count)), ranks)
    shares = [VideoSampler(padded, rank, ranks) for rank in range(ranks)]
    assert {len(share) for share in shares} == {-(-count // ranks)}
    steps = [[padded[index] for index in share] for share in shares]
    names = [video.name for step in steps for video in step if video is not None]
    assert sorted(names) == [f"procedural-{seed}" for seed in range(count)]
    assert all(step[0] is not None for step in steps[:count]), "whoever has videos has them first"


def _folder(root: Path, name: str, broken: bool) -> FrameFolder:
    for index in range(2):
        path = root / name / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        Picture.new("RGB", (16, 16)).save(path)
        mask = root / f"{name}-masks" / f"{index}.png"
        mask.parent.mkdir(exist_ok=True)
        write_labels(mask, np.ones((16, 16), dtype=np.uint8))
    video = FrameFolder(root / name, root / f"{name}-masks")
    if broken:
        path.write_bytes(path.read_bytes()[:-9])
    return video


@pytest.mark.filterwarnings("ignore:skipped a training sample")
def test_broken_samples_of_workers_are_counted(tmp_path: Path) -> None:
    videos = [_folder(tmp_path, name, name == "a") for name in "abcdef"]
    clips = VideoClips(videos, 2, (16, 16), allowed_corruption=0.5)
    data = VideoDataModule(train=clips, batch_size=2, num_workers=2)
    assert data.broken == 0
    names = [name for batch in data.train_dataloader() for name in batch.names]
    assert len(names) == 6
    assert "a" not in names
    assert data.broken >= 1


def test_what_is_not_configured_is_named() -> None:
    data = VideoDataModule()
    assert data.val_dataloader() == []
    assert data.broken == 0
    for stage in ("train", "test", "predict"):
        with pytest.raises(InputError, match=f"data.{stage}"):
            getattr(data, f"{stage}_dataloader")()


def _configured(name: str, *options: str) -> VideoDataModule:
    parser = ArgumentParser(parser_mode="omegaconf+")
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(LightningDataModule, "data")
    path = Path(__file__).parents[2] / "configs" / "data" / f"{name}.yaml"
    module = parser.instantiate(parser.parse_args([f"--config={path}", *options])).data
    assert isinstance(module, VideoDataModule)
    return module


def test_the_procedural_configuration() -> None:
    size = "--data.init_args.validate.init_args.size=[64,96]"
    data = _configured("procedural", size, "--data.init_args.num_workers=0")
    assert isinstance(data.train, ProceduralClips)
    assert data.train.sample(0, 0).frames.shape[:3] == (1, data.train.length, 3)
    assert data.test is not None
    assert data.validate is not None
    assert data.predict is not None
    assert [video.size for video in data.test] == [(64, 96)] * 3
    assert [video.name for video in data.predict] == [video.name for video in data.test]
    assert not {v.name for v in data.validate} & {v.name for v in data.test}


def test_the_davis_configuration(tmp_path: Path) -> None:
    data = _configured("davis", f"--data.init_args.test.init_args.root={tmp_path}")
    for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader):
        with pytest.raises(InputError, match=str(tmp_path)):
            loader()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        VideoDataModule(batch_size=0)
    with pytest.raises(ValueError, match="num_workers"):
        VideoDataModule(num_workers=-1)
    few = VideoDataModule(train=ProceduralClips(clips=3), batch_size=4)
    with pytest.raises(InputError, match="does not fill a batch"):
        few.train_dataloader()


def _names(*names: str) -> list[Video]:
    videos: list[Video] = []
    for name in names:
        video = ArrayVideo(np.zeros((3, 16, 16, 3), np.uint8), np.ones((3, 1, 16, 16), bool))
        video.name = name
        videos.append(video)
    return videos


class _Few(Videos):
    def __init__(self, *names: str) -> None:
        self.videos = _names(*names)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Video:
        return self.videos[index]


@pytest.mark.parametrize(
    ("given", "use"),
    [
        ({"held_out": ("cows", "libby")}, "held out"),
        ({"validate": _Few("cows")}, "validated on"),
        ({"test": _Few("swan", "cows")}, "tested on"),
    ],
)
def test_a_training_never_sees_what_it_is_tested_on(given: dict[str, Any], use: str) -> None:
    clips = MixedClips(
        {
            "a": VideoClips(_Few("bear", "bus")),
            "b": VideoClips(_names("boat", "cows"), 2, (16, 16)),
        }
    )
    module = VideoDataModule(train=clips, **given)
    with pytest.raises(InputError, match=f"cows would be trained on and {use}"):
        module.setup("fit")
    module.setup("test")
    VideoDataModule(train=VideoClips(_Few("bear", "bus")), **given).setup("fit")


def test_data_that_a_training_does_not_need_may_be_missing(tmp_path: Path) -> None:
    test = Davis(tmp_path / "nowhere")
    VideoDataModule(train=VideoClips(_Few("bear")), test=test).setup("fit")
