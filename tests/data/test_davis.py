"""The DAVIS layout, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from vosfm.data import Davis, VideoClips, write_labels
from vosfm.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences of three frames; in the second an object appears only later."""
    for number, name in enumerate(("dog", "bike")):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / kind / "480p" / name).mkdir(parents=True)
        for index in range(3):
            image = np.full((24, 32, 3), 40 * index, dtype=np.uint8)
            Picture.fromarray(image).save(tmp_path / f"JPEGImages/480p/{name}/{index:05d}.jpg")
            labels = np.zeros((24, 32), dtype=np.uint8)
            labels[2:12, 2:12] = 1
            labels[14:20, 14:30] = 2 * (number == 0 or index > 0)
            write_labels(tmp_path / f"Annotations/480p/{name}/{index:05d}.png", labels)
    for year in ("2016", "2017"):
        (tmp_path / "ImageSets" / year).mkdir(parents=True)
        (tmp_path / "ImageSets" / year / "val.txt").write_text("dog\nbike\n\n")
    return tmp_path


def test_sequences_in_the_order_of_the_list(root: Path) -> None:
    davis = Davis(root)
    assert davis.sequences == ("dog", "bike")
    assert len(davis) == 2
    dog, bike = davis
    assert (dog.name, len(dog), dog.size) == ("dog", 3, (24, 32))
    assert dog.frame_names == ("00000", "00001", "00002")
    note = bike.annotation(1)
    assert note is not None
    assert note.object_ids == (1, 2)
    assert Davis(root, sequences=["bike"]).sequences == ("bike",)


def test_only_objects_of_the_first_frame_are_given(root: Path) -> None:
    dog, bike = Davis(root)
    assert {index: list(given) for index, given in dog.prompts().items()} == {0: [1, 2]}
    assert {index: list(given) for index, given in bike.prompts().items()} == {0: [1]}


def test_2016_has_one_object(root: Path) -> None:
    dog = Davis(root, "2016/val", single_object=True)[0]
    assert {i: int(mask.sum()) for i, mask in dog.prompts()[0].items()} == {1: 196}


def test_training_clips(root: Path) -> None:
    clips = VideoClips(Davis(root), length=3, size=(16, 16), clips=4)
    clip = clips[0]
    assert clip.names == ("dog",)
    assert clip.frames.shape == (1, 3, 3, 16, 16)


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    Davis(tmp_path / "nowhere")


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder; check the root of DAVIS"):
        len(Davis(root / "nowhere"))
    with pytest.raises(InputError, match=r"720p: no such resolution; there are: 480p"):
        len(Davis(root, resolution="720p"))
    with pytest.raises(InputError, match=r"train\.txt: no such split; there are: 2016/val, 2017"):
        len(Davis(root, "2017/train"))
    with pytest.raises(InputError, match="no sequence cat; it has dog, bike"):
        len(Davis(root, sequences=["dog", "cat"]))
    (root / "ImageSets/2017/val.txt").write_text("dog\nhorse\n")
    with pytest.raises(InputError, match=r"JPEGImages/480p: 1 of 2 .* the first is horse"):
        len(Davis(root))
    (root / "ImageSets/2017/val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt: the split lists no sequence"):
        len(Davis(root))


def test_real_davis(shared: Path) -> None:
    davis = Davis(shared / "data/davis")
    assert len(davis) == 7
    trees = davis[davis.sequences.index("bmx-trees")]
    assert (len(trees), trees.size) == (80, (480, 854))
    assert list(trees.prompts()[0]) == [1, 2]
    assert next(trees.frames(79)).shape == (480, 854, 3)
