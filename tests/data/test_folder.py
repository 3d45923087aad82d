"""Folders of frames with index masks, and what is said when they are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from vosfm import Result
from vosfm.data import FrameFolder, open_video, write_labels
from vosfm.data.results import ResultFolder
from vosfm.errors import InputError

SIZE = (24, 32)


def _labels(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros(SIZE, dtype=np.uint8)
    for name, (top, left, bottom, right) in boxes.items():
        labels[top:bottom, left:right] = int(name[1:])
    return labels


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in (1, 2, 10, 11):
        image = np.full((*SIZE, 3), 10 * index, dtype=np.uint8)
        Picture.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    write_labels(folder / "1.png", _labels(_1=(0, 0, 8, 8), _255=(20, 0, 24, 32)))
    write_labels(folder / "10.png", _labels(_1=(0, 0, 8, 8), _7=(10, 10, 20, 20)))
    return folder


def test_natural_order(frames: Path) -> None:
    (frames / "notes.txt").write_text("not a frame")
    (frames / "._1.png").write_bytes(b"not a frame either")
    video = open_video(frames)
    assert isinstance(video, FrameFolder)
    assert video.name == "clip"
    assert video.frame_names == ("1", "2", "10", "11")
    assert video.size == SIZE
    assert len(video) == 4
    assert [int(frame[0, 0, 0]) for frame in video.frames()] == [10, 20, 100, 110]
    assert [int(frame[0, 0, 0]) for frame in video.frames(2)] == [100, 110]


def test_objects_join_at_their_first_mask(frames: Path, masks: Path) -> None:
    video = open_video(frames, masks)
    prompts = video.prompts()
    assert {index: list(given) for index, given in prompts.items()} == {0: [1], 2: [7]}
    assert np.array_equal(prompts[2][7], _labels(_7=(10, 10, 20, 20)) == 7)
    assert video.annotated() == (0, 2)
    assert video.annotation(1) is None
    first = video.annotation(0)
    assert first is not None
    assert first.object_ids == (1,)
    assert first.void is not None
    assert first.void.sum() == 4 * 32


def test_objects_do_not_join_where_the_format_says_so(frames: Path, masks: Path) -> None:
    assert list(FrameFolder(frames, masks, joining=False).prompts()) == [0]


def test_one_first_mask(frames: Path, masks: Path) -> None:
    video = open_video(frames, masks / "10.png")
    assert list(video.prompts()) == [0]
    assert list(video.prompts()[0]) == [1, 7]


def test_single_object(frames: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.png"
    write_labels(path, _labels(_2=(0, 0, 4, 4), _5=(8, 8, 12, 12), _255=(20, 0, 24, 32)))
    video = FrameFolder(frames, path, single_object=True)
    assert {i: int(mask.sum()) for i, mask in video.prompts()[0].items()} == {1: 32}
    note = video.annotation(0)
    assert note is not None
    assert note.void is not None
    assert note.void.sum() == 128
    write_labels(path, _labels(_255=(0, 0, 4, 4)))
    assert {i: int(mask.sum()) for i, mask in video.prompts()[0].items()} == {1: 16}


def test_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such video"):
        open_video(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FrameFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{tmp_path}: no frames"):
        open_video(tmp_path)


def test_a_single_picture(frames: Path) -> None:
    with pytest.raises(InputError, match=r"1\.png: a single picture"):
        open_video(frames / "1.png")


def test_two_frames_of_one_name(frames: Path) -> None:
    Picture.new("RGB", (32, 24)).save(frames / "2.jpg")
    with pytest.raises(InputError, match=r"second frame of this name beside 2\.jpg"):
        open_video(frames)


def test_a_frame_of_another_size(frames: Path) -> None:
    Picture.new("RGB", (40, 24)).save(frames / "10.png")
    with pytest.raises(InputError, match=r"10\.png.* 24 x 40 .* 24 x 32"):
        list(open_video(frames).frames())


def test_a_truncated_frame(frames: Path) -> None:
    data = (frames / "10.png").read_bytes()
    (frames / "10.png").write_bytes(data[:-20])
    reader = open_video(frames).frames()
    next(reader), next(reader)
    with pytest.raises(InputError, match=r"10\.png"):
        next(reader)


def test_no_masks(frames: Path, tmp_path: Path) -> None:
    assert open_video(frames).annotation(0) is None
    with pytest.raises(InputError, match="clip: no masks were given"):
        open_video(frames).prompts()
    with pytest.raises(InputError, match=r"first\.png: no such mask"):
        open_video(frames, tmp_path / "first.png")


def test_no_mask_of_the_first_frame(frames: Path, masks: Path) -> None:
    (masks / "1.png").unlink()
    with pytest.raises(InputError, match=r"masks: no mask for the first frame .* expected 1\.png"):
        open_video(frames, masks).prompts()


def test_a_mask_of_another_size(frames: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.png"
    write_labels(path, np.ones((12, 16), dtype=np.uint8))
    with pytest.raises(InputError, match=r"first\.png.* 12 x 16 .* 24 x 32; resize the mask"):
        open_video(frames, path).prompts()


@pytest.mark.parametrize(("label", "remedy"), [(0, "at least one pixel"), (255, "means void")])
def test_an_empty_first_mask(frames: Path, tmp_path: Path, label: int, remedy: str) -> None:
    path = tmp_path / "first.png"
    write_labels(path, np.full(SIZE, label, dtype=np.uint8))
    with pytest.raises(InputError, match=rf"first\.png: the first mask holds no object.*{remedy}"):
        open_video(frames, path).prompts()


def test_a_mask_in_colors(frames: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.png"
    Picture.new("RGB", SIZE[::-1], (200, 0, 0)).save(path)
    with pytest.raises(InputError, match=r"first\.png"):
        open_video(frames, path).prompts()


def test_objects_that_overlap_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    """What `--overlap` writes can be given again."""
    frames, masks = tmp_path / "frames", tmp_path / "masks"
    frames.mkdir()
    for name in ("00000", "00001", "00002"):
        Picture.fromarray(np.zeros((8, 10, 3), np.uint8)).save(frames / f"{name}.png")
    whole, part, late = np.zeros((3, 8, 10), bool)
    whole[1:7, 1:9], part[2:4, 2:4], late[5:, 5:] = True, True, True
    results = ResultFolder(masks, ("00000", "00001", "00002"), overlap=True)
    results.write(Result(0, (3, 12), np.stack((whole, part)), np.ones(2, np.float32)))
    results.write(Result(1, (3, 7), np.stack((part, late)), np.ones(2, np.float32)))
    video = open_video(frames, masks)
    prompts = video.prompts()
    assert {t: sorted(given) for t, given in prompts.items()} == {0: [3, 12], 1: [7]}
    assert (prompts[0][3] == whole).all()
    assert (prompts[0][12] == part).all()
    assert (prompts[1][7] == late).all()
    assert video.annotation(2) is None
    seen = video.annotation(1)
    assert seen is not None
    assert seen.object_ids == (3, 7)
    (masks / "9").mkdir()
    write_labels(masks / "9" / "00000.png", np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"9/00000\.png: the mask measures 4 x 4"):
        open_video(frames, masks).prompts()
