"""The benchmark of loading, in miniature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from vosfm.data import write_labels

BENCHMARK = run_path(str(Path(__file__).parents[1] / "benchmarks" / "loader.py"))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """As many as before: the benchmark takes one."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


def test_rendered_videos(capsys: pytest.CaptureFixture[str]) -> None:
    BENCHMARK["main"](
        ["--clips", "1", "--turns", "1", "--size", "48", "64", "--tracks", "8", "--trains", "50"]
    )
    told = capsys.readouterr().out
    assert "1 samples of 10 frames, 48 x 64" in told
    for pair in ("MUG-VOS / ours", "XMem / ours", "one by one / ours", "ours / decode"):
        assert len(re.findall(rf"time of {pair}: \d+\.\d\d", told)) == 2
    clips, cores = re.findall(r"50 clips/s: 50 / ([\d.]+) = ([\d.]+)", told)[0]
    assert float(cores) == pytest.approx(50 / float(clips), abs=0.06)


def test_all_ways_make_clips_of_the_same_kind(tmp_path: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "video").mkdir(parents=True)
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 10:70] = 1
    for index in range(10):
        name = f"video/{index:05d}"
        Picture.new("RGB", (80, 60), (100, 150, 200)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_labels(tmp_path / "Annotations" / f"{name}.png", labels)
    args = BENCHMARK["argparse"].Namespace(root=tmp_path, format=None, split=None, clips=2)
    samples = list(BENCHMARK["packed"](args))
    assert len(samples) == 2
    plain = BENCHMARK["Plain"](samples[0])
    for way, more in (("pillow", ()), ("pillow", ((640, 1080),)), ("one_by_one", ())):
        frames, masks = BENCHMARK[way](plain, 3, 1, np.random.default_rng(0), *more)
        assert frames.shape == (3, 3, 384, 384)
        assert frames.dtype == torch.float32
        assert masks.shape == (3, 1, 384, 384)
        assert masks.dtype == torch.bool
        assert 0.15 < masks.float().mean() < 1
        # The colors are those of the pictures, but for the jitter.
        inside = frames.permute(1, 0, 2, 3)[:, masks[:, 0]].mean(dim=1)
        assert torch.allclose(inside, torch.tensor([100, 150, 200]) / 255, atol=0.15)
