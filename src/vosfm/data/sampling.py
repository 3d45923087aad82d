"""Which samples a process sees, in which order."""

from __future__ import annotations

from collections.abc import Iterator

from torch import distributed
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from vosfm.data.datasets import Clips, Videos
from vosfm.data.video import Video
from vosfm.types import Clip


def rank_and_ranks(rank: int | None, ranks: int | None) -> tuple[int, int]:
    """Rank and number of ranks, asked of torch.distributed where they are not given (None)."""
    running = distributed.is_available() and distributed.is_initialized()
    if ranks is None:
        ranks = distributed.get_world_size() if running else 1
    if rank is None:
        rank = distributed.get_rank() if running else 0
    return rank, ranks


class ClipSampler(DistributedSampler[Clip]):
    """All clips of an epoch once, shuffled by (seed, epoch), in equal shares per rank.

    The epoch is part of every index that it yields, so workers that outlive an epoch know which
    one they are in. Lightning calls `set_epoch`, and leaves it alone when it distributes.

    Args:
        clips: the dataset.
        seed: of the order.
        rank: of this process; None asks torch.distributed.
        ranks: number of processes; None asks torch.distributed.
    """

    def __init__(
        self, clips: Clips, seed: int = 0, rank: int | None = None, ranks: int | None = None
    ) -> None:
        rank, ranks = rank_and_ranks(rank, ranks)
        super().__init__(clips, num_replicas=ranks, rank=rank, shuffle=True, seed=seed)
        self._clips = clips

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch types it by sample
        """Indices into the endless sequence of epochs."""
        start = self.epoch * len(self._clips)
        return (start + int(index) for index in super().__iter__())  # type: ignore[call-overload]


class PaddedVideos(Dataset[Video | None]):
    """Videos, then nothing, so that every rank takes the same number of steps.

    Args:
        videos: what is padded.
        ranks: number of processes; None asks torch.distributed.
    """

    def __init__(self, videos: Videos, ranks: int | None = None) -> None:
        _, ranks = rank_and_ranks(None, ranks)
        self._videos = videos
        self._steps = range(0, len(videos), ranks)
        self._ranks = ranks

    def __len__(self) -> int:
        """Number of videos, and of places without one."""
        return len(self._steps) * self._ranks

    def __getitem__(self, index: int) -> Video | None:
        """A video, or None behind the last one."""
        return self._videos[index] if index < len(self._videos) else None


class VideoSampler(DistributedSampler[Clip]):
    """Every video once on one rank; torch's own sampler would repeat some to even out the ranks.

    Args:
        videos: the dataset; those of `PaddedVideos` are as many on every rank.
        rank: of this process; None asks torch.distributed.
        ranks: number of processes; None asks torch.distributed.
    """

    def __init__(
        self, videos: Videos | PaddedVideos, rank: int | None = None, ranks: int | None = None
    ) -> None:
        rank, ranks = rank_and_ranks(rank, ranks)
        super().__init__(videos, num_replicas=ranks, rank=rank, shuffle=False)
        self._indices = range(rank, len(videos), ranks)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch types it by sample
        """Indices of this rank's videos."""
        return iter(self._indices)

    def __len__(self) -> int:
        """Number of this rank's videos."""
        return len(self._indices)
