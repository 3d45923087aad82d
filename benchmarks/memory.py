"""How much memory a stream takes as it goes on: `python benchmarks/memory.py`.

Every model tracks one moving object through rendered noise, in a process of its own, with fresh
weights. Frames come from a generator, one at a time. Told is the resident memory of the process
around some frames (the median of 21 frames, since the allocator breathes), and its growth from the
first of them to the last.

AOT-L remembers every fifth frame without end, as published; here its memory holds CAPACITY frames.
`--unbounded` adds it as published, to see the difference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = (160, 288)
MARKS = (200, 1000, 2000)
NEAR = 10  # frames before and after a mark that are measured with it
CAPACITY = 10
BOUNDED: dict[str, Any] = {"memory": {"banks": {"temporal": {"capacity": CAPACITY}}}}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "aot_t": ("aot_t", {}),
    "aot_s": ("aot_s", {}),
    "aot_b": ("aot_b", {}),
    "aot_l, bounded": ("aot_l", BOUNDED),
    "aot_l, unbounded": ("aot_l", {}),
}


def main() -> None:
    """Print a line for every model."""
    parser = argparse.ArgumentParser(description="Tell how memory grows with a video.")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--marks", type=int, nargs="+", default=MARKS, help="frames to measure at")
    parser.add_argument("--models", nargs="+", choices=MODELS, metavar="MODEL", default=None)
    parser.add_argument("--unbounded", action="store_true", help="AOT-L as published, too")
    parser.add_argument("--here", action="store_true", help="one model, in this process, as JSON")
    args = parser.parse_args()
    names = args.models or [n for n in MODELS if args.unbounded or not n.endswith("unbounded")]
    if args.here:
        print(json.dumps(measure(names[0], tuple(args.size), args.marks)))
        return
    print(f"frames of {args.size[0]}x{args.size[1]}; resident memory in MiB")
    for name in names:
        told = in_fresh_process(name, tuple(args.size), args.marks)
        levels = ", ".join(f"{told['resident'][str(m)]:.1f} at frame {m}" for m in args.marks)
        print(f"{name}: {levels}; {told['growth']:+.2%} ({told['per_frame']:.0f} ms a frame)")


def in_fresh_process(name: str, size: tuple[int, int], marks: list[int]) -> dict[str, Any]:
    """`measure`, in a process that has done nothing else."""
    command = [sys.executable, __file__, "--here", "--models", name]
    command += ["--size", *map(str, size), "--marks", *map(str, marks)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{name}: {run.stderr}")
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def measure(name: str, size: tuple[int, int], marks: list[int]) -> dict[str, Any]:
    """Track as many frames as the last mark needs.

    Returns:
        resident: mark -> MiB; growth: from the first mark to the last, relative; per_frame: ms.
    """
    import torch

    import vosfm

    torch.manual_seed(0)
    model, overrides = MODELS[name]
    tracker = vosfm.Tracker(vosfm.build(model, **overrides))
    levels: dict[int, list[float]] = {mark: [] for mark in marks}
    begin = time.perf_counter()
    count = max(marks) + NEAR
    for result in tracker.track(frames(size, count), {0: {1: where(size, 0)}}):
        for mark, seen in levels.items():
            if abs(result.frame - mark) <= NEAR:
                seen.append(resident())
    seconds = time.perf_counter() - begin
    resident_at = {mark: median(seen) for mark, seen in levels.items()}
    first, last = resident_at[min(marks)], resident_at[max(marks)]
    return {
        "resident": resident_at,
        "growth": last / first - 1,
        "per_frame": 1000 * seconds / count,
    }


def frames(size: tuple[int, int], count: int) -> Iterator[NDArray[np.uint8]]:
    """Noise, and before it a patch of other noise that wanders."""
    chance = np.random.default_rng(0)
    behind = chance.integers(0, 256, (*size, 3), dtype=np.uint8)
    patch = chance.integers(0, 128, (*size, 3), dtype=np.uint8)
    for index in range(count):
        yield np.where(where(size, index)[..., None], patch, np.roll(behind, index, 1))


def where(size: tuple[int, int], index: int) -> NDArray[np.bool_]:
    """(H, W) bool, the patch in a frame: a quarter of each side, on a Lissajous figure."""
    mask = np.zeros(size, bool)
    top, left = (
        int((0.5 + 0.5 * np.sin(index * speed)) * 0.75 * side)
        for speed, side in zip((0.031, 0.047), size, strict=True)
    )
    mask[top : top + size[0] // 4, left : left + size[1] // 4] = True
    return mask


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
