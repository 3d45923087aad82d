"""Truths in folders of PNGs: what they say, what they read, and how they travel."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from layouts import OVER, SAV_NAMES, A, B, save_sav, square, write_frame, write_object

from vosfm.data import write_labels
from vosfm.data.index_truth import (
    FolderTruth,
    IndexTruth,
    UnitedTruth,
    as_they_appear,
    up_to_largest,
)
from vosfm.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames: object 3 alone, then object 5 joins, then 3 is gone and some void shows."""
    folder = tmp_path / "dog"
    for name, objects in (("00010", {3: A}), ("00012", {3: A, 5: B}), ("00015", {5: B, 255: A})):
        write_frame(folder / f"{name}.png", objects)
    return folder


def test_index_masks(folder: Path) -> None:
    truth = IndexTruth(folder, as_they_appear, captions={3: "a dog"})
    assert (truth.name, truth.frame_names) == ("dog", ("00010", "00012", "00015"))
    assert (truth.numbers, truth.length) == ((10, 12, 15), 16)
    assert truth.starts == {3: 0, 5: 1}
    assert truth.object_ids == (3, 5)
    assert [truth.ids(place) for place in range(3)] == [(3,), (3, 5), (3, 5)]
    assert np.array_equal(truth.masks(1), [square(A), square(B)])
    assert truth.masks(2).any((1, 2)).tolist() == [False, True]
    assert truth.void(1) is None
    assert np.array_equal(truth.void(2), square(A))
    assert IndexTruth(folder, up_to_largest).object_ids == (1, 2, 3)
    assert IndexTruth(folder, {9: 2, 3: 0}).starts == {3: 0, 9: 2}


def test_masks_are_read_when_objects_are_asked_for(folder: Path) -> None:
    (folder / "00015.png").write_bytes(b"")
    truth = IndexTruth(folder, as_they_appear)
    assert truth.length == 16
    with pytest.raises(InputError, match=r"00015.png: not a PNG"):
        truth.object_ids  # noqa: B018  # reading it is the test
    assert IndexTruth(folder, up_to_largest).object_ids == (1, 2, 3)


def test_a_frame_without_a_number_counts_by_its_place(folder: Path) -> None:
    (folder / "00012.png").rename(folder / "frame_000012.png")
    truth = IndexTruth(folder, up_to_largest)
    assert truth.frame_names == ("00010", "00015", "frame_000012")
    assert (truth.numbers, truth.length) == ((0, 1, 2), 3)


def test_united(folder: Path) -> None:
    truth = UnitedTruth(IndexTruth(folder, up_to_largest))
    assert (truth.object_ids, truth.starts) == ((1,), {1: 0})
    assert np.array_equal(truth.masks(2), [square(A) | square(B)])  # 255 is part of it
    write_frame(folder / "00010.png", {})
    assert UnitedTruth(IndexTruth(folder, up_to_largest)).object_ids == ()


def test_a_folder_for_each_object(tmp_path: Path) -> None:
    save_sav(tmp_path)
    path = tmp_path / "sav_val/Annotations_6fps/sav_000001"
    (path / "001/00016.png").unlink()
    (path / "001/00000.png").unlink()
    truth = FolderTruth(path, first=0)
    assert truth.overlapping
    assert truth.object_ids == (1, 2)
    assert truth.folders == {1: "000", 2: "001"}
    assert truth.frame_names == tuple(SAV_NAMES)
    assert (truth.numbers, truth.length) == ((0, 4, 8, 12, 16), 17)
    assert truth.ranges == {1: (0, 1, 2, 3, 4), 2: (1, 2, 3)}
    assert truth.starts == {1: 0, 2: 1}
    assert truth.ids(0) == (1,)
    assert np.array_equal(truth.masks(2), [square(A), square(OVER)])
    assert truth.masks(0).any((1, 2)).tolist() == [True, False]
    write_labels(path / "001/00008.png", np.zeros((3, 5), np.uint8))
    with pytest.raises(InputError, match=r"001/00008.png: 5x3 pixels, but another object's"):
        truth.masks(2)


def test_what_is_wrong_with_a_folder_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of PNGs for an object"):
        FolderTruth(tmp_path)
    write_object(tmp_path / "01/00000.png", A)
    write_object(tmp_path / "1/00000.png", A)
    with pytest.raises(InputError, match="1: a second folder of its object, beside 01; remove"):
        FolderTruth(tmp_path)
    (tmp_path / "1").rename(tmp_path / "cat")
    with pytest.raises(InputError, match="cat: name the folder of an object by its number"):
        FolderTruth(tmp_path)


def test_truths_travel(folder: Path) -> None:
    truth = IndexTruth(folder, as_they_appear)
    sent = pickle.loads(pickle.dumps(truth))
    assert sent.starts == truth.starts
    assert np.array_equal(sent.masks(1), truth.masks(1))
    united = pickle.loads(pickle.dumps(UnitedTruth(truth)))
    assert np.array_equal(united.masks(1), UnitedTruth(truth).masks(1))
