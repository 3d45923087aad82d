"""How much memory and time a stream takes as it goes on: `python benchmarks/memory.py`.

Every model tracks one moving object through rendered noise, in a process of its own, with fresh
weights, fused. Frames come from a generator, one at a time. Told is the resident memory of the
process around some frames (the median of 21 frames, since the allocator breathes), its growth from
the first of them to the last, and how much longer a frame takes from frame 600 on (or `--late`)
than from frame 100 on (processor time, in the median of 50 frames; both places go on by turns, in
one process).

AOT-L remembers every fifth frame without end, as published; here its memory holds CAPACITY frames.
`--unbounded` adds it as published, to see the difference. Beside the published models there are
small ones, one for every bank with a capacity, on frames of SMALL pixels; their banks are full
before frame 100. Models under a tree of memories, three pathways per object, track three objects;
as pathways part and end, what they hold breathes.
The trend is what a straight line through the memory at all frames from the first to the last mark
gains on the way; the peak is how much the most there ever was grew from the first mark to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vosfm import Segmenter, Tracker
    from vosfm.memory import Memory
    from vosfm.search import Search

SIZE, SMALL, SQUARE = (160, 288), (64, 96), (256, 256)
VALUE = 256  # channels of the small models' values: enough to be seen if entries piled up
MARKS = (200, 1000, 2000)
NEAR = 10  # frames before and after a mark that are measured with it
EARLY, LATE = 100, 600  # frames from which on times are compared
COMPARED = 50  # frames
CAPACITY = 10


def published(name: str, **overrides: Any) -> Callable[[], Segmenter]:
    def make() -> Segmenter:
        import vosfm

        return vosfm.build(name, **overrides)

    return make


def small(remember: Callable[[], Memory]) -> Callable[[], Segmenter]:
    def make() -> Segmenter:
        from vosfm import Segmenter
        from vosfm.decoders import Upsampling
        from vosfm.encoders import TimmPyramid
        from vosfm.mask_encoders import ResNetValues

        memory = remember()
        readouts = memory.reader.widths
        return Segmenter(
            TimmPyramid("test_resnet", 32, align_corners=False),
            ResNetValues(32, VALUE, "test_resnet"),
            memory,
            Upsampling(32, readouts, (32, 48), 16, readouts[1] if readouts[1:] else None),
        )

    return make


def temporal(policy: Any) -> Memory:
    from vosfm.memory import Affinity, Memory, Temporal

    return Memory({"temporal": Temporal(2, capacity=5, policy=policy)}, Affinity(32, 8, VALUE))


def reference() -> Memory:
    from vosfm.memory import Affinity, Memory, Reference

    return Memory({"reference": Reference(5)}, Affinity(32, 8, VALUE, matched=("reference",)))


def sequential() -> Memory:
    from vosfm.memory import Affinity, Memory, Sequential

    reader = Affinity(32, 8, VALUE, matched=(), state="sequential", hidden=8)
    return Memory({"sequential": Sequential(VALUE, 8, 2)}, reader)


def xmem() -> Memory:
    from vosfm.memory import Affinity, LongTerm, Memory, Sensory, Working

    matched = ("long_term", "working")
    return Memory(
        {
            "working": Working(2, capacity=4, keep=2),
            "long_term": LongTerm(8, 64),
            "sensory": Sensory(VALUE, 8, 2),
        },
        Affinity(
            32, 8, VALUE, top_k=20, matched=matched, state="sensory", hidden=8, counted=matched
        ),
        spill={"working": "long_term"},
    )


POLICIES = ("keep_first", "keep_first_last", "fifo", "random", "none")
SMALL_MODELS: dict[str, Callable[[], Segmenter]] = {
    "reference": small(reference),
    **{f"temporal, {policy}": small(partial(temporal, policy)) for policy in POLICIES},
    "sequential": small(sequential),
    "working, long-term and sensory": small(xmem),
}
TRUNK = {"embed_dim": 16, "stages": (1, 1, 2, 1), "global_blocks": (3,)}
TREES: dict[str, Callable[[], Segmenter]] = {
    "sam2_1_tiny_long": published("sam2_1_tiny_long", encoder={"image_size": SQUARE[0]}),
    "sam2_1_tiny_long, small": published(
        "sam2_1_tiny_long", encoder={"image_size": SMALL[0], **TRUNK}
    ),
}
SMALL_MODELS["ddmemory_nano"] = published("ddmemory_nano")
SMALL_MODELS["sam2_1_tiny_long, small"] = TREES["sam2_1_tiny_long, small"]
BOUNDED: dict[str, Any] = {"banks": {"temporal": {"capacity": CAPACITY}}}
MODELS: dict[str, Callable[[], Segmenter]] = {
    "aot_t": published("aot_t"),
    "aot_s": published("aot_s"),
    "aot_b": published("aot_b"),
    "aot_l, bounded": published("aot_l", memory=BOUNDED),
    "aot_l, unbounded": published("aot_l"),
    "ddmemory": published("ddmemory"),
    **TREES,
    **SMALL_MODELS,
}


def search_of(name: str) -> Search | None:
    """The search that a model is tracked with; one that is never certain, so that pathways part."""
    from vosfm.search import MemoryTree

    return MemoryTree(uncertainty_threshold=1e6) if name in TREES else None


def main() -> None:
    """Print a line for every model."""
    parser = argparse.ArgumentParser(description="Tell how memory and time grow with a video.")
    parser.add_argument("--marks", type=int, nargs="+", default=MARKS, help="frames to measure at")
    parser.add_argument("--late", type=int, default=LATE, help="frame whose time is compared")
    parser.add_argument("--models", nargs="+", choices=MODELS, metavar="MODEL", default=None)
    parser.add_argument("--unbounded", action="store_true", help="AOT-L as published, too")
    parser.add_argument("--here", action="store_true", help="one model, in this process, as JSON")
    args = parser.parse_args()
    names = args.models or [n for n in MODELS if args.unbounded or not n.endswith("unbounded")]
    if args.here:
        print(json.dumps(measure(names[0], args.marks, args.late)))
        return
    print("resident memory in MiB")
    for name in names:
        told = in_fresh_process(name, args.marks, args.late)
        levels = ", ".join(f"{told['resident'][str(m)]:.1f} at frame {m}" for m in args.marks)
        print(
            f"{name}: {levels}; {told['growth']:+.2%}, trend {told['trend']:+.2%}, "
            f"peak {told['peak']:+.2%}; "
            f"{told['per_frame']:.1f} ms a frame, "
            f"{told['slowdown']:.2f} times the early ones"
        )


def in_fresh_process(name: str, marks: Sequence[int] = MARKS, late: int = LATE) -> dict[str, Any]:
    """`measure`, in a process that has done nothing else, on one core."""
    command = [sys.executable, __file__, "--here", "--models", name, "--late", str(late)]
    command += ["--marks", *map(str, marks)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{name}: {run.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def measure(name: str, marks: Sequence[int], late: int = LATE) -> dict[str, Any]:
    """Track as many frames as the last mark and the comparison of times need.

    Returns:
        resident: mark -> MiB; growth: from the first mark to the last, relative; trend: likewise,
        of the least-squares line through all frames between; peak: likewise, of the most there
        ever was; per_frame and slowdown: see `compare`.
    """
    import torch

    import vosfm

    torch.manual_seed(0)
    size = SMALL if name in SMALL_MODELS else SQUARE if name in TREES else SIZE
    model, search = vosfm.fuse(MODELS[name]()), search_of(name)
    objects = 3 if name in TREES else 1
    tracker = vosfm.Tracker(model, search)
    levels: dict[int, list[float]] = {mark: [] for mark in marks}
    most: dict[int, float] = {}
    count = max(*marks, late) + NEAR
    between: list[float] = []
    every = 10 if name == "reference" else count
    with TemporaryDirectory() as folder:
        saved = {index: Path(folder) / f"{index}.safetensors" for index in (EARLY, late)}
        for index in range(count):
            if index in saved:
                tracker.save(saved[index])
            _step(tracker, size, index, every, objects)
            if min(marks) <= index <= max(marks):
                between.append(resident())
            for mark, seen in levels.items():
                if abs(index - mark) <= NEAR:
                    seen.append(resident())
            if index in levels:
                most[index] = most_resident()
        resident_at = {mark: median(seen) for mark, seen in levels.items()}
        first, last = resident_at[min(marks)], resident_at[max(marks)]
        slope, begin = (
            np.polynomial.Polynomial.fit(range(len(between)), between, 1).convert().coef[::-1]
        )
        growth = {
            "resident": resident_at,
            "growth": last / first - 1,
            "trend": slope * (len(between) - 1) / begin,
            "peak": most[max(marks)] / most[min(marks)] - 1,
        }
        places = []
        for index, path in saved.items():
            tracker = vosfm.Tracker(model, search)
            tracker.resume(path)
            places.append((index, tracker))
        return {**growth, **compare(places, size, every, objects)}


def compare(
    places: Sequence[tuple[int, Tracker]], size: tuple[int, int], every: int, objects: int
) -> dict[str, float]:
    """Go on from two places of a stream by turns, so that other work disturbs both alike.

    Returns:
        per_frame: ms of processor time at the later place, in the median; slowdown: that time over
        the time at the earlier place, in the median of all pairs of frames.
    """
    pairs = []
    for ahead in range(COMPARED):
        spent = []
        for index, tracker in places:
            begin = time.process_time()
            _step(tracker, size, index + ahead, every, objects)
            spent.append(time.process_time() - begin)
        pairs.append(spent)
    return {
        "per_frame": 1000 * median(late for _, late in pairs),
        "slowdown": median(late / early for early, late in pairs),
    }


def _step(tracker: Tracker, size: tuple[int, int], index: int, every: int, objects: int) -> None:
    """A frame of a stream in which the masks are given every so many frames."""
    given = {}
    if index % every == 0:
        given = {i: where(size, index + 35 * (i - 1)) for i in range(1, objects + 1)}
    tracker.step(frame(size, index), given)


def frame(size: tuple[int, int], index: int) -> NDArray[np.uint8]:
    """Noise that drifts, and before it a patch of other noise that wanders."""
    behind, patch = _noise(size)
    seen: NDArray[np.uint8] = np.where(
        where(size, index)[..., None], patch, np.roll(behind, index, 1)
    )
    return seen


@cache
def _noise(size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    chance = np.random.default_rng(0)
    behind = chance.integers(0, 256, (*size, 3), dtype=np.uint8)
    return behind, chance.integers(0, 128, (*size, 3), dtype=np.uint8)


def where(size: tuple[int, int], index: int) -> NDArray[np.bool_]:
    """(H, W) bool, the patch in a frame: a quarter of each side, on a Lissajous figure."""
    mask = np.zeros(size, bool)
    top, left = (
        int((0.5 + 0.5 * np.sin(index * speed)) * 0.75 * side)
        for speed, side in zip((0.031, 0.047), size, strict=True)
    )
    mask[top : top + size[0] // 4, left : left + size[1] // 4] = True
    return mask


def most_resident() -> float:
    """MiB of this process that ever were in memory at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
