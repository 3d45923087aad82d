"""Pictures as files."""

from __future__ import annotations

import os

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
    data = read_bytes(path, "picture")
    if _is_truncated(data):
        raise InputError(f"{path}: the picture is truncated; copy or write it again")
    pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise InputError(f"{path}: not a picture, or a damaged one; copy or write it again")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _is_truncated(data: bytes) -> bool:
    if data.startswith(_JPEG):
        return data.rfind(_JPEG_END, _scan_start(data)) < 0
    if data.startswith(_PNG):
        return data.rfind(_PNG_END) < 0
    return False


def _scan_start(data: bytes) -> int:
    """Where the pixels of a JPEG begin: a thumbnail in its header has an end of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:
            at += 1
            continue
        if data[at + 1] == _START_OF_SCAN:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)
