"""Reading a memory of keys against the dense formulation.

The dense formulation writes out the similarities (B, N, Q), searches the top 30 along the tokens,
scatters their softmax into an affinity of the same size, and multiplies it with the values of every
object. Peaks are of the resident memory, each taken in a process of its own, less the result.
"""

from __future__ import annotations

import ctypes
import os
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vosfm.ops.affinity import Segment, read

TOKENS = 30 * 54  # of a 480p frame at stride 16
KEY, VALUE, TOP_K = 64, 512, 30
RUNS = 3


def dense(
    query: Tensor, selection: Tensor, key: Tensor, shrinkage: Tensor, value: Tensor
) -> Tensor:
    """Read with the affinity written out.

    Args:
        query: (B, Ck, Q).
        selection: (B, Ck, Q).
        key: (B, Ck, N).
        shrinkage: (B, N).
        value: (B, R, Cv, N).

    Returns:
        (B, R, Cv, Q).
    """
    keys = key.transpose(1, 2)
    squares = keys.square() @ selection
    products = 2 * (keys @ (query * selection))
    constant = (selection * query.square()).sum(1, keepdim=True)
    similarity = (-squares + products - constant) * shrinkage[..., None] / KEY**0.5
    best, places = similarity.topk(TOP_K, 1)
    weights = best.exp_()
    weights /= weights.sum(1, keepdim=True)
    affinity = similarity.zero_().scatter_(1, places, weights)
    return (value.flatten(1, 2) @ affinity).unflatten(1, value.shape[1:3])


def median(function: Callable[[], Tensor]) -> float:
    """Seconds of one call, after one that is not counted."""
    function()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def peak(function: Callable[[], Tensor]) -> float:
    """Megabytes that one call needs beside its arguments and its result (Linux with glibc)."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        # Else freed memory that the process still holds would be used again, unnoticed.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _resident("VmRSS")
        result = function()
        extra = _resident("VmHWM") - before - result.nbytes
        os.write(sink, str(extra).encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answer:
        extra = int(answer.read())
    os.waitpid(child, 0)
    return extra / 2**20


@torch.inference_mode()
def compare(frames: int, objects: int) -> None:
    """Print how much faster and smaller ours is, and the largest difference."""
    torch.manual_seed(0)
    query = torch.randn(1, TOKENS, KEY)
    selection = torch.rand(1, TOKENS, KEY)
    key = torch.randn(1, frames * TOKENS, KEY)
    shrinkage = torch.rand(1, frames * TOKENS) + 1
    value = torch.randn(1, objects, frames * TOKENS, VALUE)
    segment = Segment(key, shrinkage, value)
    # Each formulation gets its own layout: channels first is the dense one's.
    maps = value.transpose(2, 3).contiguous()
    queries, selections, keys = (t.transpose(1, 2).contiguous() for t in (query, selection, key))

    def ours() -> Tensor:
        return read(query, selection, [segment], kind="anisotropic", top_k=TOP_K)[0]

    def reference() -> Tensor:
        return dense(queries, selections, keys, shrinkage, maps)

    theirs_peak, ours_peak = peak(reference), peak(ours)
    error = float((ours() - reference().transpose(2, 3)).abs().max())
    theirs_time, ours_time = median(reference), median(ours)
    print(
        f"{frames} frames, {objects} objects: "
        f"{theirs_time / ours_time:.1f}x faster ({theirs_time:.2f} s, {ours_time:.3f} s), "
        f"{ours_peak / theirs_peak:.2f} of the memory ({theirs_peak:.0f} MB, {ours_peak:.0f} MB), "
        f"largest difference {error:.1e}"
    )


def main() -> None:
    print(f"memory read, 30x54 tokens a frame, top {TOP_K} of all tokens, against dense:")
    compare(frames=20, objects=1)
    compare(frames=10, objects=10)


if __name__ == "__main__":
    main()
