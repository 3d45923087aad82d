"""The layout of the training set of MUG-VOS, of the released engine, and of `vosfm collect`."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from squares import SIZE, Corner, save_frame, square

import vosfm.data.formats.mug_vos_train as module
from vosfm.cli import main
from vosfm.convert import convert
from vosfm.data import MUGVOSTrain, read_image
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.rle import encode
from vosfm.errors import InputError

TRACKS: list[dict[int, Corner]] = [
    {0: (2, 2), 4: (8, 8)},
    {0: (2, 4), 2: (30, 40), 4: (8, 10)},
    {0: (2, 6), 4: (8, 12)},
]
"""Squares by the ids of the files; 0 and 4 overlap, 2 joins late and is lost."""


def mask_of(object_id: int, corner: Corner, flat: bool) -> dict[str, Any]:
    mask = encode(square(corner))
    told = {"id": object_id, "iou": 1 - object_id / 10, "area": 7}
    return {**told, **mask, "point_coords": None} if flat else {**told, "segmentation": mask}


def save(root: Path, clip: str = "a", folder: str = "", flat: bool = False) -> Path:
    """A clip; the names of its pictures are others than those of its files."""
    masks = root / "Annotations" / clip / folder
    masks.mkdir(parents=True)
    for place, tracks in enumerate(TRACKS):
        save_frame(root / "JPEGImages" / clip / f"{place + 7}.jpg", place)
        records = [mask_of(i, corner, flat) for i, corner in reversed(tracks.items())]
        (masks / f"{place:05d}.json").write_text(json.dumps(records))
    return root


def true(place: int, object_id: int) -> np.ndarray:
    return square(TRACKS[place].get(object_id - 1))


@pytest.mark.parametrize(("folder", "flat"), [("", False), ("origin", True)])
def test_both_spellings_tell_the_same(tmp_path: Path, folder: str, flat: bool) -> None:
    save(tmp_path, folder=folder, flat=flat)
    (video,) = MUGVOSTrain(tmp_path)
    truth = video.truth
    assert truth is not None
    assert truth.object_ids == (1, 3, 5)
    assert truth.starts == {1: 0, 3: 1, 5: 0}
    assert truth.overlapping
    assert video.frame_names == truth.frame_names == ("00000", "00001", "00002")
    assert video.annotated() == (0, 1, 2)
    for place in range(3):
        expected = np.stack([true(place, i) for i in (1, 3, 5)])
        assert np.array_equal(truth.masks(place), expected)
    last = video.annotation(2)
    assert last is not None
    assert last.object_ids == (1, 5)
    assert {frame: list(given) for frame, given in video.prompts().items()} == {0: [1, 5], 1: [3]}
    brightness = [int(frame.mean() - 10) // 20 for frame in video.frames(1)]
    assert brightness == [1, 2]


def test_areas_and_quality_need_no_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An area in the file may be of another resolution; it is counted."""
    (video,) = MUGVOSTrain(save(tmp_path))
    monkeypatch.setattr(module, "decode_some", None)
    assert video.areas(0) == {1: 256, 5: 256}
    assert video.quality(1) == {1: 1.0, 3: 0.8, 5: 0.6}


