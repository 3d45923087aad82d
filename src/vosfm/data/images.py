"""Pictures as files."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import numpy as np

from vosfm.data.video import Image
from vosfm.errors import InputError
from vosfm.files import read_bytes

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Names of files that count as frames, in lower case."""

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
_START_OF_SCAN = 0xDA
_EXIF = 0xE1
"""The segment that may say that a picture is to be turned."""
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
"""Markers that no header has; after one, a decoder would read on elsewhere than by lengths."""


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture, turned upright if it says how.

    OpenCV may decode half a JPEG without a word, the rest gray; so its end is looked for first.

    Args:
        path: a file in any format that OpenCV reads; gray is spread over three channels, 16 bits
            are reduced to 8, transparency is dropped.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: if the file is missing, truncated, or no picture.
    """
    return decode_image(read_bytes(path, "picture"), str(path))


def decode_image(data: bytes, whose: str) -> Image:
    """Decode a picture that lies in memory; as `read_image`.

    Args:
        data: the file.
        whose: it is, for messages.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: if it is truncated, or no picture.
    """
    if _is_truncated(data):
        raise InputError(f"{whose}: the picture is truncated; copy or write it again")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:  # it declares more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise InputError(f"{whose}: not a picture, or a damaged one; copy or write it again")
    return np.asarray(pixels, dtype=np.uint8)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of a picture; of most JPEGs, without decoding them.

    Raises:
        InputError: if the file is missing, truncated, or no picture. A JPEG that is damaged behind
            its header is found out by whoever decodes it.
    """
    data = read_bytes(path, "picture")
    size = jpeg_size(data)
    if size is None or _is_truncated(data) or any(m == _EXIF for _, m in _segments(data)):
        height, width = decode_image(data, str(path)).shape[:2]
        return height, width
    return size


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG declares, before it is turned upright; nothing is decoded.

    Args:
        data: the file, or its beginning.

    Returns:
        (H, W), or None if it is no JPEG, or declares no size or more than one.
    """
    if not data.startswith(_JPEG):
        return None
    sizes = [
        (int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big"))
        for at, marker in _segments(data)
        if marker in _START_OF_FRAME and at + 9 <= len(data)
    ]
    return sizes[0] if len(sizes) == 1 else None


def _is_truncated(data: bytes) -> bool:
    if data.startswith(_JPEG):
        return data.rfind(_JPEG_END, _scan_start(data)) < 0
    if data.startswith(_PNG):
        return data.rfind(_PNG_END) < 0
    return False


def _scan_start(data: bytes) -> int:
    """Where the pixels of a JPEG begin: a thumbnail in its header has an end of its own."""
    return next((at for at, marker in _segments(data) if marker == _START_OF_SCAN), len(data))


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each segment of the header of a JPEG begins, and its marker; the last starts a scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _WITHOUT_LENGTH:
            return
        yield at, marker
        if marker == _START_OF_SCAN:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def resize_image(image: Image, size: tuple[int, int]) -> Image:
    """Bring a picture to a size: averaged where it shrinks, interpolated where it grows.

    Args:
        image: (H, W, 3) uint8.
        size: (H', W').

    Returns:
        (H', W', 3) uint8; the same picture if it has this size.
    """
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=how), dtype=np.uint8)


def encode_jpeg(image: Image, quality: int) -> bytes:
    """Encode a picture as the bytes of a JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        quality: 1 to 100.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
