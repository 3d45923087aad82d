"""Random geometric changes of whole clips, each drawn as one map per frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.thin_plate import Field, bend
from vosfm.data.transforms import INTERPOLATIONS, Matrix, Shot, View, look, whole
from vosfm.types import Size

_GRAY = (124, 116, 104)  # the mean color of ImageNet
_CONTROLS = 4  # control points along each side of a bent frame

Vector = NDArray[np.float64]


class Warp(ABC):
    """A random geometric change of a clip.

    Args:
        interpolation: of images, "linear" or "cubic"; masks always take the nearest pixel.
        fill: RGB of what lies beyond the edges of a frame; None mirrors the frame there.

    Attributes:
        looks: whether what is drawn depends on the masks of the first frame.

    Raises:
        ValueError: if the interpolation has another name.
    """

    looks = False

    def __init__(self, interpolation: str, fill: tuple[int, int, int] | None) -> None:
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be linear or cubic, not {interpolation!r}")
        self.interpolation = interpolation
        self.fill = None if fill is None else (fill[0], fill[1], fill[2])

    def __call__(self, shot: Shot, size: Size, rng: Generator) -> Shot:
        """The clip at a size (H, W), seen through another window."""
        return look(shot, self.views(shot, size, rng))

    def views(self, shot: Shot, size: Size, rng: Generator) -> list[View]:
        """How each frame of a clip is to be seen at a size (H, W).

        Args:
            shot: the clip. Of its frames only number and size are looked at, of its masks only
                those of the first frame, and these only where `looks` is true.
            size: of the result.
            rng: all chance comes from it.
        """
        matrices = self.draw(shot, size, rng)
        fields = self.draw_fields(len(matrices), size, rng)
        return [
            View(matrix, size, self.interpolation, self.fill, field)
            for matrix, field in zip(matrices, fields, strict=True)
        ]

    @abstractmethod
    def draw(self, shot: Shot, size: Size, rng: Generator) -> list[Matrix]:
        """One (2, 3) map per frame, from points of the source to points of the result."""

    def draw_fields(self, length: int, size: Size, rng: Generator) -> list[Field | None]:
        """One bend per frame of the result, (*size, 2); None for a frame that stays straight."""
        return [None] * length


class WholeFrame(Warp):
    """No chance at all: the whole frame at another size, whatever its aspect."""

    def __init__(self) -> None:
        super().__init__("linear", None)

    def draw(self, shot: Shot, size: Size, rng: Generator) -> list[Matrix]:
        return [whole(shot, size)] * len(shot.frames)


class RandomWarp(Warp):
    """Random resized crop, flip, rotation and shear, drifting a little from frame to frame.

    Args:
        area: the crop covers between these shares of the frame, in (0, 1].
        aspect: width over height of the crop, relative to that of the result.
        flip: chance of a mirrored clip, in [0, 1].
        rotation: at most so many degrees.
        shear: at most so many degrees.
        drift: until its last frame the crop turns by at most this share of 90 degrees, grows by
            at most this share, and moves by at most this share of its size, in [0, 1).
        interpolation: of images, "linear" or "cubic"; masks always take the nearest pixel.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = (0.75, 1.33),
        flip: float = 0.5,
        rotation: float = 15.0,
        shear: float = 10.0,
        drift: float = 0.1,
        interpolation: str = "linear",
    ) -> None:
        super().__init__(interpolation, None)
        _check_area(area)
        self.area = area
        self.aspect = aspect
        self.flip = flip
        self.rotation = rotation
        self.shear = shear
        self.drift = drift

    def draw(self, shot: Shot, size: Size, rng: Generator) -> list[Matrix]:
        crop, middle = _window(shot, size, self.area, self.aspect, rng)
        mirror = -1.0 if rng.random() < self.flip else 1.0
        turn = np.radians(rng.uniform(-1, 1) * self.rotation)
        shear = np.tan(np.radians(rng.uniform(-1, 1) * self.shear))
        shift = rng.uniform(-1, 1, 2) * self.drift * crop
        spin = rng.uniform(-1, 1) * self.drift * np.pi / 2
        growth = rng.uniform(-1, 1) * self.drift
        matrices = []
        for along in np.linspace(0, 1, len(shot.frames)):
            angle = turn + spin * along
            cos, sin = np.cos(angle), np.sin(angle)
            linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[mirror, shear], [0.0, 1.0]])
            linear = np.diag(np.array(size[::-1]) / crop * np.exp(growth * along)) @ linear
            matrix = np.column_stack(
                [linear, np.array(size[::-1]) / 2 - linear @ (middle + shift * along)]
            )
            matrices.append(matrix)
        return matrices


