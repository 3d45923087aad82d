"""Pictures with masks.

Layout: images/<set>/<stem>.jpg and masks/<set>/<stem>.png, or other names of the two outer folders.
Sets may be nested, or missing. Where objects of a picture overlap, masks/<set>/<stem> is a folder
of one binary PNG for each object, <id>.png.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vosfm.data.datasets import Videos
from vosfm.data.images import SUFFIXES, read_image
from vosfm.data.masks import read_labels
from vosfm.data.video import Annotation, Image, Mask, Video
from vosfm.errors import InputError


class Still(Video):
    """A picture as a video of one frame.

    Args:
        picture: the file.
        masks: an index PNG, or a folder of one binary PNG for each object, <id>.png; what is not
            0 is the object, and objects may overlap.
        name: what results are filed under.
    """

    def __init__(self, picture: Path, masks: Path, name: str) -> None:
        self.name = name
        self.frame_names = (picture.stem,)
        self._picture = picture
        self._masks = masks

    @cached_property
    def _image(self) -> Image:
        return read_image(self._picture)

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]  # known once it is read
        """(H, W) of the picture."""
        height, width = self._image.shape[:2]
        return height, width

    def frames(self, start: int = 0) -> Iterator[Image]:
        """The picture."""
        if start == 0:
            yield self._image

    def annotated(self) -> tuple[int, ...]:
        """The one frame."""
        return (0,)

    def annotation(self, index: int) -> Annotation | None:
        """The masks.

        Raises:
            InputError: if a mask is missing, broken, or of another size than the picture.
        """
        if index:
            return None
        if not self._masks.is_dir():
            annotation = Annotation.from_labels(read_labels(self._masks))
            self._check(self._masks, annotation.masks.shape[1:])
            return annotation
        files = {_object_id(file): file for file in self._masks.glob("*.png")}
        if not files:
            raise InputError(f"{self._masks}: holds no mask; it needs one PNG for each object")
        ids = tuple(sorted(files))
        masks = [read_labels(files[i]) > 0 for i in ids]
        for object_id, mask in zip(ids, masks, strict=True):
            self._check(files[object_id], mask.shape)
        return Annotation(ids, np.stack(masks))

    def prompts(self) -> dict[int, dict[int, Mask]]:
        """All objects, given with the one frame."""
        annotation = self.annotation(0)
        assert annotation is not None
        return {0: dict(zip(annotation.object_ids, annotation.masks, strict=True))}

    def _check(self, file: Path, size: tuple[int, ...]) -> None:
        if size != self.size:
            mask, picture = (f"{h} x {w}" for h, w in (size, self.size))
            raise InputError(
                f"{file}: the mask measures {mask} (height x width) but {self._picture} "
                f"{picture}; resize the mask without interpolation"
            )


class Stills(Videos):
    """All pictures of a folder that have masks, each as a video of one frame, in natural order.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the two others.
        images: the folder of pictures, below the root.
        masks: the folder of masks, below the root.
        sets: only these folders of pictures; None for all.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        images: str = "images",
        masks: str = "masks",
        sets: Sequence[str] | None = None,
    ) -> None:
        self._images = Path(root) / images
        self._masks = Path(root) / masks
        self._wanted = None if sets is None else tuple(sets)

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        """Pictures, relative to their folder."""
        for folder in (self._images, self._masks):
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder; check the root and the names of its folders"
                )
        folders = [self._images / name for name in self._wanted or ("",)]
        for folder in folders:
            if not folder.is_dir():
                there = sorted(p.name for p in self._images.iterdir() if p.is_dir())
                raise InputError(f"{folder}: no such set; there are: {', '.join(there) or 'none'}")
        files = sorted(
            file.relative_to(self._images)
            for folder in folders
            for file in folder.rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not files:
            raise InputError(f"{self._images}: holds no picture")
        masked = {
            path.relative_to(self._masks).with_suffix("")
            for path in self._masks.rglob("*")
            if path.suffix == ".png" or path.is_dir()
        }
        if missing := [file for file in files if file.with_suffix("") not in masked]:
            raise InputError(
                f"{self._masks}: {len(missing)} of {len(files)} pictures have no mask, the first "
                f"is {missing[0]}; its mask is {missing[0].with_suffix('.png')}"
            )
        return tuple(files)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures, <set>/<stem>."""
        return tuple(file.with_suffix("").as_posix() for file in self._files)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._files)

    def __getitem__(self, index: int) -> Still:
        """A picture, read lazily."""
        file = self._files[index]
        folder = self._masks / file.with_suffix("")
        masks = folder if folder.is_dir() else folder.with_suffix(".png")
        return Still(self._images / file, masks, file.with_suffix("").as_posix())


def _object_id(file: Path) -> int:
    if not file.stem.isdecimal() or int(file.stem) < 1:
        raise InputError(f"{file}: name the mask of an object by its id, such as 1.png")
    return int(file.stem)
