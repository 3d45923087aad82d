"""Clips from shards: every sample once, the broken ones replaced, and on from any place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import Generator
from sharded import cut_off, damage, save_shards, squares

from vosfm.data.drawer import ClipDrawer
from vosfm.data.shards import shard_clips
from vosfm.data.shards.index import ShardIndex
from vosfm.data.shards.loader import ShardLoader
from vosfm.data.shards.reading import Stream
from vosfm.data.shards.sample import Packed
from vosfm.data.shards.shard_clips import ShardClips
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.types import Clip

COUNTS = (5, 7, 1, 9, 6)
"""Samples of the shards; 28 in all."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    root = tmp_path_factory.mktemp("shards") / "whole"
    return save_shards(root, squares(sum(COUNTS)), COUNTS)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    """Four samples are broken: two neighbours, one alone, and one at which a shard is cut off."""
    root = tmp_path_factory.mktemp("shards") / "damaged"
    index = save_shards(root, squares(sum(COUNTS)), COUNTS)
    for shard, place in ((0, 3), (3, 4), (3, 5)):
        damage(index, shard, place)
    cut_off(index, 4)
    return index


BROKEN = {"v03", "v17", "v18", "v27"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "skipped a training sample")
        yield


def _clips(index: ShardIndex, **more: Any) -> ShardClips:
    options = {"buffer": 4, "spares": 0.3, "allowed_corruption": 0.5, **more}
    return ShardClips(index.root, ClipDrawer(2, (16, 16), 1), **options)


def _loader(index: ShardIndex, workers: int = 0, batch: int = 2, **more: Any) -> ShardLoader:
    places = {name: more.pop(name) for name in ("rank", "ranks") if name in more}
    return ShardLoader(_clips(index, **more), batch, workers, **places)


def _told(batches: Iterator[Clip] | ShardLoader) -> list[tuple[tuple[str, ...], float]]:
    """What can be compared: which samples, and which pixels of them."""
    return [(b.names, float((b.frames.sum() + b.masks.sum()).double())) for b in batches]


def _names(told: list[tuple[tuple[str, ...], float]]) -> list[str]:
    return [name for names, _ in told for name in names]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_all_ranks_together_see_every_sample_once(whole: ShardIndex, ranks: int) -> None:
    loaders = [_loader(whole, rank=rank, ranks=ranks, spares=0) for rank in range(ranks)]
    for epoch in range(3):
        seen = [_names(_told(loader)) for loader in loaders]
        assert {len(names) for names in seen} == {2 * len(loaders[0])}
        together = [name for names in seen for name in names]
        assert len(set(together)) == len(together)
        left_out = loaders[0].schedule.epoch(epoch).left_out
        assert set(together) == {f"v{n:02d}" for n in range(28)} - {f"v{n:02d}" for n in left_out}


def test_epochs_differ_and_runs_do_not(whole: ShardIndex) -> None:
    first, other = _loader(whole), _loader(whole)
    epochs = [_told(first) for _ in range(3)]
    assert epochs == [_told(other) for _ in range(3)]
    assert len({tuple(_names(told)) for told in epochs}) == 3
    assert _told(_loader(whole, seed=1)) != epochs[0]


def test_a_clip_depends_on_epoch_and_sample_alone(whole: ShardIndex) -> None:
    def pixels(**options: Any) -> dict[str, torch.Tensor]:
        loader = _loader(whole, batch=1, spares=0, **options)
        return {batch.names[0]: batch.frames for batch in loader}

    one, other = pixels(), pixels(buffer=20, rank=1, ranks=2)
    assert len(other) == 14
    for name, frames in other.items():
        assert torch.equal(frames, one[name])


