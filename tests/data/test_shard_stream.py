"""Shards under Lightning: which epoch it is, and on from every checkpoint."""

from __future__ import annotations

from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from sharded import damage, save_shards, squares

from vosfm.data import ClipDrawer, ProceduralVideos, ShardClips, ShardStream
from vosfm.data.shards.index import ShardIndex
from vosfm.errors import InputError
from vosfm.types import Clip

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    """Ten samples in three shards, one of them broken."""
    index = save_shards(tmp_path_factory.mktemp("stream") / "shards", squares(10), (4, 3, 3))
    damage(index, 1, 1)
    return index


def _module(index: ShardIndex, **more: Any) -> ShardStream:
    clips = ShardClips(
        index.root, ClipDrawer(2, (16, 16), 1), buffer=3, spares=0.2, allowed_corruption=0.5
    )
    return ShardStream(clips, **{"batch_size": 2, "num_workers": 0, **more})


class _Listener(LightningModule):
    """Notes the names of every batch, and learns something."""

    def __init__(self, schedules: bool) -> None:
        super().__init__()
        self.schedules = schedules
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, int, tuple[str, ...], float]] = []

    def training_step(self, clip: Clip, index: int) -> torch.Tensor:
        loss = (self.weight - clip.images.mean()).square().sum()
        self.seen.append((self.current_epoch, index, clip.names, float(loss.detach())))
        return loss

    def validation_step(self, video: Any, index: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.schedules:
            # Lightning makes the loader then, before it reads what a checkpoint says of it.
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _fit(
    data: ShardStream, folder: Path, path: Path | None = None, schedules: bool = True, **more: Any
) -> _Listener:
    listener = _Listener(schedules)
    when = {"every_n_train_steps": 1} if "limit_val_batches" in more else {}
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[
            ModelCheckpoint(folder, "{epoch}-{step}", save_top_k=-1, save_last=False, **when)
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **more,
    )
    trainer.fit(listener, data, ckpt_path=path, weights_only=True)
    return listener


@pytest.mark.parametrize(
    ("limits", "validate", "schedules"),
    [
        ({"max_epochs": 3}, False, True),
        ({"max_epochs": 3}, True, True),
        ({"max_epochs": -1, "max_steps": 11}, False, False),
        ({"max_epochs": -1, "max_steps": 11}, True, False),
        ({"max_epochs": -1, "max_steps": 11}, True, True),
    ],
)
def test_a_training_goes_on_from_every_checkpoint(
    index: ShardIndex, tmp_path: Path, limits: dict[str, int], validate: bool, schedules: bool
) -> None:
    """Of every step; and where a validation ends an epoch, of every epoch."""
    videos = ProceduralVideos((1,), 2, (16, 16)) if validate else None
    more: dict[str, Any] = {**limits, "schedules": schedules}
    if not validate:
        more["limit_val_batches"] = 0
    seen = _fit(_module(index, validate=videos), tmp_path / "all", **more).seen
    steps = 4
    assert [(epoch, at) for epoch, at, *_ in seen] == [divmod(n, steps) for n in range(len(seen))]
    assert len(seen) == (11 if "max_steps" in limits else 12)
    for epoch in range(2):
        names = [name for at, _, names, _ in seen if at == epoch for name in names]
        assert len(set(names)) == 8
        assert "v05" not in names
    saved = sorted((tmp_path / "all").glob("*.ckpt"))
    assert len(saved) >= (2 if validate else len(seen))
    for path in saved:
        step = torch.load(path, weights_only=True)["global_step"]
        rest = _fit(_module(index, validate=videos), tmp_path / path.stem, path, **more).seen
        assert rest == seen[step:], path.stem
    # And from those of a training that had gone on itself.
    for path in sorted((tmp_path / saved[0].stem).glob("*.ckpt")):
        step = torch.load(path, weights_only=True)["global_step"]
        rest = _fit(_module(index, validate=videos), tmp_path / "again", path, **more).seen
        assert rest == seen[step:], f"{saved[0].stem}, {path.stem}"


def test_an_epoch_that_lightning_cuts_short_is_left(index: ShardIndex, tmp_path: Path) -> None:
    whole = _fit(_module(index), tmp_path / "whole", max_epochs=2, limit_val_batches=0).seen
    short = {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 0}
    seen = _fit(_module(index), tmp_path / "short", **short).seen
    assert [names for *_, names, _ in seen] == [names for _, at, names, _ in whole if at < 3]


def test_workers_of_a_training_end_with_it(index: ShardIndex, tmp_path: Path) -> None:
    data = _module(index, num_workers=2)
    assert data.state_dict() == {}
    loader = data.train_dataloader()
    batches = iter(loader)
    next(batches)
    workers = active_children()
    assert len(workers) == 2
    assert all(worker.is_alive() for worker in workers)
    data.teardown("fit")
    assert not any(worker.is_alive() for worker in workers)


def test_broken_samples_are_told(index: ShardIndex) -> None:
    data = _module(index)
    assert data.broken == 0
    loader = data.train_dataloader()
    for _ in range(3):
        assert len(list(loader)) == len(loader) == 4
    assert data.broken >= 1
    assert ShardStream().broken == 0


def test_a_training_never_sees_what_it_is_tested_on(index: ShardIndex) -> None:
    with pytest.raises(InputError, match="v03 would be trained on and held out"):
        _module(index, held_out=("v03", "w03")).setup("fit")
    _module(index, held_out=("w03",)).setup("fit")
    _module(index, held_out=("v03",)).setup("test")
    ShardStream().setup("fit")


def test_a_state_is_taken_before_and_after_the_loader_is_made(index: ShardIndex) -> None:
    data = _module(index)
    batches = iter(data.train_dataloader())
    next(batches)
    state = data.state_dict()
    rest = [batch.names for batch in batches]
    early, late = _module(index), _module(index)
    early.load_state_dict(state)
    loader = late.train_dataloader()
    late.load_state_dict(state)
    assert [b.names for b in early.train_dataloader()] == [b.names for b in loader] == rest
    other = _module(index, batch_size=1)
    other.load_state_dict(state)
    with pytest.raises(InputError, match=r"data\.batch_size 2, now 1"):
        other.train_dataloader()


def test_what_is_not_configured_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.train"):
        ShardStream().train_dataloader()
    with pytest.raises(ValueError, match="num_workers"):
        ShardStream(num_workers=-1)