def test_only_what_is_asked_for_is_decoded(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "Annotations/a/00001.json"
    records = json.loads(path.read_text())
    damaged = next(told for told in records if told["id"] == 2)
    counts = [*np.diff([0, 5, 9], append=SIZE[0] * SIZE[1])]
    damaged["segmentation"]["counts"] = [int(n) for n in counts]
    damaged["segmentation"]["size"] = [SIZE[0] * 2, SIZE[1] // 2]
    path.write_text(json.dumps(records))
    (video,) = MUGVOSTrain(tmp_path)
    assert np.array_equal(video.masks_of(1, [5, 9, 1])[0], true(1, 5))
    assert not video.masks_of(1, [9]).any()
    with pytest.raises(InputError, match=r"00001.json: the mask of id 2: .* measures 96 x 32"):
        video.masks_of(1, [3])


def test_pictures_are_brought_to_the_size_of_their_masks(tmp_path: Path) -> None:
    save(tmp_path)
    for file in (tmp_path / "JPEGImages/a").iterdir():
        small = read_image(file)[::2, ::2]
        Image.fromarray(small).save(file)
    (video,) = MUGVOSTrain(tmp_path)
    assert video.size == SIZE
    assert [frame.shape for frame in video.frames()] == [(*SIZE, 3)] * 3
    assert video.files is None
    assert video.annotation(0) is not None


def test_pictures_and_files_must_be_as_many(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "JPEGImages/a/8.jpg").unlink()
    with pytest.raises(InputError, match=r"a: 2 pictures, but .* has 3 files of masks"):
        MUGVOSTrain(tmp_path)[0]


def test_a_truth_is_light_and_needs_no_pictures(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path, "b")
    shutil.rmtree(tmp_path / "JPEGImages")
    first, second = format_named("mug_vos_train").truths(tmp_path, None, None)
    assert (first.name, second.name) == ("a", "b")
    assert len(pickle.dumps(first)) < 2000
    assert np.array_equal(pickle.loads(pickle.dumps(second)).masks(1)[1], square((30, 40)))
    (only,) = format_named("mug_vos_train").truths(tmp_path, None, ["b"])
    assert only.name == "b"
    with pytest.raises(InputError, match="1 of 1 sequences are missing, the first is b"):
        MUGVOSTrain(tmp_path, sequences=["b"]).names  # noqa: B018


def test_a_clip_without_masks_has_no_object(tmp_path: Path) -> None:
    save(tmp_path)
    for file in (tmp_path / "Annotations/a").iterdir():
        file.write_text("[]")
    (video,) = MUGVOSTrain(tmp_path)
    assert video.size == SIZE
    note = video.annotation(0)
    assert note is not None
    assert note.masks.shape == (0, *SIZE)
    assert (video.areas(0), video.quality(0)) == ({}, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": -1}, "a mask of id -1"),
        ({"id": 254}, "a mask of id 254"),
        ({"segmentation": {"size": [48, 64], "counts": "1"}}, "the mask of id 0: its runs have"),
    ],
)
def test_damage_names_file_and_mask(tmp_path: Path, change: Mapping[str, Any], words: str) -> None:
    save(tmp_path)
    path = tmp_path / "Annotations/a/00000.json"
    path.write_text(json.dumps([mask_of(0, (2, 2), False) | change]))
    (truth,) = MUGVOSTrain(tmp_path).truths()
    with pytest.raises(InputError) as error:
        truth.object_ids  # noqa: B018
    assert str(error.value).startswith(f"{path}: {words}")


def test_other_layouts_are_told(tmp_path: Path) -> None:
    save(tmp_path)
    assert FORMATS["mug_vos_train"].looks(tmp_path) == "its masks are in JSON"
    with pytest.raises(InputError, match="read it as mug_vos_train"):
        FORMATS["davis"].videos(tmp_path, None)[0]
    for file in (tmp_path / "Annotations/a").iterdir():
        file.rename(file.with_suffix(".png"))
    assert FORMATS["mug_vos_train"].looks(tmp_path) is None
    with pytest.raises(InputError, match="no JSON files in the folders of Annotations"):
        MUGVOSTrain(tmp_path).names  # noqa: B018


def test_stats_and_convert_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = save(tmp_path / "corpus")
    assert main(["stats", str(root), "--format", "mug_vos_train"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "tracks 3" in shown
    assert "masks 7" in shown
    convert(root, "mug_vos_train", tmp_path / "sav", "sav")
    (back,) = format_named("sav").truths(tmp_path / "sav", None, None)
    (truth,) = MUGVOSTrain(root).truths()
    for place in range(3):
        assert np.array_equal(back.masks(place), truth.masks(place))
