"""A synthetic corpus as large as one likes, written and streamed: `python benchmarks/corpus.py`.

Clips of 10 frames with 66 tracks each, as the training set of MUG-VOS has them on average (77,994
clips, 66.3 masks a frame), of moving ellipses of all sizes that overlap, are packed into shards.
Then 8 ranks, one after the other in this process, stream whole epochs of them through the loader
that a training has, and every batch is counted. The run ends with an error unless, in every epoch,
all ranks take the same number of steps, no sample is seen twice by whichever ranks, what is not
seen is the remainder that the schedule tells, and no sample is left out twice before every other
one was once.

What 47 million masks take and how many cores feed a GPU is a projection, printed with its
arithmetic: from bytes of a real mask (`--mask`; ellipses take less), of a picture (`--picture`, kB)
and from clips that a core makes a second (`--clips-per-core`, as `benchmarks/loader.py` measures).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.data import Annotation, ClipDrawer, ShardClips, Video
from vosfm.data.shards.cutting import Cut
from vosfm.data.shards.loader import ShardLoader
from vosfm.data.shards.packing import Packing, pack

FRAMES, TRACKS = 10, 66
CORPUS_CLIPS, CORPUS_MASKS = 77_994, 47_000_000
"""The training set of MUG-VOS (Table 1)."""


class Ellipses(Video):
    """Ellipses that move and overlap, on noise; a function of the seed.

    Args:
        seed: of all chance, and the name.
        size: (H, W) of its frames.
    """

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self.name = f"clip-{seed:06d}"
        self.frame_names = tuple(f"{index:05d}" for index in range(FRAMES))
        self.size = size
        rng = np.random.default_rng(seed)
        extent = np.array([size[1], size[0]])
        self._centers = rng.random((TRACKS, 2)) * extent
        self._moves = rng.normal(scale=0.01, size=(TRACKS, 2)) * extent
        self._axes = np.exp(rng.uniform(np.log(0.02), np.log(0.3), (TRACKS, 2))) * extent
        self._angles = rng.uniform(0, 180, TRACKS)
        self._noise = cv2.resize(
            rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8), size[::-1]
        )

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        for index in range(start, FRAMES):
            yield np.roll(self._noise, index, 1)

    def annotated(self) -> tuple[int, ...]:
        return tuple(range(FRAMES))

    def annotation(self, index: int) -> Annotation:
        masks = np.zeros((TRACKS, *self.size), np.uint8)
        for track, mask in enumerate(masks):
            x, y = self._centers[track] + index * self._moves[track]
            axes = np.maximum(1, self._axes[track] / 2).astype(int).tolist()
            at = int(np.clip(x, 0, self.size[1] - 1)), int(np.clip(y, 0, self.size[0] - 1))
            cv2.ellipse(mask, at, axes, self._angles[track], 0, 360, 1, -1)
        return Annotation(tuple(range(1, TRACKS + 1)), masks.view(np.bool_))

    def prompts(self) -> dict[int, dict[int, NDArray[np.bool_]]]:
        note = self.annotation(0)
        return {0: dict(zip(note.object_ids, note.masks, strict=True))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, stream, count, project."""
    parser = argparse.ArgumentParser(description="Write and stream a synthetic corpus.")
    parser.add_argument("--clips", type=int, default=764, help="of 660 masks each (default: 764)")
    parser.add_argument("--size", type=int, nargs=2, default=(120, 216), metavar=("H", "W"))
    parser.add_argument("--shard", type=int, default=2**21, help="bytes (default: 2 MiB)")
    parser.add_argument("--out", type=Path, help="where to keep it (default: a temporary folder)")
    parser.add_argument("--workers", type=int, default=1, help="that pack (default: 1)")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--picture", type=float, default=97.0, help="kB (default: 97, DAVIS 480p)")
    parser.add_argument(
        "--mask", type=float, default=164.0, help="bytes of a real one (default: 164, SA-V's own)"
    )
    parser.add_argument("--clips-per-core", type=float, default=60.0, help="a second")
    args = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        out = args.out or Path(folder)
        videos = [Ellipses(seed, tuple(args.size)) for seed in range(args.clips)]
        begin = process_time()
        packing = pack(videos, out, Cut(), args.shard, args.workers, origin="ellipses")
        spent = process_time() - begin
        told = packing.summary()
        print(
            f"{told['samples']} clips, {told['masks']:,} masks in {told['shards']} shards of "
            f"{told['bytes'] / 1e6:.0f} MB; {told['bytes_per_mask']:.0f} bytes a mask; packed with "
            f"{told['masks'] / spent:,.0f} masks/s of this process"
        )
        stream(out, packing, args.ranks, args.batch, args.epochs)
        project(args.mask, args.picture, args.clips_per_core)


