"""Masks of everything, beside segment_anything's own automatic mask generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sams import SIDE, frame, ours, scattered
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from torchvision.ops import box_iou, masks_to_boxes

from vosfm.collect.grid import Grid, centres
from vosfm.collect.prompted_sam import PromptedSam
from vosfm.collect.prompting import Candidates, PromptedSegmenter
from vosfm.data.video import Image, Mask

POINTS = 12


@pytest.fixture(scope="module")
def sam() -> Sam:
    return scattered()


@pytest.fixture(scope="module")
def prompted(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> PromptedSam:
    return PromptedSam(ours(sam, tmp_path_factory.mktemp("sam")))


@pytest.mark.parametrize("size", [(48, SIDE), (SIDE, 50)])
@pytest.mark.parametrize(
    ("quality", "stability", "overlap"),
    [(0.01, 0.01, 0.7), (0.36, 0.2, 0.9), (0.45, 0.01, 0.9), (0.01, 0.3, 0.95)],
)
def test_equals_segment_anything(
    sam: Sam,
    prompted: PromptedSam,
    size: tuple[int, int],
    quality: float,
    stability: float,
    overlap: float,
) -> None:
    """The same masks, in the same order."""
    generator = SamAutomaticMaskGenerator(
        sam,
        points_per_side=POINTS,
        pred_iou_thresh=quality,
        stability_score_thresh=stability,
        stability_score_offset=0.2,
        box_nms_thresh=overlap,
    )
    theirs = [mask["segmentation"] for mask in generator.generate(frame(*size))]
    grid = Grid(prompted, POINTS, quality, stability, 0.2, overlap)
    found = grid.propose(frame(*size))
    assert found.dtype == np.bool_
    assert np.array_equal(found, np.stack(theirs))
    assert len(found) > 2


def test_its_defaults_are_theirs(sam: Sam, prompted: PromptedSam) -> None:
    theirs, grid = SamAutomaticMaskGenerator(sam), Grid(prompted)
    assert grid.points_per_side == round(len(theirs.point_grids[0]) ** 0.5)
    assert (grid.quality, grid.stability, grid.offset, grid.overlap) == (
        theirs.pred_iou_thresh,
        theirs.stability_score_thresh,
        theirs.stability_score_offset,
        theirs.box_nms_thresh,
    )
    np.testing.assert_allclose(
        centres(32, (48, SIDE)), theirs.point_grids[0] * (SIDE, 48), rtol=1e-6
    )


class Disks(PromptedSegmenter):
    """Finds the disk around a point; the nearer to the left it lies, the better it thinks of it."""

    def look(self, image: Image, frame: int) -> None:
        self.size = image.shape[:2]

    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        y, x = np.mgrid[: self.size[0], : self.size[1]]
        masks = [np.hypot(x - px, y - py) < 3 for ((px, py),) in points]
        quality = 1 - points[:, :, 0] / 1000
        return Candidates(np.stack(masks)[:, None], quality, self.stability(points))

    def stability(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones((len(points), 1), np.float32)


def propose(segmenter: PromptedSegmenter, **arguments: Any) -> Mask:
    return Grid(segmenter, **arguments).propose(np.zeros((40, 60, 3), np.uint8))


def test_the_best_are_first_and_cover_the_image() -> None:
    found = propose(Disks(), points_per_side=10, quality=0.0)
    assert len(found) == 100
    assert list(found.argmax(2).max(1)) == sorted(found.argmax(2).max(1))
    assert found.any(0).mean() > 0.8


def test_of_what_is_alike_the_best_stays() -> None:
    found = propose(Disks(), points_per_side=30, quality=0.0, overlap=0.2)
    boxes = masks_to_boxes(torch.from_numpy(found))
    shared = box_iou(boxes, boxes).fill_diagonal_(0)
    assert 20 < len(found) < 200
    assert float(shared.max()) <= 0.2
    assert found[0, :, :5].any(), "the one on the very left"
    assert len(propose(Disks(), points_per_side=30, quality=0.0, overlap=0.99)) > 800


def test_nothing_found() -> None:
    class Nothing(Disks):
        def stability(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.zeros((len(points), 1), np.float32)

    assert propose(Nothing(), points_per_side=3).shape == (0, 40, 60)


def test_no_points() -> None:
    with pytest.raises(ValueError, match="points_per_side is 0"):
        Grid(Disks(), points_per_side=0)
