"""What a tree of memories costs: SAM 2.1 tiny at 512 pixels, random weights, on one thread.

A frame of the tree is set beside the sum of its parts, timed in the same run, part by part on the
same state: encode + d * (attention + decode + memory encode) with d distinct pathways. Three
pathways that are certain, and so the same, are set beside one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import torch

from vosfm import Tracker, zoo
from vosfm.search import MemoryTree, Search
from vosfm.segmenter import Segmenter
from vosfm.types import When

SIZE = (512, 512)
WARM_UP, ROUNDS = 4, 8


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    segmenter = zoo.build("sam2_1_tiny", encoder={"image_size": SIZE[0]}).eval()
    chance = np.random.default_rng(0)
    frames = [chance.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(WARM_UP)]
    mask = np.zeros(SIZE, bool)
    mask[150:350, 100:380] = True
    searches: dict[str, Search] = {
        "one pathway": MemoryTree(1, uncertainty_threshold=0.0),
        "three, certain": MemoryTree(3, uncertainty_threshold=0.0),
        "three, uncertain": MemoryTree(3, uncertainty_threshold=1e6),
    }
    trackers = {name: Tracker(segmenter, search) for name, search in searches.items()}
    for tracker in trackers.values():
        tracker.step(frames[0], {1: mask})
        for frame in frames[1:]:
            tracker.step(frame)
    times: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        for name, tracker in trackers.items():
            frame = frames[turn % len(frames)]
            distinct = tracker.state.objects.count  # type: ignore[union-attr]
            seconds = timed(partial(tracker.step, frame))
            times.setdefault(f"{name}, d={distinct}", []).append(seconds)
        for name, seconds in parts(segmenter, trackers["one pathway"], frame).items():
            times.setdefault(name, []).append(seconds)
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in middle.items():
        print(f"{name:24s} {seconds * 1e3:8.1f} ms  ({len(times[name])} times)")
    row = middle["attention"] + middle["decode"] + middle["memory encode"]
    for name, seconds in middle.items():
        if "d=" in name:
            distinct = int(name.rpartition("=")[2])
            ratio = seconds / (middle["encode"] + distinct * row)
            print(f"{name}: {ratio:.3f} of the sum of its parts")
    one, three = (middle[f"{name}, d=1"] for name in ("one pathway", "three, certain"))
    print(f"three pathways that are certain: {three / one:.3f} of one")


@torch.inference_mode()
def parts(segmenter: Segmenter, tracker: Tracker, frame: np.ndarray) -> dict[str, float]:
    """Seconds of each part, for one pathway."""
    state = tracker.state
    assert state is not None
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    features = segmenter.encode(image)
    when = When(state.time, False, guidance=state.guidance)
    readout = segmenter.memory.read(state.banks, features, 1, when)
    masks = segmenter.aggregate(segmenter.propose(state, features), size=SIZE)
    return {
        "encode": timed(lambda: segmenter.encode(image)),
        "attention": timed(lambda: segmenter.memory.read(state.banks, features, 1, when)),
        "decode": timed(lambda: segmenter.decoder(features, readout, state.objects)),
        "memory encode": timed(lambda: segmenter.mask_encoder(features, masks, state.objects)),
    }


def timed(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin


if __name__ == "__main__":
    main()
