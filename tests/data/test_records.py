"""The masks of one frame in a JSON file of its own, as the data engine of MUG-VOS writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from squares import square

from vosfm.data.rle import decode, encode
from vosfm.data.rle_truth import read_records
from vosfm.errors import InputError

MASK = encode(square((2, 4)))


def save(path: Path, content: Any) -> Path:
    (path / "00000.json").write_text(json.dumps(content))
    return path / "00000.json"


def test_both_forms_are_read(tmp_path: Path) -> None:
    """The loaders read "segmentation"; the engine writes size and counts beside the id."""
    nested = {"id": 3, "segmentation": MASK, "iou": 0.9, "area": 256}
    flat = {**MASK, "id": 0, "point_coords": None, "iou": 1.0}
    path = save(tmp_path, [nested, flat])
    records = read_records(path)
    assert list(records) == [3, 0]
    assert (records[3]["iou"], records[0]["iou"]) == (0.9, 1.0)
    for told in records.values():
        assert (decode(told["segmentation"], str(path)) == square((2, 4))).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "it is {}, not a list"),
        ([3], 'mask 0: "id" is missing'),
        ([{"id": "3"}], "mask 0: \"id\" is '3', not a whole number"),
        ([{"id": 3}], 'mask 0: "segmentation" is missing'),
        ([{"id": 3, "segmentation": []}], 'mask 0: "segmentation" is [], not an object'),
        ([{"id": 3, **MASK}] * 2, "mask 1: a second one of id 3"),
    ],
)
def test_damage_is_told_with_file_and_field(tmp_path: Path, content: Any, words: str) -> None:
    path = save(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_records(path)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)