class StillWarp(Warp):
    """Makes a clip of one repeated picture: every frame is turned, moved and cropped by itself.

    The first frame is only mirrored and cropped, so that it shows the picture as it is.

    Args:
        flip: chance of a mirrored clip, in [0, 1].
        flip_frame: chance that one of the later frames is mirrored against the first, in [0, 1].
        rotation: at most so many degrees.
        shift: at most this share of the width and of the height.
        scale: smallest and largest growth.
        shear: at most so many degrees.
        area: the crop covers between these shares of the picture, in (0, 1].
        aspect: width over height of the crop, relative to that of the result.
        deform: chance that one of the later frames is bent (thin-plate spline), in [0, 1].
        bend: how far control points, a third of a side apart, move then: standard deviation, as a
            share of the side.
        interpolation: of images, "linear" or "cubic"; masks always take the nearest pixel.
        fill: RGB of what lies beyond the edges; None mirrors the picture there.

    Raises:
        ValueError: if an argument is out of range.

    Source: AOT, section 5.1 (static pre-training), with the numbers of its released code; STCN and
    XMem bend, a third of the frames, by this much.
    """

    def __init__(
        self,
        flip: float = 0.5,
        flip_frame: float = 0.3,
        rotation: float = 20.0,
        shift: float = 0.1,
        scale: tuple[float, float] = (0.9, 1.1),
        shear: float = 10.0,
        area: tuple[float, float] = (0.8, 1.0),
        aspect: tuple[float, float] = (0.75, 1.33),
        deform: float = 0.0,
        bend: float = 0.02,
        interpolation: str = "cubic",
        fill: tuple[int, int, int] | None = _GRAY,
    ) -> None:
        super().__init__(interpolation, fill)
        _check_area(area)
        if not 0 <= deform <= 1:
            raise ValueError(f"deform must lie in [0, 1], not {deform}")
        if not 0 <= bend <= 0.04:
            raise ValueError(f"bend must lie in [0, 0.04], where frames do not fold, not {bend}")
        self.flip = flip
        self.flip_frame = flip_frame
        self.rotation = rotation
        self.shift = shift
        self.scale = scale
        self.shear = shear
        self.area = area
        self.aspect = aspect
        self.deform = deform
        self.bend = bend

    def draw(self, shot: Shot, size: Size, rng: Generator) -> list[Matrix]:
        extent = _extent(shot)
        mirror = rng.random() < self.flip
        matrices = []
        for index in range(len(shot.frames)):
            crop, middle = _window(shot, size, self.area, self.aspect, rng)
            linear, moved = np.eye(2), np.zeros(2)
            mirrored = mirror
            if index:
                mirrored ^= rng.random() < self.flip_frame
                angle = np.radians(rng.uniform(-1, 1) * self.rotation)
                slant = np.tan(np.radians(rng.uniform(-1, 1) * self.shear))
                cos, sin = np.cos(angle), np.sin(angle)
                linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, slant], [0.0, 1.0]])
                linear *= rng.uniform(*self.scale)
                moved = rng.uniform(-1, 1, 2) * self.shift * extent
            if mirrored:
                linear = linear @ np.diag([-1.0, 1.0])
            # About the middle of the picture, moved, and then through the window.
            zoom = np.diag(np.array(size[::-1]) / crop)
            shift = extent / 2 + moved - middle - linear @ extent / 2
            matrices.append(
                np.column_stack([zoom @ linear, zoom @ shift + np.array(size[::-1]) / 2])
            )
        return matrices

    def draw_fields(self, length: int, size: Size, rng: Generator) -> list[Field | None]:
        fields: list[Field | None] = [None] * length
        for index in range(1, length if self.deform else 1):
            if rng.random() < self.deform:
                moves = rng.normal(scale=self.bend, size=(_CONTROLS, _CONTROLS, 2))
                fields[index] = bend(moves, size)
        return fields


