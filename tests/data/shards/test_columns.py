"""The masks of one frame as bytes."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from vosfm.data.shards import columns as module
from vosfm.data.shards.columns import Columns
from vosfm.data.video import Annotation
from vosfm.errors import InputError

SIZE = (13, 17)


def note(seed: int) -> Annotation:
    """Overlapping noise, an empty mask among it."""
    rng = np.random.default_rng(seed)
    masks = rng.random((4, *SIZE)) > rng.random((4, 1, 1))
    masks[2] = False
    return Annotation((7, 1, 3, 254), masks, rng.random(SIZE) > 0.5 if seed % 2 else None)


@pytest.mark.parametrize("seed", range(6))
def test_there_and_back(seed: int) -> None:
    before = note(seed)
    data = Columns.of(before, {7: 0.98765, 254: 1.0}).to_bytes()
    after = Columns.from_bytes(data, SIZE, "it")
    assert after.to_bytes() == data
    assert after.ids == (1, 7, 254)
    assert after.quality == (None, 0.9877, 1.0)
    for row, object_id in enumerate(after.ids):
        mask = before.masks[before.object_ids.index(object_id)]
        np.testing.assert_array_equal(after.mask(row, "it"), mask)
        assert after.areas[row] == mask.sum()
        x, y, width, height = after.boxes[row]
        ys, xs = np.nonzero(mask)
        assert (x, y, x + width, y + height) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    void = after.void("it")
    assert (void is None) == (before.void is None)
    if void is not None:
        np.testing.assert_array_equal(void, before.void)


def test_counts_are_those_of_coco() -> None:
    told = json.loads(zlib.decompress(Columns.of(note(0)).to_bytes()))
    for area, counts, box in zip(told["areas"], told["counts"], told["boxes"], strict=True):
        theirs = {"size": told["size"], "counts": counts}
        assert coco.area(theirs) == area
        assert coco.toBbox(theirs).tolist() == box
    assert told["quality"] is None


def test_a_frame_that_shows_nothing() -> None:
    data = Columns.of(Annotation((1,), np.zeros((1, *SIZE), bool))).to_bytes()
    assert Columns.from_bytes(data, SIZE, "it").ids == ()


@pytest.mark.parametrize("ids", [(0, 1), (1, 255), (3, 3)])
def test_ids_that_no_result_can_have(ids: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"object|twice"):
        Columns.of(Annotation(ids, np.ones((2, *SIZE), bool)))


@pytest.mark.parametrize("quality", [-0.1, 1.1, float("nan")])
def test_qualities_that_are_none(quality: float) -> None:
    with pytest.raises(ValueError, match="object 7: a quality of"):
        Columns.of(note(0), {7: quality})


def packed(**changes: Any) -> bytes:
    told = json.loads(zlib.decompress(Columns.of(note(0), {}).to_bytes()))
    return zlib.compress(json.dumps(told | changes).encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": [20000, 50000]}, "declares a mask of 20000 x 50000 pixels"),
        ({"size": [13, 18]}, "measure .13, 18. but the frame .13, 17."),
        ({"ids": [1, 7]}, "do not fit"),
        ({"ids": [1, 1, 254]}, "do not fit"),
        ({"ids": [1, True, 254]}, "do not fit"),
        ({"ids": [1, 7, 255]}, "do not fit"),
        ({"areas": [1, 2, 222]}, "do not fit"),
        ({"areas": [1, 2, 10**400]}, "do not fit"),
        ({"boxes": [[0, 0, 17, 13], [0, 0, 18, 1], [0, 0, 1, 1]]}, "do not fit"),
        ({"quality": [0.5, float("nan"), 1]}, "do not fit"),
        ({"quality": [0.5, 1.5, 1]}, "do not fit"),
        ({"counts": ["1", "2", ["x"]]}, "do not fit"),
        ({"void": 3}, "do not fit"),
    ],
)
def test_columns_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^it: .*{message}"):
        Columns.from_bytes(packed(**changes), SIZE, "it")


def test_runs_are_checked_when_they_are_decoded() -> None:
    told = Columns.of(note(0))
    runs = list(told.counts)
    runs[0] = runs[1]
    swapped = Columns.from_bytes(packed(counts=runs), SIZE, "it")
    swapped.mask(1, "it")
    with pytest.raises(InputError, match="it, object 1: not of"):
        swapped.mask(0, "it")
    with pytest.raises(InputError, match="it, object 1: its runs have"):
        Columns.from_bytes(packed(counts=["1", *runs[1:]]), SIZE, "it").mask(0, "it")


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(b"[" * (module.MOST_BYTES + 1), 9)
    assert len(bomb) < 100_000
    with pytest.raises(InputError, match="it: inflate to more than 67108864 bytes"):
        Columns.from_bytes(bomb, SIZE, "it")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (packed()[:-5], "cut off"),
        (packed() + b"x", "followed by other bytes"),
        (packed()[:30] + b"\0" + packed()[31:], "damaged"),
        (zlib.compress(b"[" * 100_000), "damaged"),
        (zlib.compress(b"[]"), "no columns"),
        (b"\x80\x04cposix\nsystem\n", "damaged"),
    ],
)
def test_damaged_bytes(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"it: .*{message}"):
        Columns.from_bytes(data, SIZE, "it")
