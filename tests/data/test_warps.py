"""Random warps: images and masks move together, within the ranges that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from shots import disagreement, disks, offset

from vosfm.data.thin_plate import Field
from vosfm.data.transforms import Matrix, Shot
from vosfm.data.warps import BalancedCrop, RandomWarp, StillWarp, Warp

SIZE = (60, 80)
WARPS = (
    RandomWarp(),
    RandomWarp(interpolation="cubic"),
    StillWarp(fill=(0, 0, 0)),
    StillWarp(interpolation="linear", fill=None),
    StillWarp(deform=1.0, fill=(0, 0, 0)),
    StillWarp(interpolation="linear", deform=1.0, fill=None),
    BalancedCrop(short_edge=120, fill=(0, 0, 0)),
    BalancedCrop(short_edge=None, interpolation="linear", fill=None),
)


@pytest.mark.parametrize("draw", WARPS)
@pytest.mark.parametrize("size", [SIZE, (120, 160), (37, 91), (200, 300)])
def test_masks_stay_with_the_image(draw: Warp, size: tuple[int, int]) -> None:
    for seed in range(10):
        shot = draw(disks(), size, np.random.default_rng(seed))
        assert shot.frames[0].shape == (*size, 3)
        assert shot.masks.shape == (3, 3, *size)
        assert disagreement(shot) < 0.45
        # What a border cuts has its middle elsewhere in the smooth image and in the hard mask.
        assert offset(shot) < (0.25 if isinstance(draw, RandomWarp) else 0.6)


def test_the_crop_stays_in_the_frame_and_drifts() -> None:
    still = RandomWarp(rotation=0, shear=0, drift=0)
    moving = RandomWarp(rotation=0, shear=0, drift=0.2)
    for seed in range(20):
        matrices = still.draw(disks(length=4), SIZE, np.random.default_rng(seed))
        assert all(np.array_equal(m, matrices[0]) for m in matrices)
        back = np.linalg.inv(np.vstack([matrices[0], [0, 0, 1]]))
        corners = back @ np.array([[0, 80, 0, 80], [0, 0, 60, 60], [1, 1, 1, 1]])
        assert corners[:2].min() > -1e-6
        assert corners[0].max() < 160 + 1e-6
        assert corners[1].max() < 120 + 1e-6
        first, *_, last = moving.draw(disks(length=4), SIZE, np.random.default_rng(seed))
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


def test_a_still_moves_within_its_ranges() -> None:
    draw = StillWarp(rotation=20, shift=0.1, scale=(0.9, 1.1), shear=0, area=(1, 1), aspect=(1, 1))
    mirrored = 0
    for seed in range(60):
        first, *others = draw.draw(disks(length=4), SIZE, np.random.default_rng(seed))
        # The whole picture at half its size, mirrored or not.
        assert abs(first[0, 0]) == pytest.approx(0.5)
        np.testing.assert_allclose(first @ [80, 60, 1], [40, 30])
        for other in others:
            linear = other[:, :2] @ np.linalg.inv(first[:, :2])
            mirrored += np.linalg.det(linear) < 0
            if np.linalg.det(linear) < 0:
                linear = linear @ np.diag([-1, 1])
            angle, growth = _turn(linear)
            assert abs(angle) <= np.radians(20) + 1e-9
            assert 0.9 <= growth <= 1.1
            moved = other @ [80, 60, 1] - [40, 30]
            assert abs(moved[0]) <= 8 + 1e-9
            assert abs(moved[1]) <= 6 + 1e-9
        assert len({tuple(other.ravel()) for other in others}) == 3
    assert 0.2 < mirrored / 180 < 0.4


def test_some_of_the_later_frames_are_bent() -> None:
    straight, bent = StillWarp(), StillWarp(deform=0.33)
    count = 0
    for seed in range(100):
        fields = bent.draw_fields(4, SIZE, np.random.default_rng(seed))
        assert fields[0] is None
        count += sum(field is not None for field in fields)
    assert 0.25 < count / 300 < 0.41
    seed = next(
        s
        for s in range(9)
        if [f is None for f in _fields_after_draw(bent, s)] == [True, True, False]
    )
    shots = [draw(disks(), SIZE, np.random.default_rng(seed)) for draw in (straight, bent)]
    same = [np.array_equal(a, b) for a, b in zip(shots[0].masks, shots[1].masks, strict=True)]
    assert same == [True, True, False]


def _fields_after_draw(draw: StillWarp, seed: int) -> list[Field | None]:
    rng = np.random.default_rng(seed)
    return draw.draw_fields(len(draw.draw(disks(), SIZE, rng)), SIZE, rng)


def _window(matrix: Matrix, size: tuple[int, int]) -> NDArray[np.float64]:
    """Corners (x, y) of the source that a map shows, the lower and the upper one."""
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    corners = back @ np.array([[0, size[1]], [0, size[0]], [1, 1]])
    return np.sort(corners[:2], axis=1).T


def test_a_balanced_crop_shows_objects_at_the_scale_asked_for() -> None:
    shot = disks(240, 640, count=1)  # a small object in a wide frame
    shot = Shot(shot.frames, shot.masks & (np.arange(640) < 200))
    draw = BalancedCrop(scale=(0.8, 1.25), short_edge=120, pixels=40, tries=50, flip=0.5)
    scales = []
    for seed in range(60):
        matrices = draw.draw(shot, SIZE, np.random.default_rng(seed))
        assert all(np.array_equal(matrix, matrices[0]) for matrix in matrices)
        lower, upper = _window(matrices[0], SIZE)
        assert lower.min() > -1e-6
        assert np.all(upper < np.array([640, 240]) + 1e-6)
        scales.append(abs(matrices[0][0, 0]))
        assert draw(shot, SIZE, np.random.default_rng(seed)).masks[0].sum() > 25
    assert 0.4 <= min(scales) < 0.45
    assert 0.57 < max(scales) <= 0.625
    anywhere = BalancedCrop(scale=(0.8, 1.25), short_edge=120, pixels=0)
    empty = [not anywhere(shot, SIZE, np.random.default_rng(s)).masks.any() for s in range(40)]
    assert sum(empty) > 8


def test_a_crop_larger_than_the_frame_is_filled() -> None:
    shot = BalancedCrop(scale=(0.5, 0.5), short_edge=None)(
        disks(), (120, 160), np.random.default_rng(0)
    )
    assert not shot.masks[..., :29, :].any()
    assert (shot.frames[0][:29, :39] == [124, 116, 104]).all()
    assert shot.masks[..., 30:90, 40:120].sum() == shot.masks.sum()


def test_bad_arguments() -> None:
    for kind in (RandomWarp, StillWarp):
        with pytest.raises(ValueError, match="area"):
            kind(area=(0.5, 1.5))
    with pytest.raises(ValueError, match="deform"):
        StillWarp(deform=1.5)
    with pytest.raises(ValueError, match="fold"):
        StillWarp(bend=0.2)
    with pytest.raises(ValueError, match="nearest"):
        RandomWarp(interpolation="nearest")
    with pytest.raises(ValueError, match="scale"):
        BalancedCrop(scale=(1.3, 0.7))
    with pytest.raises(ValueError, match="tries"):
        BalancedCrop(tries=0)
