"""Augmentation: images and masks stay together, overlaps survive, one draw per clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from shots import disagreement, disks, offset

from vosfm.data.transforms import ColorJitter, Shot, View, paste, resize, warp

SIZE = (60, 80)


def test_a_strong_reduction_does_not_shift_or_alias() -> None:
    shot = disks(960, 1280, length=1)
    small = resize(shot, (60, 80))
    assert disagreement(small) < 0.35
    assert offset(small) < 0.1
    speckle = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8)
    gray = resize(Shot((speckle,), shot.masks), (60, 80)).frames[0]
    assert gray.std() < 12


def test_the_identity_changes_nothing() -> None:
    shot = disks()
    same = resize(shot, (120, 160))
    np.testing.assert_array_equal(np.stack(same.frames), np.stack(shot.frames))
    np.testing.assert_array_equal(same.masks, shot.masks)


def test_a_flip_by_whole_pixels_is_exact() -> None:
    shot = disks()
    flip = np.array([[-1.0, 0.0, 160.0], [0.0, 1.0, 0.0]])
    flipped = warp(shot, [flip] * 3, (120, 160))
    np.testing.assert_array_equal(flipped.masks, shot.masks[..., ::-1])
    np.testing.assert_array_equal(flipped.frames[0], shot.frames[0][:, ::-1])


def test_overlaps_survive_for_many_objects() -> None:
    shot = disks(count=11)
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
    shot = disks()
    empty = resize(Shot(shot.frames, shot.masks[:, :0]), SIZE)
    assert empty.masks.shape == (3, 0, *SIZE)
    assert empty.void is None


def test_colors_change_alike_in_all_frames_and_masks_not() -> None:
    shot = disks()
    shifted = ColorJitter(0.4, 0.4, 0.4, 0.1, 0)(shot, np.random.default_rng(0))
    assert not np.array_equal(shifted.frames[0], shot.frames[0])
    for frame in shifted.frames[1:]:
        np.testing.assert_array_equal(frame, shifted.frames[0])
    assert shifted.masks is shot.masks
    same = ColorJitter(0, 0, 0, 0, 0)(shot, np.random.default_rng(0)).frames[0]
    assert np.abs(same.astype(int) - shot.frames[0]).max() <= 1
    gray = ColorJitter(0, 0, 0, 0, 1)(shot, np.random.default_rng(0)).frames[0].astype(int)
    assert np.ptp(gray, axis=2).max() <= 1


def test_colors_of_single_frames() -> None:
    shot = disks()
    apart = ColorJitter(0.4, 0.4, 0.4, 0.1, 0, together=False)(shot, np.random.default_rng(0))
    assert not np.array_equal(apart.frames[0], apart.frames[1])
    assert not np.array_equal(apart.frames[1], apart.frames[2])


@pytest.mark.parametrize("fill", [None, (10, 20, 30)])
def test_a_bend_is_looked_up_in_the_straight_result(fill: tuple[int, int, int] | None) -> None:
    shot = disks(count=9)
    matrix = np.array([[0.4, 0.1, 7.0], [-0.15, 0.5, 12.0]])
    moved = matrix - np.array([[0, 0, 5.0], [0, 0, -3.0]])
    far = np.broadcast_to(np.float32([5, -3]), (*SIZE, 2))
    straight, bent = (
        warp(shot, [m] * 3, SIZE, fill=fill, fields=[None, f, f])
        for m, f in ((moved, None), (matrix, far))
    )
    # Both round the places that they look up, each in its own way.
    assert np.mean(bent.masks[1:] != straight.masks[1:]) < 1e-3
    difference = np.abs(bent.frames[1].astype(int) - straight.frames[1])
    assert np.mean(difference > 8) < 1e-3
    assert not np.array_equal(bent.masks[0], straight.masks[0])


@pytest.mark.parametrize("fill", [None, (10, 20, 30)])
@pytest.mark.parametrize("bent", [False, True])
def test_frames_as_opencv_interpolates_three_channels(
    fill: tuple[int, int, int] | None, bent: bool
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    matrix = np.array([[0.8, 0.1, 7.0], [-0.15, 0.9, 12.0]])
    far = np.random.default_rng(1).normal(size=(*SIZE, 2)).astype(np.float32) if bent else None
    found = View(matrix, SIZE, "linear", fill, far).image(frame)
    forward = matrix + [[0, 0, matrix[k, :2].sum() / 2 - 0.5] for k in (0, 1)]
    border = cv2.BORDER_REFLECT_101 if fill is None else cv2.BORDER_CONSTANT
    given = {"borderMode": border, "borderValue": fill or 0}
    if far is None:
        plain = cv2.warpAffine(frame, forward, SIZE[::-1], flags=cv2.INTER_LINEAR, **given)
    else:
        places = np.stack(np.meshgrid(np.arange(80), np.arange(60)), -1) + far - forward[:, 2]
        x, y = np.moveaxis(places @ np.linalg.inv(forward[:, :2]).T, -1, 0).astype(np.float32)
        plain = cv2.remap(frame, x, y, cv2.INTER_LINEAR, **given)
    # An edge that was mirrored beforehand shifts coordinates, which are rounded elsewhere then.
    difference = np.abs(found.astype(int) - plain)
    assert difference.max() <= (1 if fill is None and not bent else 0)
    assert np.mean(difference > 0) < 1e-3


def test_what_lies_beyond_the_edges() -> None:
    shot = disks()
    away = [np.array([[1.0, 0.0, 100.0], [0.0, 1.0, 0.0]])] * 3
    mirrored = warp(shot, away, (120, 160))
    np.testing.assert_array_equal(mirrored.masks[..., 41:100], mirrored.masks[..., 101:][..., ::-1])
    filled = warp(shot, away, (120, 160), fill=(10, 20, 30))
    assert not filled.masks[..., :100].any()
    np.testing.assert_array_equal(filled.masks[..., 100:], shot.masks[..., :60])
    assert np.unique(filled.frames[0][:, :100].reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_pasted_objects_hide_what_is_behind_them_and_nothing_else() -> None:
    over, under = (
        disks(count=4),
        warp(disks(count=3), [np.array([[1.0, 0, 9], [0, 1.0, 5]])] * 3, (120, 160)),
    )
    void = np.ones((3, 120, 160), bool)
    both = paste(over, Shot(under.frames, under.masks, void))
    front = over.masks.any(axis=1)
    assert np.any(front & under.masks.any(axis=1))
    np.testing.assert_array_equal(both.masks[:, 3:], over.masks)
    np.testing.assert_array_equal(both.masks[:, :3], under.masks & ~front[:, None])
    assert np.any(both.masks[:, 3] & both.masks[:, 4])  # overlaps stay overlaps
    for t in range(3):
        np.testing.assert_array_equal(both.frames[t][front[t]], over.frames[t][front[t]])
        np.testing.assert_array_equal(both.frames[t][~front[t]], under.frames[t][~front[t]])
    np.testing.assert_array_equal(both.void, ~front)
