"""What a stream keeps: what its banks promise, and nothing else, however long it lasts."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from models import square, tiny, video
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from vosfm import Segmenter, State, Tracker, augment

BENCHMARK = run_path(str(Path(__file__).parents[1] / "benchmarks" / "memory.py"))
in_fresh_process = BENCHMARK["in_fresh_process"]

PROMPTS = {
    0: {1: square(0, 0), 2: square(30, 40)},
    3: {3: square(36, 70)},
    5: {1: square(10, 10)},
}


@pytest.fixture(params=["plain", "augmented"])
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return tiny() if request.param == "plain" else augment(tiny(), (0.7,), flip=True)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """What is let go of goes at once, not when the collector comes by."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tensors(value: Any) -> list[Tensor]:
    """Every tensor inside a nest of dataclasses, mappings and tuples."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        return [t for f in fields(value) for t in tensors(getattr(value, f.name))]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    if isinstance(value, tuple | list):
        return [t for v in value for t in tensors(v)]
    return []


def storages(value: Any) -> dict[int, StorageWeakRef]:
    """The memory under those tensors, by address, without holding it."""
    under = [tensor.untyped_storage() for tensor in tensors(value)]
    return {storage.data_ptr(): StorageWeakRef(storage) for storage in under}


def test_no_frame_is_held(segmenter: Segmenter) -> None:
    seen: list[weakref.ref[NDArray[np.uint8]]] = []

    def watched(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.append(weakref.ref(frame))
        return frame

    def alive() -> list[int]:
        return [index for index, frame in enumerate(seen) if frame() is not None]

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index in range(8):
            assert not alive(), "an older frame is held when the next one is asked for"
            yield watched(video(1, seed=index)[0])

    for result in Tracker(segmenter).track(frames(), PROMPTS):
        assert not alive(), "a frame is held when its masks are there"
        assert len(seen) == result.frame + 1


def test_of_a_frame_only_what_the_banks_keep_stays(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[int, StorageWeakRef] = {}
    for name in ("encode", "propose", "aggregate"):
        whole = getattr(segmenter, name)

        def watched(*args: Any, whole: Any = whole, **options: Any) -> Any:
            answer = whole(*args, **options)
            made.update(storages(answer))
            return answer

        monkeypatch.setattr(segmenter, name, watched)
    tracker = Tracker(segmenter)
    earlier: dict[int, StorageWeakRef] = {}
    for index, frame in enumerate(video(8)):
        made.clear()
        results = tracker.step(frame, PROMPTS.get(index))
        assert len(made) > 10
        assert tracker.state is not None
        kept = storages(tracker.state)
        left = {address for address, memory in made.items() if not memory.expired()}
        assert left <= set(kept)
        gone = set(earlier) - set(kept)
        assert all(earlier[address].expired() for address in gone)
        assert gone or not index, "the newest frame should have taken the place of the last"
        earlier = kept
        assert results
    assert held(tracker.state) == promised(tracker.state)


def held(state: State | None) -> int:
    """Bytes of memory under the banks."""
    assert state is not None
    under = {
        leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes()
        for contents in state.banks.values()
        for leaf in contents.rows.values()
    }
    return sum(under.values())


def promised(state: State | None) -> int:
    """Bytes of what the banks say they hold."""
    assert state is not None
    rows = [leaf for contents in state.banks.values() for leaf in contents.rows.values()]
    return sum(leaf.numel() * leaf.element_size() for leaf in rows)


SMALL = [name for name in BENCHMARK["SMALL_MODELS"] if name != "ddmemory_nano"]  # goes on longer
NAMES = ["aot_l, bounded", "aot_b", "aot_s", "aot_t", *SMALL]
"""The longest first, so that two processes end at about the same time."""


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    """2,000 frames with each model, in a process of its own."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        told = dict(zip(NAMES, pool.map(in_fresh_process, NAMES), strict=True))
    for name, numbers in told.items():
        print(f"{name}: {numbers}")
    return told


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_video(
    measured: dict[str, dict[str, Any]], name: str
) -> None:
    """Resident memory between frames 200 and 2,000."""
    assert list(measured[name]["resident"]) == ["200", "1000", "2000"]
    assert measured[name]["growth"] <= 0.01


@pytest.mark.slow
def test_a_recurrent_map_costs_the_same_after_2500_frames() -> None:
    """Resident memory from frame 200 on, and time against frame 100 on."""
    for attempt in range(3):
        told = in_fresh_process("ddmemory_nano", marks=[200, 1000, 2500], late=2500)
        print(f"ddmemory_nano: {told}")
        assert told["growth"] <= 0.01
        if told["slowdown"] <= 1.1 or attempt == 2:
            break
    assert told["slowdown"] <= 1.1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_frames_do_not_take_longer_as_the_video_goes_on(
    measured: dict[str, dict[str, Any]], name: str
) -> None:
    """From frame 600 on against from frame 100 on; again where the machine was disturbed."""
    slowdown = measured[name]["slowdown"]
    for _ in range(2):
        if slowdown > 1.2:
            slowdown = in_fresh_process(name, marks=[600])["slowdown"]
    assert slowdown <= 1.2
