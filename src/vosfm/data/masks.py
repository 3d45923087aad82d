"""Index masks as PNG files: every pixel holds the id of its object, 0 is background."""

import os
import struct
import zlib
from functools import cache
from io import BytesIO

import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vosfm.errors import InputError
from vosfm.files import read_bytes, whole

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {0: "grayscale", 2: "RGB", 3: "palette", 4: "gray and alpha", 6: "RGBA"}
_MOST_PIXELS = 2**28


def read_labels(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an index mask with its ids as they are stored.

    Masks of 8 bits, which nearly all are, go through kornia-rs: it keeps the indices of a palette
    and inflates 480p masks about 15 times as fast as zlib does, on which Pillow and OpenCV rest.
    Pillow reads the few of fewer bits.

    Args:
        path: a PNG with a palette, in 8-bit grayscale, or of one bit (ids 0 and 1).

    Returns:
        (H, W) uint8 ids.

    Raises:
        InputError: if the file is missing, truncated or damaged, or holds colors instead of ids.
    """
    data = read_bytes(path, "mask")
    if not data.startswith(_SIGNATURE):
        raise InputError(f"{path}: not a PNG; save ids as a palette PNG")
    if not _is_whole(data):
        raise InputError(f"{path}: truncated or damaged PNG; write it again")
    width, height, depth, color_type = struct.unpack_from(">IIBB", data, 16)
    if color_type not in (0, 3) or (color_type == 0 and depth not in (1, 8)):
        raise InputError(
            f"{path}: {depth}-bit {_COLOR_TYPES.get(color_type, 'unknown')}, not an index mask; "
            "save ids as a palette PNG or in 8-bit grayscale"
        )
    if height * width > _MOST_PIXELS:
        raise InputError(f"{path}: {width}x{height} pixels are too many for a mask; check the file")
    try:
        if depth == 8:
            return np.asarray(decode_image_png_u8(data, (height, width), "mono"))[:, :, 0]
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image).astype(np.uint8)
    except Exception as error:  # neither decoder documents what it raises
        raise InputError(f"{path}: damaged PNG ({error}); write it again") from None


def _is_whole(data: bytes) -> bool:
    """Walk the chunks of a PNG to its end and compare their checksums, which decoders leave out."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def write_labels(
    path: str | os.PathLike[str], labels: ArrayLike, colors: ArrayLike | None = None
) -> None:
    """Write an index mask as a palette PNG, under a temporary name until it is whole.

    Args:
        path: the file to write; an existing one is replaced at once.
        labels: (H, W) integer or bool ids in 0..255, stored as they are.
        colors: (N, 3) uint8 color of each id; the DAVIS palette if None. Ids of N and above are
            shown black.

    Raises:
        ValueError: if labels are not (H, W) whole numbers in 0..255, or colors not (N, 3) with
            N <= 256.
    """
    ids = np.asarray(labels)
    if ids.ndim != 2 or ids.dtype.kind not in "biu":
        raise ValueError(f"labels are {ids.dtype} of shape {ids.shape}, not integers (H, W)")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) > 255):
        raise ValueError(f"labels reach from {ids.min()} to {ids.max()}; a PNG holds 0..255")
    shown = palette() if colors is None else np.asarray(colors, dtype=np.uint8)
    if shown.ndim != 2 or shown.shape[1] != 3 or shown.shape[0] > 256:
        raise ValueError(f"colors have shape {shown.shape}, not (N, 3) with N <= 256")
    image = Image.fromarray(np.ascontiguousarray(ids, dtype=np.uint8))
    # All 256 entries: Pillow packs a shorter palette into fewer bits, which would cut ids.
    image.putpalette(shown.tobytes().ljust(768, b"\0"))
    with whole(path) as partial:
        image.save(partial, format="PNG")


@cache
def palette() -> NDArray[np.uint8]:
    """Compute the DAVIS palette, which is that of PASCAL VOC.

    The bits of an id are dealt to red, green and blue in turn, the lowest to the highest bit of
    each color.

    Returns:
        (256, 3) uint8, read-only.

    Example:
        >>> palette()[:4].tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    ids = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    colors.setflags(write=False)
    return colors
