"""Pictures: upright, RGB, and whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Picture

from vosfm.data import read_image
from vosfm.data.images import image_size
from vosfm.errors import InputError


def _smooth(height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), (width, height))


def test_channels_are_red_green_blue(tmp_path: Path) -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[..., 0] = 255
    for name in ("a.png", "a.jpg"):
        Picture.fromarray(image).save(tmp_path / name)
        assert np.abs(read_image(tmp_path / name).astype(int) - image).max() < 3


def test_gray_and_transparent_pictures(tmp_path: Path) -> None:
    Picture.fromarray(np.full((8, 9), 77, np.uint8)).save(tmp_path / "gray.png")
    Picture.fromarray(np.full((8, 9, 4), 77, np.uint8)).save(tmp_path / "clear.png")
    for name in ("gray.png", "clear.png"):
        assert np.array_equal(read_image(tmp_path / name), np.full((8, 9, 3), 77))


def test_turned_upright(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.fromarray(_smooth(20, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"frame{suffix}"
    Picture.fromarray(_smooth()).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=f"{path}: the picture is truncated"):
        read_image(path)


def test_truncated_after_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "thumbnail.jpg"
    Picture.fromarray(_smooth(12, 16)).save(path)
    thumbnail = path.read_bytes()
    Picture.fromarray(_smooth(240, 320)).save(path)
    data = path.read_bytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    path.write_bytes(whole)
    assert read_image(path).shape == (240, 320, 3)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match="the picture is truncated"):
        read_image(path)


def test_progressive_and_trailing_bytes(tmp_path: Path) -> None:
    path = tmp_path / "progressive.jpg"
    Picture.fromarray(_smooth()).save(path, progressive=True)
    path.write_bytes(path.read_bytes() + b"trailing")
    assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\xff\xd8"])
def test_not_a_picture(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "frame.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=str(path)):
        read_image(path)


def test_the_size_of_a_jpeg_without_decoding_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6
    picture = Picture.fromarray(_smooth(20, 30))
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "flat.png")
    picture.save(tmp_path / "progressive.jpg", progressive=True)
    assert image_size(tmp_path / "turned.jpg") == (30, 20)
    assert image_size(tmp_path / "flat.png") == (20, 30)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "progressive.jpg").read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{cut}: the picture is truncated"):
        image_size(cut)
    monkeypatch.delattr(cv2, "imdecode")
    assert image_size(tmp_path / "progressive.jpg") == (20, 30)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)
