"""Augmentation: images and masks stay together, overlaps survive, one draw per clip."""

from __future__ import annotations

import numpy as np
import pytest

from vosfm.data.transforms import ColorJitter, RandomWarp, Shot, resize, warp

SIZE = (60, 80)


def _disks(height: int = 120, width: int = 160, count: int = 3, length: int = 3) -> Shot:
    """Overlapping disks; mask k is where the image's channel k is bright."""
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.stack(
        [
            np.hypot(x - width * (0.35 + 0.12 * k), y - height * (0.6 - 0.1 * k)) < height / 4
            for k in range(count)
        ]
    )
    frame = np.moveaxis(masks[:3] * np.uint8(255), 0, -1).copy()
    return Shot((frame,) * length, np.stack([masks] * length))


def _disagreement(shot: Shot) -> float:
    """Share of pixels where mask and image disagree, per pixel of outline."""
    bright = np.moveaxis(np.stack(shot.frames), -1, 1) > 127
    edges = (shot.masks[..., 1:] != shot.masks[..., :-1]).sum()
    return float((bright != shot.masks).sum() / edges)


def _shift(shot: Shot) -> float:
    """Largest distance between the middles of a mask and of its bright pixels."""
    bright = np.moveaxis(np.stack(shot.frames), -1, 1) > 127
    middles = [
        [np.argwhere(m).mean(axis=0) for m in pair]
        for pair in zip(
            bright.reshape(-1, *bright.shape[2:]), np.concatenate(shot.masks), strict=True
        )
        if pair[0].sum() > 100
    ]
    return max(float(np.linalg.norm(a - b)) for a, b in middles)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("size", [SIZE, (120, 160), (37, 91), (200, 300)])
def test_masks_stay_with_the_image(interpolation: str, size: tuple[int, int]) -> None:
    draw = RandomWarp(interpolation=interpolation)
    for seed in range(10):
        shot = draw(_disks(), size, np.random.default_rng(seed))
        assert shot.frames[0].shape == (*size, 3)
        assert shot.masks.shape == (3, 3, *size)
        assert _disagreement(shot) < 0.45
        assert _shift(shot) < 0.25


def test_a_strong_reduction_does_not_shift_or_alias() -> None:
    shot = _disks(960, 1280, length=1)
    small = resize(shot, (60, 80))
    assert _disagreement(small) < 0.35
    assert _shift(small) < 0.1
    speckle = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8)
    gray = resize(Shot((speckle,), shot.masks), (60, 80)).frames[0]
    assert gray.std() < 12


def test_the_identity_changes_nothing() -> None:
    shot = _disks()
    same = resize(shot, (120, 160))
    np.testing.assert_array_equal(np.stack(same.frames), np.stack(shot.frames))
    np.testing.assert_array_equal(same.masks, shot.masks)


def test_a_flip_by_whole_pixels_is_exact() -> None:
    shot = _disks()
    flip = np.array([[-1.0, 0.0, 160.0], [0.0, 1.0, 0.0]])
    flipped = warp(shot, [flip] * 3, (120, 160))
    np.testing.assert_array_equal(flipped.masks, shot.masks[..., ::-1])
    np.testing.assert_array_equal(flipped.frames[0], shot.frames[0][:, ::-1])


def test_overlaps_survive_for_many_objects() -> None:
    shot = _disks(count=11)
    assert np.any(shot.masks.sum(axis=1) > 2)
    void = np.zeros((3, 120, 160), dtype=np.bool_)
    void[:, :60] = True
    result = resize(Shot(shot.frames, shot.masks, void), SIZE)
    assert result.void is not None
    np.testing.assert_array_equal(result.void[0], np.arange(60)[:, None] < 30 + np.zeros(80))
    for k in range(11):
        alone = resize(Shot(shot.frames, shot.masks[:, k : k + 1]), SIZE)
        np.testing.assert_array_equal(result.masks[:, k], alone.masks[:, 0])
        assert alone.masks[0].mean() == pytest.approx(shot.masks[0, k].mean(), rel=0.05)


def test_no_objects() -> None:
    shot = _disks()
    empty = resize(Shot(shot.frames, shot.masks[:, :0]), SIZE)
    assert empty.masks.shape == (3, 0, *SIZE)
    assert empty.void is None


def test_the_crop_stays_in_the_frame_and_drifts() -> None:
    still = RandomWarp(rotation=0, shear=0, drift=0)
    moving = RandomWarp(rotation=0, shear=0, drift=0.2)
    for seed in range(20):
        matrices = still.draw((120, 160), SIZE, 4, np.random.default_rng(seed))
        assert all(np.array_equal(m, matrices[0]) for m in matrices)
        back = np.linalg.inv(np.vstack([matrices[0], [0, 0, 1]]))
        corners = back @ np.array([[0, 80, 0, 80], [0, 0, 60, 60], [1, 1, 1, 1]])
        assert corners[:2].min() > -1e-6
        assert corners[0].max() < 160 + 1e-6
        assert corners[1].max() < 120 + 1e-6
        first, *_, last = moving.draw((120, 160), SIZE, 4, np.random.default_rng(seed))
        np.testing.assert_array_equal(first, matrices[0])
        middle = np.linalg.solve(first[:, :2], np.array([40, 30]) - first[:, 2])
        moved = last @ [*middle, 1] - [40, 30]
        assert 0 < np.abs(moved).max() < 25
        angle, growth = _turn(last[:, :2] @ np.linalg.inv(first[:, :2]))
        # The aspect of the crop, 1.33 at most, tilts the angle a little.
        assert 0 < abs(angle) < 1.4 * 0.2 * np.pi / 2
        assert 0.8 < growth < 1.25
        assert growth != 1


def _turn(linear: np.ndarray) -> tuple[float, float]:
    """Angle and growth of a map that turns and grows."""
    angle = np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
    return float(angle), float(np.sqrt(np.linalg.det(linear)))


def test_colors_change_alike_in_all_frames_and_masks_not() -> None:
    shot = _disks()
    shifted = ColorJitter(0.4, 0.4, 0.4, 0.1, 0)(shot, np.random.default_rng(0))
    assert not np.array_equal(shifted.frames[0], shot.frames[0])
    for frame in shifted.frames[1:]:
        np.testing.assert_array_equal(frame, shifted.frames[0])
    assert shifted.masks is shot.masks
    same = ColorJitter(0, 0, 0, 0, 0)(shot, np.random.default_rng(0)).frames[0]
    assert np.abs(same.astype(int) - shot.frames[0]).max() <= 1
    gray = ColorJitter(0, 0, 0, 0, 1)(shot, np.random.default_rng(0)).frames[0].astype(int)
    assert np.ptp(gray, axis=2).max() <= 1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="area"):
        RandomWarp(area=(0.5, 1.5))
    with pytest.raises(ValueError, match="nearest"):
        RandomWarp(interpolation="nearest")