def stream(out: Path, packing: Packing, ranks: int, batch: int, epochs: int) -> None:
    """Stream epochs by all ranks and check who has seen what.

    Raises:
        SystemExit: if anything was seen twice, or missed, or a rank took other steps.
    """
    entries = {e.key: e for shard in packing.index.shards for e in shard.samples}
    clips = ShardClips(str(out), ClipDrawer(length=1, size=(16, 16), objects=1), spares=0.0)
    loaders = [ShardLoader(clips, batch, rank=rank, ranks=ranks) for rank in range(ranks)]
    left_out: Counter[str] = Counter()
    remainder = loaders[0].schedule.remainder
    begin, drawn = process_time(), 0
    for epoch in range(epochs):
        seen: Counter[str] = Counter()
        masks, shards = [], []
        for rank, loader in enumerate(loaders):
            names = [name for made in loader for name in made.names]
            if len(names) != len(loader) * batch:
                raise SystemExit(f"rank {rank} took {len(names)} samples, not {len(loader)} steps")
            seen.update(names)
            masks.append(sum(entries[name].masks for name in names))
            part = loader.schedule.epoch(epoch).part(rank)
            shards.append(len(np.unique(part.read[:, 0])))
        drawn += sum(seen.values())
        if twice := [name for name, times in seen.items() if times > 1]:
            raise SystemExit(f"epoch {epoch}: seen twice: {twice[:5]}")
        missed = entries.keys() - seen.keys()
        if len(missed) != remainder:
            raise SystemExit(f"epoch {epoch}: {len(missed)} samples missed, not {remainder}")
        left_out.update(missed)
        if left_out and max(left_out.values()) > 1 and len(left_out) < len(entries):
            raise SystemExit(f"epoch {epoch}: left out again before all others were")
        print(
            f"epoch {epoch}: {ranks} ranks x {len(loaders[0])} steps x {batch}: {len(seen)} samples"
            f" once, {len(missed)} left out; masks a rank {min(masks):,} to {max(masks):,}; shards "
            f"a rank {min(shards)} to {max(shards)} of {len(packing.index.shards)}"
        )
    spent = process_time() - begin
    print(f"read, drawn and batched (tiny pictures): {drawn / spent:.0f} clips/s of one core")


def project(mask: float, picture: float, clips_per_core: float) -> None:
    """Tell what the whole corpus would take, with the arithmetic."""
    masks = CORPUS_MASKS * mask / 1e9
    pictures = CORPUS_CLIPS * FRAMES * picture * 1e3 / 1e9
    shards = (masks + pictures) * 1e9 / (256 * 2**20)
    print(
        f"projection: 47,000,000 masks x {mask:g} B = {masks:.1f} GB; {CORPUS_CLIPS:,} clips "
        f"x {FRAMES} frames x {picture:g} kB = {pictures:.1f} GB; together "
        f"{masks + pictures:.0f} GB in {shards:.0f} shards of 256 MiB"
    )
    for trains in (10, 50, 200):
        cores = trains / clips_per_core
        hours = CORPUS_CLIPS / trains / 3600
        print(
            f"a GPU that trains {trains} clips/s: {trains} / {clips_per_core:g} = {cores:.1f} "
            f"cores; an epoch takes {CORPUS_CLIPS:,} / {trains} / 3600 = {hours:.2f} h"
        )


if __name__ == "__main__":
    main()
