"""Many overlapping tracks at once, in a memory that the user bounds."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from models import video

import vosfm
from vosfm import InputError, Tracker
from vosfm.memory.footprint import footprint

SMALL = {"memory": {"banks": {"temporal": {"interval": 1, "capacity": 2}}}}


def rings(count: int, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Discs and the larger discs around them: parts and wholes, all overlapping."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    places = np.random.default_rng(0).uniform(0.2, 0.8, (count, 2)) * size
    return {
        i + 1: np.hypot(rows - y, columns - x) < 6 + 12 * (i % 2) for i, (y, x) in enumerate(places)
    }


def test_a_limit_is_kept_before_it_is_reached() -> None:
    segmenter = vosfm.build("mmpm_tiny", **SMALL)
    frames = video(4)
    tracker = Tracker(segmenter, exclusive=False)
    prompts = {0: rings(3, (64, 96))}
    foreseen = 0
    for frame in frames:
        tracker.step(frame, prompts.pop(tracker.time, None))
        assert tracker.state is not None
        foreseen = foreseen or footprint(segmenter.memory, tracker.state.banks)
    assert footprint(segmenter.memory, tracker.state.banks) == foreseen
    held = sum(
        leaf.nbytes
        for contents in tracker.state.banks.values()
        for leaf in (*contents.rows.values(), *contents.shared.values())
    )
    assert held == foreseen
    prompts = {0: rings(3, (64, 96))}
    assert (
        len(list(Tracker(segmenter, exclusive=False, memory_limit=foreseen).track(frames, prompts)))
        == 4
    )
    tight = Tracker(segmenter, exclusive=False, memory_limit=foreseen - 1)
    with pytest.raises(InputError, match=r"frame 0: the memory of 3 objects takes .* MiB"):
        list(tight.track(frames, prompts))
    with pytest.raises(InputError, match="memory_limit is 0"):
        Tracker(segmenter, memory_limit=0)


def test_tracks_that_overlap_do_not_know_of_each_other_in_decoding() -> None:
    """As many as there are, a track that nobody overlaps has the masks it has alone."""
    segmenter = vosfm.build("mmpm_tiny", **SMALL, mask_encoder={"chunk": 2}, decoder={"chunk": 2})
    masks = rings(5, (64, 96))
    results = list(Tracker(segmenter, exclusive=False).track(video(3), {0: masks}))
    assert all(result.masks.shape == (5, 64, 96) for result in results)
    assert (results[0].masks == np.stack(list(masks.values()))).all()


_MEASURE = """
import json, resource, sys
sys.path.insert(0, "tests")
import torch
torch.set_num_threads(1)
from models import video
from test_many_objects import rings
import vosfm
size = (128, 224)
segmenter = vosfm.fuse(vosfm.build("mmpm_tiny", memory={"banks": {"temporal": {"interval": 1}}}))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def run(count, limit=None):
    tracker = vosfm.Tracker(segmenter, exclusive=False, memory_limit=limit)
    for result in tracker.track(video(12, size), {0: rings(count, size)}):
        assert result.masks.shape == (count, *size)
run(1)
before = peak()
run(200, int(sys.argv[1]))
print(json.dumps(peak() - before))
"""


_TREE = """
import json, resource, sys
sys.path.insert(0, "tests")
import torch
torch.set_num_threads(1)
from models import video
from test_many_objects import rings
import vosfm
from vosfm.search import MemoryTree
size = (128, 128)
segmenter = vosfm.build("sam2_1_tiny_long", encoder={"image_size": 128})
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def run(count, limit=None):
    search = MemoryTree(uncertainty_threshold=1e6)
    tracker = vosfm.Tracker(segmenter, search, exclusive=False, memory_limit=limit)
    for result in tracker.track(video(10, size), {0: rings(count, size)}):
        assert result.masks.shape == (count, *size)
    return tracker.state.objects.count
run(1)
before = peak()
rows = run(60, int(sys.argv[1]))
print(json.dumps([rows, peak() - before]))
"""


@pytest.mark.slow
def test_sixty_trees_within_a_bound() -> None:
    limit = 32 * 2**20
    run = subprocess.run([sys.executable, "-c", _TREE, str(limit)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    rows, grown = json.loads(run.stdout)
    assert rows == 60 * 3, "all pathways should have parted"
    # The banks, the banks again while a new entry is copied in, what is decoded and waits.
    assert grown < 2 * limit + 300 * 2**20


@pytest.mark.slow
def test_two_hundred_tracks_within_a_bound() -> None:
    limit = 350 * 2**20
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(limit)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    # The banks, the banks again while a new entry is copied in, and what decoding takes.
    assert json.loads(run.stdout) < 2 * limit + 300 * 2**20