class BalancedCrop(Warp):
    """A crop of one place of a video at a random scale, of places that show objects.

    Args:
        scale: smallest and largest growth after the shorter edge was brought to `short_edge`.
        short_edge: pixels of the frame's shorter edge at scale 1; None for its own.
        flip: chance of a mirrored clip, in [0, 1].
        pixels: a place is taken if the first frame shows at least so many pixels of objects there.
        tries: so many places are looked at before one without objects is taken.
        interpolation: of images, "linear" or "cubic"; masks always take the nearest pixel.
        fill: RGB of what lies beyond the edges, where a frame is smaller than the crop; None
            mirrors the frame there.

    Raises:
        ValueError: if an argument is out of range.

    Source: AOT, section 5.1 (video training), with the numbers of its released code.
    """

    looks = True

    def __init__(
        self,
        scale: tuple[float, float] = (0.7, 1.3),
        short_edge: int | None = 480,
        flip: float = 0.5,
        pixels: int = 150,
        tries: int = 10,
        interpolation: str = "cubic",
        fill: tuple[int, int, int] | None = _GRAY,
    ) -> None:
        super().__init__(interpolation, fill)
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must grow from above 0, not {scale}")
        if tries < 1:
            raise ValueError(f"tries must be at least 1, not {tries}")
        self.scale = scale
        self.short_edge = short_edge
        self.flip = flip
        self.pixels = pixels
        self.tries = tries

    def draw(self, shot: Shot, size: Size, rng: Generator) -> list[Matrix]:
        extent = _extent(shot)
        scale = rng.uniform(*self.scale)
        if self.short_edge is not None:
            scale *= self.short_edge / extent.min()
        crop = np.array(size[::-1]) / scale
        room = np.maximum(extent - crop, 0) / 2
        seen = shot.masks[0].any(axis=0)
        for _ in range(self.tries):
            middle = extent / 2 + rng.uniform(-1, 1, 2) * room
            (left, top), (right, bottom) = (middle - crop / 2, middle + crop / 2)
            rows, columns = (
                slice(max(0, round(first)), max(0, round(last)))
                for first, last in ((top, bottom), (left, right))
            )
            if np.count_nonzero(seen[rows, columns]) * scale**2 >= self.pixels:
                break
        mirror = -1.0 if rng.random() < self.flip else 1.0
        linear = scale * np.diag([mirror, 1.0])
        matrix = np.column_stack([linear, np.array(size[::-1]) / 2 - linear @ middle])
        return [matrix] * len(shot.frames)


def _extent(shot: Shot) -> Vector:
    height, width = shot.frames[0].shape[:2]
    return np.array([width, height], dtype=np.float64)


def _window(
    shot: Shot,
    size: Size,
    area: tuple[float, float],
    aspect: tuple[float, float],
    rng: Generator,
) -> tuple[Vector, Vector]:
    """Extent and middle (x, y) of a random crop inside of the frame."""
    extent = _extent(shot)
    pixels = rng.uniform(*area) * extent.prod()
    ratio = np.exp(rng.uniform(*np.log(aspect))) * size[1] / size[0]
    crop = np.array([np.sqrt(pixels * ratio), np.sqrt(pixels / ratio)])
    crop *= min(1.0, *(extent / crop))
    middle = extent / 2 + rng.uniform(-1, 1, 2) * (extent - crop) / 2
    return crop, middle


def _check_area(area: tuple[float, float]) -> None:
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"area must lie in (0, 1], not {area}")
