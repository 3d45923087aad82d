"""Pictures with masks, and folders of sequences: names, masks, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vosfm.data import Sequences, Stills, VideoClips, write_labels
from vosfm.errors import InputError


def _picture(root: Path, name: str, labels: np.ndarray, suffix: str = ".jpg") -> None:
    image, mask = root / "images" / f"{name}{suffix}", root / "masks" / f"{name}.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((*labels.shape, 3), 80, np.uint8))
    write_labels(mask, labels)


def _labels(size: tuple[int, int] = (20, 30)) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    labels[2:9, 3:12], labels[10:18, 5:25] = 1, 4
    return labels


def test_pictures_of_all_sets(tmp_path: Path) -> None:
    _picture(tmp_path, "people/b", _labels())
    _picture(tmp_path, "people/a", _labels((40, 24)), ".png")
    _picture(tmp_path, "cars/deep/c.x", _labels())
    _picture(tmp_path, "d", _labels())
    stills = Stills(tmp_path)
    assert stills.names == ("cars/deep/c.x", "d", "people/a", "people/b")
    assert [still.name for still in stills] == list(stills.names)
    still = stills[2]
    assert still.size == (40, 24)
    assert len(still) == 1
    assert [frame.shape for frame in still.frames()] == [(40, 24, 3)]
    assert list(still.frames(1)) == []
    assert still.annotated() == (0,)
    annotation = still.annotation(0)
    assert annotation is not None
    assert annotation.object_ids == (1, 4)
    assert set(still.prompts()[0]) == {1, 4}
    assert Stills(tmp_path, sets=["people"]).names == ("people/a", "people/b")


def test_masks_of_a_picture_may_overlap(tmp_path: Path) -> None:
    _picture(tmp_path, "set/whole", _labels())
    (tmp_path / "masks/set/whole.png").unlink()
    folder = tmp_path / "masks/set/whole"
    folder.mkdir()
    whole, part = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    whole[2:18, 2:28], part[4:8, 4:20] = 255, 1
    write_labels(folder / "10.png", part)
    write_labels(folder / "2.png", whole)
    annotation = Stills(tmp_path)[0].annotation(0)
    assert annotation is not None
    assert annotation.object_ids == (2, 10)
    np.testing.assert_array_equal(annotation.masks, np.stack([whole > 0, part > 0]))
    clip = VideoClips(Stills(tmp_path), 3, (20, 30))[0]
    assert clip.masks.shape[2] == 2
    assert bool((clip.masks.sum(2) == 2).any())
    write_labels(folder / "roof.png", part)
    with pytest.raises(InputError, match=r"roof\.png: name the mask of an object by its id"):
        Stills(tmp_path)[0].annotation(0)


def test_a_clip_repeats_its_picture(tmp_path: Path) -> None:
    _picture(tmp_path, "a", _labels())
    clip = VideoClips(Stills(tmp_path), 4, (20, 30))[0]
    assert clip.frames.shape[1] == 4
    np.testing.assert_array_equal(clip.masks[0, 3, 1].numpy(), _labels() == 4)


def test_pictures_without_a_mask(tmp_path: Path) -> None:
    for name in ("a/one", "a/two", "b/three"):
        _picture(tmp_path, name, _labels())
    (tmp_path / "masks/a/two.png").unlink()
    message = (
        r"masks: 1 of 3 pictures have no mask, the first is a/two\.jpg; its mask is a/two\.png"
    )
    with pytest.raises(InputError, match=message):
        len(Stills(tmp_path))
    assert len(Stills(tmp_path, sets=["b"])) == 1
    with pytest.raises(InputError, match="c: no such set; there are: a, b"):
        len(Stills(tmp_path, sets=["c"]))
    with pytest.raises(InputError, match="JPEGImages: no such folder"):
        len(Stills(tmp_path, images="JPEGImages"))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    _picture(tmp_path, "a", _labels())
    write_labels(tmp_path / "masks/a.png", _labels((30, 20)))
    with pytest.raises(InputError, match=r"a\.png: the mask measures 30 x 20 .* 20 x 30"):
        Stills(tmp_path)[0].annotation(0)


def _sequence(root: Path, name: str, masks: tuple[int, ...] = (0, 2)) -> None:
    for kind in ("frames", "masks"):
        (root / kind / name).mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(root / "frames" / name / f"{index}.jpg"), np.zeros((20, 30, 3), np.uint8))
    for index in masks:
        write_labels(root / "masks" / name / f"{index}.png", _labels())


def test_sequences(tmp_path: Path) -> None:
    for name in ("walk", "dive", "run"):
        _sequence(tmp_path, name)
    data = Sequences(tmp_path, "frames", "masks", single_object=True)
    assert data.names == ("dive", "run", "walk")
    assert [video.name for video in data] == ["dive", "run", "walk"]
    assert data[1].annotated() == (0, 2)
    assert set(data[1].prompts()[0]) == {1}
    chosen = Sequences(tmp_path, "frames", "masks", sequences=["walk", "dive"])
    assert [video.name for video in chosen] == ["walk", "dive"]
    assert set(chosen[0].prompts()[0]) == {1, 4}


def test_missing_sequences(tmp_path: Path) -> None:
    _sequence(tmp_path, "walk")
    (tmp_path / "frames" / "run").mkdir()
    with pytest.raises(InputError, match="masks: 1 of 2 sequences are missing, the first is run"):
        len(Sequences(tmp_path, "frames", "masks"))
    with pytest.raises(InputError, match="fly"):
        len(Sequences(tmp_path, "frames", "masks", sequences=["fly"]))
    with pytest.raises(InputError, match="JPEGImages: no such folder"):
        len(Sequences(tmp_path))
