"""COCO's run-length masks: by hand, and beside pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vosfm.data.rle import MOST_PIXELS, area, compress, decode, encode, runs
from vosfm.errors import InputError

HAND = [
    # 2 x 3, the middle column is 1: runs 2, 2, 2, each one character, 48 + 2.
    ([[0, 1, 0], [0, 1, 0]], [2, 2, 2], "222"),
    # The first pixel is 1: no zeros at first.
    ([[1, 0], [0, 0]], [0, 1, 3], "013"),
    ([[0, 0], [0, 0]], [4], "4"),
    ([[1, 1], [1, 1]], [0, 4], "04"),
    # Columns 01 01 01 down: from the fourth number on, what it is more than two before it: 0.
    ([[0, 0, 0], [1, 1, 1]], [1, 1, 1, 1, 1, 1], "111000"),
]


def mask_of(rows: list[list[int]]) -> NDArray[np.bool_]:
    return np.array(rows, dtype=np.bool_)


@pytest.mark.parametrize(("rows", "lengths", "counts"), HAND)
def test_by_hand(rows: list[list[int]], lengths: list[int], counts: str) -> None:
    mask = mask_of(rows)
    size = list(mask.shape)
    assert encode(mask) == {"size": size, "counts": counts}
    for told in (counts, counts.encode(), lengths):
        assert np.array_equal(decode({"size": size, "counts": told}, "a.json"), mask)
        assert runs({"size": tuple(size), "counts": told}, "a.json").tolist() == lengths
        assert area({"size": size, "counts": told}, "a.json") == mask.sum()


def test_numbers_of_several_pieces_by_hand() -> None:
    """6 is one piece. 40 = 1 * 32 + 8: the pieces 8 (with 32 for more) and 1: "X1". 4 is third.

    From the fourth on differences: 5 - 40 = -35 = -2 * 32 + 29: the pieces 29 + 32 and 30, which is
    -2 in five bits: chr(48 + 61), chr(48 + 30). 15 - 4 = 11 is one piece, but 20 - 4 = 16 would
    read as -16, so that it has two: 16 + 32 and 0.
    """
    assert compress(np.array([6, 40, 4, 5])) == "6X14" + chr(109) + chr(78)
    assert compress(np.array([0, 0, 4, 0, 15])) == "0040" + chr(48 + 11)
    assert compress(np.array([0, 0, 4, 0, 20])) == "0040" + chr(48 + 48) + "0"
    told = {"size": [5, 11], "counts": "6X14mN"}
    assert runs(told, "a.json").tolist() == [6, 40, 4, 5]


def test_as_pycocotools() -> None:
    oracle = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for trial in range(300):
        height, width = rng.integers(1, 70, 2)
        mask = rng.random((height, width)) < (0, 0.03, 0.5, 0.97, 1)[trial % 5]
        if trial % 3 == 0:
            mask = np.zeros((height * 20, width * 20), np.bool_)
            top, left = rng.integers(0, height * 10), rng.integers(0, width * 10)
            mask[top : top + 9 * height, left : left + 7 * width] = True
        theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = encode(mask)
        assert ours["counts"] == theirs["counts"].decode()
        assert np.array_equal(decode(ours, "a.json"), mask)
        assert np.array_equal(oracle.decode(ours) > 0, mask)


def test_a_decoded_mask_lies_in_memory_row_by_row() -> None:
    mask = decode({"size": [2, 3], "counts": "222"}, "a.json")
    assert mask.dtype == np.bool_
    assert mask.flags.c_contiguous
    assert mask.flags.writeable


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        (None, 'needs a "size"'),
        ([1, 2], 'needs a "size"'),
        ({"counts": "4"}, 'needs a "size"'),
        ({"size": [2], "counts": "4"}, 'needs a "size"'),
        ({"size": [2, 2.0], "counts": "4"}, 'needs a "size"'),
        ({"size": [True, 4], "counts": "4"}, 'needs a "size"'),
        ({"size": [0, 2], "counts": "0"}, 'needs a "size"'),
        ({"size": [-2, -2], "counts": "4"}, 'needs a "size"'),
        ({"size": [2, 2]}, "no list of whole numbers and no string"),
        ({"size": [2, 2], "counts": 4}, "no list of whole numbers and no string"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "no list of whole numbers and no string"),
        ({"size": [2, 2], "counts": [10**30]}, "no list of whole numbers and no string"),
        ({"size": [2, 2], "counts": [[0, 0, 1, 0, 1, 1]]}, "no list of whole numbers"),
        ({"size": [2, 2], "counts": [1, 4, -1]}, "a run of -1 pixels"),
        ({"size": [2, 2], "counts": [1, 2]}, "runs have 3 pixels but 2 x 2 (height x width) are 4"),
        ({"size": [2, 2], "counts": ""}, "runs have 0 pixels"),
        ({"size": [2, 2], "counts": "5"}, "runs have 5 pixels"),
        ({"size": [2, 2], "counts": "4X"}, "no compressed run-length mask"),
        ({"size": [2, 2], "counts": "4 "}, "no compressed run-length mask"),
        ({"size": [2, 2], "counts": "4p"}, "no compressed run-length mask"),
        ({"size": [2, 2], "counts": "4é"}, "no compressed run-length mask"),
        ({"size": [2, 2], "counts": "P" * 40 + "0"}, "no compressed run-length mask"),
    ],
)
def test_damage_is_told_with_file_and_field(rle: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        decode(rle, "a.json: annotation 3")
    assert str(error.value).startswith("a.json: annotation 3: ")
    assert words in str(error.value)


def test_a_declared_size_takes_no_memory() -> None:
    side = 2**20
    bomb = {"size": [side, side], "counts": [side * side]}
    with pytest.raises(InputError, match=f"more than {MOST_PIXELS}"):
        decode(bomb, "a.json")
    with pytest.raises(InputError, match=f"more than {MOST_PIXELS}"):
        decode({"size": [10**400, 1], "counts": "0"}, "a.json")


def test_only_masks_are_encoded() -> None:
    for wrong in (np.zeros((2, 2)), np.zeros((1, 2, 2), bool), np.zeros((0, 4), bool)):
        with pytest.raises(ValueError, match="a mask is"):
            encode(wrong)  # type: ignore[arg-type]
