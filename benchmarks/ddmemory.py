"""What DDMemory's global memory costs: `python benchmarks/ddmemory.py --threads 1`.

AOT-B, DDMemory and forms of it see every frame one after the other, in one process, with fresh
weights, fused. The whole stream is timed as in `aot.py`. Told is, for each of them, the processor
time of a frame (the median over the frames from WARM on; one number that says little elsewhere),
and its ratio to AOT-B's (the median of the ratios of single frames): what a reader of the reference
and the last frame pays for looking at one more map, and for moving it on.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import torch
from aot import Ours, video

import vosfm

WARM = 2  # frames: the given one, and the first that is tracked
FORMS: dict[str, dict[str, Any]] = {
    "as in the config": {},
    "keys alone": {"follows": "key"},
    "values alone": {"follows": "value"},
    "one unit for all layers": {"place": "all_layers"},
    "before the layers": {"place": "before_layers", "feed": "delayed"},
    "one group of channels": {"groups": 1},
    "kernel 1": {"kernel": 1},
    "kernel 5": {"kernel": 5},
    "dense": {"separable": False},
    "dense, one group": {"separable": False, "groups": 1},
    "dense, one group, values alone": {"separable": False, "groups": 1, "follows": "value"},
}
"""Changes to the global bank."""
STILL = "a map that never moves"
"""The last line: nothing is fed, so that what is left is the price of looking at it."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time DDMemory beside AOT-B.")
    parser.add_argument("--forms", nargs="*", choices=FORMS, metavar="FORM", default=list(FORMS))
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--objects", type=int, choices=range(1, 11), default=3, metavar="N")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    runs = {"aot_b": Ours(vosfm.build("aot_b"))}
    for form, changes in FORMS.items():
        if form in args.forms:
            spill = None if "feed" in changes else {"local": "global"}
            memory = {"banks": {"global": changes}, "spill": spill}
            runs[f"ddmemory, {form}"] = Ours(vosfm.build("ddmemory", memory=memory))
    still = Ours(vosfm.build("ddmemory"))
    still.tracker.segmenter.memory.spill.clear()
    runs[f"ddmemory, {STILL}"] = still
    frames, labels = video(args.frames, tuple(args.size), args.objects)
    for index, frame in enumerate(frames):
        for run in runs.values():
            run.step(frame, None if index else labels)
    height, width = args.size
    print(f"{height}x{width}, threads: {args.threads}, {args.frames} frames")
    first = runs["aot_b"].clock.processor[WARM:]
    for name, run in runs.items():
        spent = run.clock.processor[WARM:]
        ratio = median(ours / theirs for ours, theirs in zip(spent, first, strict=True))
        print(f"{name:40} {1000 * median(spent):6.0f} ms a frame  {ratio:5.3f} times AOT-B")


if __name__ == "__main__":
    main()