def test_lightning_names_the_epoch_behind_the_iterator(whole: ShardIndex) -> None:
    loader = _loader(whole)
    epochs = [_told(loader) for _ in range(3)]
    fresh = _loader(whole)
    batches = iter(fresh)
    fresh.sampler.set_epoch(2)
    assert _told(batches) == epochs[2]
    # An epoch that is broken off does not reach into the next.
    loader.set_epoch(0)
    assert _told(islice(loader, 3)) == epochs[0][:3]
    loader.set_epoch(1)
    assert _told(loader) == epochs[1]


def test_workers_take_turns(whole: ShardIndex) -> None:
    """Batch b is of worker b mod W, also where there are more workers than batches."""
    for workers, batch in ((2, 2), (2, 20)):
        loader = _loader(whole, workers, batch, spares=0)
        for epoch in range(2):
            told = _told(loader)
            assert len(told) == len(loader) == 28 // batch
            for worker in range(workers):
                part = loader.schedule.epoch(epoch).part(0, worker, workers)
                expected = [f"v{n:02d}" for n in part.numbers[part.order(4)]]
                assert _names(told[worker::workers]) == expected
        loader.close()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_rest_is_the_same_wherever_it_is_broken_off(damaged: ShardIndex, workers: int) -> None:
    unbroken = _loader(damaged, workers)
    states = [unbroken.state_dict()]
    told = []
    for _ in range(2):
        for batch in unbroken:
            told += _told(iter([batch]))
            states.append(unbroken.state_dict())
    assert len(told) == 2 * len(unbroken) == 18
    assert not BROKEN & set(_names(told))
    unbroken.close()
    # One loader is enough: nothing of what it did before may matter.
    resumed = _loader(damaged, workers)
    for cut, state in enumerate(states[:-1]):
        resumed.load_state_dict(state)
        assert _told(resumed) == told[cut : len(unbroken) * (1 + cut // len(unbroken))], cut
    resumed.load_state_dict(states[5])
    assert _told(resumed) + _told(resumed) == told[5:]
    assert resumed.state_dict() == states[-1]
    resumed.close()


def test_one_worker_is_as_none(damaged: ShardIndex) -> None:
    alone, other = _loader(damaged), _loader(damaged, 1)
    assert _told(alone) == _told(other)
    other.close()


def test_a_state_is_plain_and_says_how_much_was_broken(damaged: ShardIndex, tmp_path: Path) -> None:
    loader = _loader(damaged, spares=0.25)
    unread = BROKEN & {f"v{n:02d}" for n in loader.schedule.epoch(0).left_out}
    _told(loader)
    torch.save(loader.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    (own,) = state["progress"]
    broken = len(BROKEN - unread)
    assert broken
    assert own["broken"] == broken == loader.clips.corruption.broken
    assert own == {
        "epoch": 1,
        "step": 0,
        "named": None,
        "spared": [0],
        "drawn": 2 * len(loader) + broken,
        "broken": broken,
    }
    fresh = _loader(damaged, spares=0.25)
    fresh.load_state_dict(state)
    assert fresh.clips.corruption.broken == broken
    assert fresh.clips.corruption.drawn == own["drawn"]


def test_only_what_the_buffer_held_is_read_again(
    whole: ShardIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Counted(Stream):
        def __next__(self) -> Packed:
            found = super().__next__()
            read.append(found.key)
            return found

    monkeypatch.setattr(shard_clips, "stream", Counted)
    loader = _loader(whole, spares=0)
    batches = iter(loader)
    before = _names(_told(islice(batches, 8)))
    assert len(read) == 16 + 4 - 1, "the buffer is 4 long, of which one was taken last"
    held = set(read) - set(before)
    state = loader.state_dict()
    read.clear()
    resumed = _loader(whole, spares=0)
    resumed.load_state_dict(state)
    after = _names(_told(islice(resumed, 1)))
    assert held <= set(read)
    assert len(read) == len(held) + 2
    assert not set(read) & set(before)
    assert len(after) == 2


class _Blind(ClipDrawer):
    """Sees nothing of some videos, and of others only at the third look."""

    def draw(self, video: Video, rng: Generator) -> Clip | None:
        self.looks = getattr(self, "looks", {})
        self.looks[video.name] = self.looks.get(video.name, 0) + 1
        hidden = video.name == "v20" or (video.name == "v21" and self.looks[video.name] < 3)
        return None if hidden else super().draw(video, rng)


def test_a_sample_is_looked_at_several_times_and_then_replaced(whole: ShardIndex) -> None:
    loader = _loader(whole, batch=1)
    drawer = _Blind(2, (16, 16), 1)
    loader.clips.drawer = drawer
    with pytest.warns(UserWarning, match="v20: none of 8 draws showed an object"):
        names = _names(_told(loader))
    assert len(names) == len(loader)
    assert "v20" not in names
    assert "v21" in names
    assert drawer.looks["v20"] == 8
    assert drawer.looks["v21"] == 3
    assert loader.state_dict()["progress"][0]["broken"] == 1


def test_too_many_broken_samples_are_refused(whole: ShardIndex, tmp_path: Path) -> None:
    index = save_shards(tmp_path / "bad", squares(8), (8,))
    for place in (1, 2, 5):
        damage(index, 0, place)
    few = _loader(index, batch=1, spares=1 / 8)
    with pytest.raises(InputError, match=r"used up its 1 spare samples of epoch 0.*raise .*spares"):
        _told(few)
    strict = _loader(index, batch=1, spares=0.5, allowed_corruption=0.001)
    with pytest.raises(InputError, match=r"more than the allowed share of 0\.001"):
        _told(strict)
    (tmp_path / "bad" / "shard-000000.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000000\.tar"):
        _told(_loader(index, batch=1))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ranks", 1, r"processes .* 2, now 1"),
        ("workers", 2, r"data.num_workers 1, now 2"),
        ("batch", 1, r"data.batch_size 2, now 1"),
        ("buffer", 9, r"data.train buffer 4, now 9"),
        ("seed", 3, r"data.train seed 0, now 3"),
        ("spares", 0.1, r"samples spared by data.train spares 9, now 3"),
        ("index", 0, r"other shards; go on with those"),
    ],
)
def test_other_terms_are_refused(
    whole: ShardIndex, tmp_path: Path, name: str, value: Any, told: str
) -> None:
    terms: dict[str, Any] = {"rank": 0, "ranks": 2}
    state = _loader(whole, **terms).state_dict()
    if name == "index":
        whole = save_shards(tmp_path / "other", squares(29)[1:], COUNTS)
    else:
        terms[name] = value
    with pytest.raises(InputError, match=told):
        _loader(whole, **terms).load_state_dict(state)


def test_ranks_find_their_own_progress(whole: ShardIndex) -> None:
    loaders = [_loader(whole, rank=rank, ranks=2) for rank in range(2)]
    told = [_told(islice(loader, 2)) for loader in loaders]
    states = [loader.state_dict() for loader in loaders]
    gathered = {**states[0], "progress": [state["progress"][0] for state in states]}
    rest = [_told(loader) for loader in loaders]
    for rank in range(2):
        fresh = _loader(whole, rank=rank, ranks=2)
        fresh.load_state_dict(gathered)
        assert _told(fresh) == rest[rank]
    assert not set(_names(told[0] + rest[0])) & set(_names(told[1] + rest[1]))


def test_the_model_draws_as_it_would_without_a_loader(whole: ShardIndex) -> None:
    state = torch.get_rng_state()
    _told(_loader(whole))
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_arguments(whole: ShardIndex, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="buffer"):
        ShardClips(whole.root, buffer=0)
    with pytest.raises(ValueError, match="spares"):
        ShardClips(whole.root, spares=1.0)
    with pytest.raises(InputError, match=str(tmp_path)):
        _ = ShardClips(str(tmp_path / "nowhere")).index
    with pytest.raises(InputError, match="hold 28 samples"):
        _loader(whole, batch=28)
    assert np.array_equal(_clips(whole).schedule(1, 4).counts, COUNTS)
