"""What ten objects cost beside one, per frame of AOT-T at 480p."""

from __future__ import annotations

import time

import numpy as np
import torch

import vosfm

SIZE = (480, 854)
FRAMES = 6


def per_frame(segmenter: vosfm.Segmenter, objects: int) -> float:
    """Seconds of the fastest frame after the first."""
    chance = np.random.default_rng(0)
    tracker = vosfm.Tracker(segmenter)
    masks = {}
    for index in range(objects):
        mask = np.zeros(SIZE, bool)
        top, left = 220 * (index // 5), 160 * (index % 5)
        mask[top : top + 200, left : left + 150] = True
        masks[index + 1] = mask
    times = []
    for index in range(FRAMES):
        frame = chance.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        start = time.perf_counter()
        tracker.step(frame, masks if index == 0 else None)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    torch.manual_seed(0)
    segmenter = vosfm.build("aot_t")
    per_frame(segmenter, 1)
    rounds = [(per_frame(segmenter, 1), per_frame(segmenter, 10)) for _ in range(3)]
    one, ten = (min(column) for column in zip(*rounds, strict=True))
    print(f"AOT-T at {SIZE[0]}x{SIZE[1]}: ten objects cost {ten / one:.2f}x one, per frame")


if __name__ == "__main__":
    main()
