"""Index masks on disk: ids are kept, damage is named, nothing is half-written."""

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vosfm.data.masks import palette, read_labels, write_labels
from vosfm.errors import InputError

Labels = NDArray[np.uint8]


@pytest.fixture
def labels() -> Labels:
    ids = np.zeros((37, 53), dtype=np.uint8)
    ids[5:20, 7:30] = 1
    ids[18:30, 20:50] = 7
    ids[0, :] = 255
    return ids


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(labels: Labels, interlaced: bool = False) -> bytes:
    """A palette PNG by hand; interlaced in seven passes, as some editors save."""
    height, width = labels.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for y, x, dy, dx in passes for row in labels[y::dy, x::dx] if row.size]
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + bytes([8, 3, 0, 0, int(interlaced)]))
        + chunk(b"PLTE", palette().tobytes())
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("ids", [[0, 1], [0, 1, 2, 3], list(range(16)), list(range(256))])
def test_writes_what_it_reads(tmp_path: Path, ids: list[int]) -> None:
    labels = np.random.default_rng(0).choice(np.array(ids, dtype=np.uint8), (31, 45))
    write_labels(tmp_path / "mask.png", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), labels)
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        assert image.getpalette() == palette().ravel().tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_ids_survive_a_short_palette(tmp_path: Path, labels: Labels) -> None:
    write_labels(tmp_path / "mask.png", labels, colors=[(0, 0, 0), (9, 8, 7)])
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), labels)
    with Image.open(tmp_path / "mask.png") as image:
        assert image.convert("RGB").getpixel((10, 6)) == (9, 8, 7)


@pytest.mark.parametrize("interlaced", [False, True])
def test_reads_what_others_write(tmp_path: Path, labels: Labels, interlaced: bool) -> None:
    (tmp_path / "mask.png").write_bytes(png(labels, interlaced))
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_reads_palettes_of_few_bits(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**bits, (9, 13)).astype(np.uint8)
    image = Image.fromarray(labels)
    image.putpalette(palette()[: 2**bits].tobytes())
    image.save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), labels)


def test_reads_grayscale_and_one_bit(tmp_path: Path, labels: Labels) -> None:
    Image.fromarray(labels).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "gray.png"), labels)
    Image.fromarray(labels > 0).save(tmp_path / "binary.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "binary.png"), labels > 0)
    assert read_labels(tmp_path / "binary.png").dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_refuses_colors(tmp_path: Path, labels: Labels, mode: str) -> None:
    path = tmp_path / "color.png"
    image = Image.fromarray(labels)
    (image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)).save(path)
    with pytest.raises(InputError, match=r"color\.png: .*not an index mask; save ids") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_refuses_every_truncation(tmp_path: Path, labels: Labels) -> None:
    whole, path = png(labels), tmp_path / "cut.png"
    for length in (*range(0, len(whole), 9), *range(len(whole) - 20, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.png: (not a PNG|truncated)"):
            read_labels(path)


def test_refuses_every_flipped_bit(tmp_path: Path, labels: Labels) -> None:
    whole, path = png(labels), tmp_path / "flipped.png"
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"flipped\.png: "):
            read_labels(path)


def resized(whole: bytes, width: int, height: int) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + whole[24:29]
    return whole[:8] + chunk(b"IHDR", header) + whole[33:]


def jpeg(whole: bytes) -> bytes:
    file = BytesIO()
    Image.open(BytesIO(whole)).convert("RGB").save(file, format="JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (jpeg, "not a PNG"),
        (lambda whole: b"", "not a PNG"),
        (lambda whole: resized(whole, 53, 90), "damaged PNG"),
        (lambda whole: resized(whole, 2**31 - 1, 2**31 - 1), "too many"),
        (lambda whole: resized(whole, 0, 37), "damaged PNG"),
    ],
)
def test_refuses_damage(
    tmp_path: Path, labels: Labels, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(damage(png(labels)))
    with pytest.raises(InputError, match=rf"damaged\.png: .*{message}"):
        read_labels(path)


def test_names_a_missing_mask_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such mask"):
        read_labels(tmp_path / "none.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("labels", "colors", "message"),
    [
        (np.zeros((4, 4, 3), dtype=np.uint8), None, "integers"),
        (np.zeros((4, 4)), None, "integers"),
        (np.full((4, 4), 256), None, "0..255"),
        (np.full((4, 4), -1), None, "0..255"),
        (np.zeros((4, 4), dtype=np.uint8), np.zeros((257, 3)), "colors"),
    ],
)
def test_refuses_to_write_what_does_not_fit(tmp_path: Path, labels, colors, message) -> None:
    with pytest.raises(ValueError, match=message):
        write_labels(tmp_path / "mask.png", labels, colors)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_mask(
    tmp_path: Path, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.png"
    write_labels(path, labels)

    def full(self: Image.Image, file: Path, format: str) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space"):
        write_labels(path, labels + 1)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_labels(path), labels)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mask.png"]


def test_palette_is_that_of_davis(shared: Path) -> None:
    with Image.open(shared / "data/golden_davis/osvos/bmx-trees/00001.png") as image:
        assert image.getpalette() == palette().ravel().tolist()
