"""J, F and their statistics: the official tool's numbers, the plain definition, the edge cases."""

from math import ceil, hypot

import goldens
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vosfm.metrics.functional import (
    boundaries,
    boundary_f,
    decay,
    jaccard,
    recall,
    region_and_boundary,
    stability,
    tolerance_radius,
)

Mask = NDArray[np.bool_]


def plain_f(pred: Mask, target: Mask, tolerance: float = 0.008) -> float:
    """F by its words: every boundary pixel against every other, over the full frame."""
    height, width = pred.shape
    radius = tolerance if tolerance >= 1 else ceil(tolerance * hypot(height, width))
    edges = [np.argwhere(plain_boundaries(mask)) for mask in (pred, target)]
    if not len(edges[0]) or not len(edges[1]):
        return float(len(edges[0]) == len(edges[1]))
    squared = ((edges[0][:, None] - edges[1][None]) ** 2).sum(axis=-1) <= radius**2
    precision, found = squared.any(axis=1).mean(), squared.any(axis=0).mean()
    return 2 * precision * found / (precision + found) if precision + found else 0.0


def plain_boundaries(mask: Mask) -> Mask:
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (1, 1)):
                other = mask[min(y + dy, height - 1), min(x + dx, width - 1)]
                edge[y, x] |= mask[y, x] != other
    return edge


