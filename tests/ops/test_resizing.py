"""Sizes that networks accept."""

from __future__ import annotations

import pytest
import torch

from vosfm.ops.resizing import fit, prepare, resize, resize_masks, restore, show_layout, shrink
from vosfm.types import Geometry


@pytest.mark.parametrize(
    ("source", "corners", "edge", "prepared"),
    [
        ((97, 129), True, 1040, (97, 129)),
        ((480, 854), True, 1040, (481, 849)),
        ((480, 854), False, 1040, (480, 848)),
        ((1080, 1920), True, 1040, (577, 1041)),
        ((1920, 1080), True, None, (1921, 1073)),
        ((3, 200), True, 1040, (17, 193)),
    ],
)
def test_fit(
    source: tuple[int, int], corners: bool, edge: int | None, prepared: tuple[int, int]
) -> None:
    geometry = fit(source, 16, corners, edge)
    assert geometry.prepared == geometry.content == prepared
    assert all(side % 16 == int(corners) for side in geometry.prepared)


def test_masks_get_no_new_values() -> None:
    masks = torch.rand(1, 2, 9, 9) > 0.5
    resized = resize_masks(masks, (20, 13))
    assert resized.dtype == torch.bool
    labels = torch.randint(0, 7, (1, 1, 9, 9), dtype=torch.uint8)
    assert set(resize_masks(labels, (20, 13)).unique().tolist()) <= set(labels.unique().tolist())


def test_padding_goes_and_comes() -> None:
    geometry = Geometry(source=(5, 7), content=(10, 14), prepared=(16, 16))
    masks = torch.rand(1, 1, 5, 7) > 0.5
    padded = prepare(masks, geometry)
    assert padded.shape[-2:] == (16, 16)
    assert not padded[..., 10:, :].any()
    assert not padded[..., 14:].any()
    assert prepare(padded, geometry) is padded
    back = restore(padded.float(), geometry)
    assert torch.equal(back > 0.5, masks)


def test_nothing_is_done_where_nothing_is_to_do() -> None:
    maps = torch.rand(1, 1, 4, 4)
    assert resize(maps, (4, 4)) is maps


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_view_of_one_sample_keeps_its_layout(batch: int, channels: int) -> None:
    plain = torch.rand(batch, channels, 6, 10)
    maps = plain.contiguous(memory_format=torch.channels_last)
    view = maps.unflatten(0, (batch, 1)).flatten(0, 1)
    assert show_layout(view).stride() == maps.stride() or channels == 1
    assert torch.equal(show_layout(view), plain)
    for size, change in (((12, 20), resize), ((3, 5), shrink)):
        changed = change(view, size)
        assert changed.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(changed, change(plain, size))
    assert show_layout(plain).stride() == plain.stride()
    assert shrink(maps, (6, 10)) is maps
