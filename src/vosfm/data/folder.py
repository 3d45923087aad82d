"""A folder of frames as a video."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vosfm.data.annotations import MaskedVideo, keep_masks
from vosfm.data.images import SUFFIXES, image_size, read_image
from vosfm.data.video import Image
from vosfm.errors import InputError


class FrameFolder(MaskedVideo):
    """A folder of pictures, in natural order (2 before 10).

    Args:
        path: the folder.
        masks: the index PNG of the first frame, or a folder of PNGs named like their frames; or a
            folder ID/NAME.png for objects that overlap.
        name: what results are filed under; the folder's name if None.
        joining: whether an object that first appears in a later mask is prompted there.
        single_object: whether all labels are one object.

    Raises:
        InputError: if the folder or the masks are missing, it holds no picture, two of one name,
            or the first one is broken.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        masks: str | os.PathLike[str] | None = None,
        name: str | None = None,
        joining: bool = True,
        single_object: bool = False,
    ) -> None:
        self._path = Path(path)
        self._files = list_frames(self._path)
        self.name = name or self._path.resolve().name
        self.frame_names = tuple(file.stem for file in self._files)
        self.size = image_size(self._files[0])
        self._masks = None
        if masks is not None:
            self._masks = keep_masks(
                masks, path, self.frame_names, self.size, joining, single_object
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The picture of each frame."""
        return tuple(self._files)

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The frames from `start` on, (H, W, 3) uint8 RGB, read one by one.

        Raises:
            InputError: if a frame is broken or of another size than the first one.
        """
        return read_frames(self._files[start:], self.size)


def read_frames(files: Sequence[Path], size: tuple[int, int]) -> Iterator[Image]:
    """Read pictures one by one, (H, W, 3) uint8 RGB.

    Raises:
        InputError: if one is missing, broken or not of `size`, (H, W) of the first one.
    """
    for file in files:
        image = read_image(file)
        if image.shape[:2] != size:
            found, first = (f"{h} x {w}" for h, w in (image.shape[:2], size))
            raise InputError(
                f"{file}: the frame measures {found} (height x width) but the first one "
                f"{first}; bring all frames to one size"
            )
        yield image


def list_frames(path: Path) -> list[Path]:
    """The pictures of a folder in natural order.

    Raises:
        InputError: if there is no such folder, no picture in it, or two of one name.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder of frames; check the path")
    files = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise InputError(f"{path}: no frames in this folder; it needs pictures such as 00000.jpg")
    files.sort(key=natural_order)
    stems: dict[str, Path] = {}
    for file in files:
        if file.stem in stems:
            raise InputError(
                f"{file}: a second frame of this name beside {stems[file.stem].name}; keep masks "
                "and frames in different folders"
            )
        stems[file.stem] = file
    return files


def natural_order(file: Path) -> tuple[list[tuple[int, int, str]], str]:
    """What to sort files by, so that 2 comes before 10."""
    pieces = re.findall(r"\d+|\D+", file.stem)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces], file.name