def blobs(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A few ellipses anywhere, cut off by the frame, with some noise; at times nothing or all."""
    kind = rng.integers(12)
    if kind < 2:
        return np.full((height, width), bool(kind))
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(-3, height + 3), rng.uniform(-3, width + 3)
        ry, rx = rng.uniform(0.5, height / 2), rng.uniform(0.5, width / 2)
        mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    if kind == 2:
        mask ^= rng.random(mask.shape) < 0.02
    return mask


def unpacked(bits: torch.Tensor, height: int, width: int) -> Mask:
    flat = np.unpackbits(bits.numpy(), axis=-1)[..., : height * width]
    return flat.reshape(*bits.shape[:-1], height, width).astype(bool)


@pytest.mark.parametrize("name", ["davis_frame_metrics", "davis_480p_pair"])
def test_equals_the_davis_tool(name: str) -> None:
    golden = goldens.load(name)
    height, width = golden.hyper["H"], golden.hyper["W"]
    pred = torch.from_numpy(unpacked(golden.inputs["pred"], height, width))
    target = torch.from_numpy(unpacked(golden.inputs["gt"], height, width))
    golden.check("j", jaccard(pred, target))
    golden.check("f", boundary_f(pred, target))
    if "void" in golden.inputs:
        void = torch.from_numpy(unpacked(golden.inputs["void"], height, width))
        golden.check("j_void", jaccard(pred, target, void))
        golden.check("f_void", boundary_f(pred, target, void))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 40, 103, 256, 257, 300])
def test_statistics_equal_the_davis_tool(length: int) -> None:
    golden = goldens.load("davis_statistics")
    scores = golden.inputs[f"v.{length}"]
    ours = torch.stack([scores.mean(), recall(scores), decay(scores, official=True)])
    golden.check(f"mrd.{length}", ours)


def test_decay_is_right_where_the_davis_tool_wraps_around() -> None:
    for length in (255, 256, 300, 1100):
        falling = np.linspace(1, 0, length)
        assert decay(falling) == pytest.approx(0.75, abs=2 / length)
    assert np.isnan(decay(np.linspace(1, 0, 300), official=True))
    assert decay(np.linspace(1, 0, 1100), official=True) < 0.1


def test_bins_share_their_end_points() -> None:
    scores = np.array([1.0, 0.5, 0.25, 0.5, 0.0])
    assert decay(scores) == (1.0 + 0.5) / 2 - (0.5 + 0.0) / 2
    assert decay(scores, bins=2) == (1.0 + 0.5 + 0.25) / 3 - (0.25 + 0.5 + 0.0) / 3
    assert decay(scores, bins=1) == 0
    with pytest.raises(ValueError, match="bins"):
        decay(scores, bins=0)


def test_recall_asks_for_more_than_the_threshold() -> None:
    assert recall(np.array([0.5, 0.5 + 1e-12])) == 0.5
    assert recall(np.array([0.5, 0.9]), threshold=0.8) == 0.5


def test_stability_is_the_deviation_over_time() -> None:
    scores = np.array([[0.2, 0.4, 0.6], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(stability(scores), [np.sqrt(0.08 / 3), 0])
    np.testing.assert_allclose(stability(scores, official=True), [np.sqrt(0.0267), 0])


@pytest.mark.parametrize("measure", [recall, decay, stability])
def test_statistics_without_frames_are_nan(measure) -> None:
    assert np.isnan(measure(np.empty((2, 0)))).all()


@pytest.mark.parametrize("seed", range(60))
def test_f_equals_its_plain_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 60)), int(rng.integers(1, 60))
    pred, target = blobs(rng, height, width), blobs(rng, height, width)
    tolerance = float(rng.choice([0, 0.008, 0.03, 0.3, 1, 5, 90]))
    np.testing.assert_array_equal(boundaries(pred), plain_boundaries(pred))
    ours = boundary_f(pred, target, tolerance=tolerance)
    assert ours == pytest.approx(plain_f(pred, target, tolerance), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_measures_are_symmetric_and_follow_the_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pred, target = blobs(rng, 40, 50), blobs(rng, 40, 50)
    there, back = region_and_boundary(pred, target), region_and_boundary(target, pred)
    np.testing.assert_allclose(there, back, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(there, (jaccard(pred, target), boundary_f(pred, target)))
    np.testing.assert_array_equal(region_and_boundary(pred, pred), (1, 1))
    np.testing.assert_allclose(region_and_boundary(pred.T, target.T), there, rtol=0, atol=1e-15)
    canvas = np.zeros((2, 300, 320), dtype=bool)
    for top, left in ((1, 1), (7, 9), (150, 201)):
        canvas[:] = False
        canvas[:, top : top + 40, left : left + 50] = pred, target
        j, f = region_and_boundary(*canvas, tolerance=3)
        assert j == there[0]
        assert f == pytest.approx(plain_f(*np.pad((pred, target), ((0, 0), (1, 1), (1, 1))), 3))


def test_tolerance_is_a_disk() -> None:
    pred, target = np.zeros((2, 41, 41), dtype=bool)
    pred[20, 20] = True
    for dy, dx, near in ((5, 0, 1), (3, 4, 1), (4, 4, 0), (-4, 3, 1), (-5, -1, 0), (6, 0, 0)):
        target[:] = False
        target[20 + dy, 20 + dx] = True
        # Either boundary is four pixels; with no overlap in the tolerance none is matched.
        expected = plain_f(pred, target, 5)
        assert boundary_f(pred, target, tolerance=5) == pytest.approx(expected, abs=1e-15)
        assert (expected == 1) == bool(near)


@pytest.mark.parametrize(
    ("size", "radius"), [((480, 854), 8), ((240, 432), 4), ((600, 800), 8), ((1, 1), 1)]
)
def test_tolerance_rounds_up_to_pixels(size: tuple[int, int], radius: int) -> None:
    assert tolerance_radius(*size) == radius


@pytest.mark.parametrize("tolerance", [-0.1, 1.5])
def test_refuses_a_tolerance_between_pixels(tolerance: float) -> None:
    mask = np.ones((4, 4), dtype=bool)
    with pytest.raises(ValueError, match="tolerance"):
        boundary_f(mask, mask, tolerance=tolerance)


def test_answers_in_kind_and_shape() -> None:
    masks = np.random.default_rng(0).random((2, 3, 8, 9)) < 0.5
    for measure in (jaccard, boundary_f):
        array, tensor = measure(masks, masks), measure(*[torch.from_numpy(masks)] * 2)
        assert isinstance(array, np.ndarray)
        assert isinstance(tensor, torch.Tensor)
        assert array.shape == tensor.shape == (2, 3)
        assert array.dtype == np.float64
        assert tensor.dtype == torch.float64
        assert measure(masks[0, 0], masks[0, 0]).shape == ()
        assert measure(masks[:0], masks[:0]).shape == (0, 3)
        np.testing.assert_array_equal(measure(masks[..., ::2], masks[..., ::2]), 1)
    assert isinstance(boundaries(torch.from_numpy(masks)), torch.Tensor)
    scores = torch.rand(2, 7)
    for statistic in (recall, decay, stability):
        assert statistic(scores).shape == (2,)
        assert statistic(scores.numpy()).dtype == np.float64


def test_void_counts_for_nothing() -> None:
    pred, target, void = np.zeros((3, 20, 20), dtype=bool)
    pred[5:15, 5:15] = True
    target[5:15, 5:10] = True
    void[:, 10:] = True
    assert jaccard(pred, target) == 0.5
    assert region_and_boundary(pred, target, void) == (1, 1)
    assert (boundary_f(np.stack([pred] * 2), np.stack([target] * 2), void) == 1).all()


def test_refuses_what_is_not_a_pair_of_masks() -> None:
    mask = np.ones((4, 4), dtype=bool)
    for measure in (jaccard, boundary_f, region_and_boundary):
        with pytest.raises(TypeError, match="threshold"):
            measure(mask.astype(np.float32), mask)
        with pytest.raises(ValueError, match="equal"):
            measure(mask, mask[:3])
        with pytest.raises(ValueError, match="void"):
            measure(mask, mask, mask[:3])
        with pytest.raises(ValueError, match="H, W"):
            measure(mask[0], mask[0])
