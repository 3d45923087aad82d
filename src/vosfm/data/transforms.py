"""Augmentation of whole clips.

However many geometric changes there are, each frame is resampled once, by one composed map that
its masks share. Masks are never flattened: overlaps survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.video import Image, Mask
from vosfm.types import Size

Matrix = NDArray[np.float64]

_INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True)
class Shot:
    """A clip before it becomes tensors.

    Attributes:
        frames: T images (H, W, 3) uint8 RGB.
        masks: (T, O, H, W) bool; they may overlap.
        void: (T, H, W) bool, pixels without a truth; None if there are none.
    """

    frames: tuple[Image, ...]
    masks: Mask
    void: Mask | None = None


class RandomWarp:
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
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"area must lie in (0, 1], not {area}")
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(f"interpolation must be linear or cubic, not {interpolation!r}")
        self.area = area
        self.aspect = aspect
        self.flip = flip
        self.rotation = rotation
        self.shear = shear
        self.drift = drift
        self.interpolation = interpolation

    def __call__(self, shot: Shot, size: Size, rng: Generator) -> Shot:
        """The clip at a size, seen through another window."""
        height, width = shot.frames[0].shape[:2]
        matrices = self.draw((height, width), size, len(shot.frames), rng)
        return warp(shot, matrices, size, self.interpolation)

    def draw(self, source: Size, size: Size, length: int, rng: Generator) -> list[Matrix]:
        """One (2, 3) map per frame, from points of the source to points of the result."""
        height, width = source
        area = rng.uniform(*self.area) * height * width
        aspect = np.exp(rng.uniform(*np.log(self.aspect))) * size[1] / size[0]
        crop = np.array([np.sqrt(area * aspect), np.sqrt(area / aspect)])
        crop *= min(1.0, *(np.array([width, height]) / crop))
        room = (np.array([width, height]) - crop) / 2
        middle = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * room
        mirror = -1.0 if rng.random() < self.flip else 1.0
        turn = np.radians(rng.uniform(-1, 1) * self.rotation)
        shear = np.tan(np.radians(rng.uniform(-1, 1) * self.shear))
        shift = rng.uniform(-1, 1, 2) * self.drift * crop
        spin = rng.uniform(-1, 1) * self.drift * np.pi / 2
        growth = rng.uniform(-1, 1) * self.drift
        matrices = []
        for along in np.linspace(0, 1, length):
            angle = turn + spin * along
            cos, sin = np.cos(angle), np.sin(angle)
            linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[mirror, shear], [0.0, 1.0]])
            linear = np.diag(np.array(size[::-1]) / crop * np.exp(growth * along)) @ linear
            matrix = np.column_stack(
                [linear, np.array(size[::-1]) / 2 - linear @ (middle + shift * along)]
            )
            matrices.append(matrix)
        return matrices


class ColorJitter:
    """Random brightness, contrast, saturation and hue, the same for all frames of a clip.

    Args:
        brightness: gain within 1 -+ this.
        contrast: within 1 -+ this, about mid-gray.
        saturation: within 1 -+ this.
        hue: at most so many turns of the color wheel, in [0, 0.5].
        gray: chance of a clip without color, in [0, 1].
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.03,
        gray: float = 0.05,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.gray = gray

    def __call__(self, shot: Shot, rng: Generator) -> Shot:
        """The clip in other colors; masks are untouched."""
        gain = 1 + self.brightness * rng.uniform(-1, 1)
        contrast = 1 + self.contrast * rng.uniform(-1, 1)
        saturation = 1 + self.saturation * rng.uniform(-1, 1)
        angle = 2 * np.pi * self.hue * rng.uniform(-1, 1)
        saturation *= rng.random() >= self.gray
        # Saturation and hue are linear in chroma, so that all four are one matrix on RGB.
        cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
        chroma = _FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _TO_YIQ
        matrix = np.column_stack([gain * contrast * chroma, np.full(3, 127.5 * (1 - contrast))])
        frames = tuple(
            np.asarray(cv2.transform(frame, matrix), dtype=np.uint8) for frame in shot.frames
        )
        return replace(shot, frames=frames)


_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def resize(shot: Shot, size: Size, interpolation: str = "linear") -> Shot:
    """The whole clip at another size (H, W); its aspect is not kept."""
    height, width = shot.frames[0].shape[:2]
    matrix = np.array([[size[1] / width, 0.0, 0.0], [0.0, size[0] / height, 0.0]])
    return warp(shot, [matrix] * len(shot.frames), size, interpolation)


def warp(shot: Shot, matrices: Sequence[Matrix], size: Size, interpolation: str = "linear") -> Shot:
    """Resample a clip, images and masks on the same grid; it is mirrored beyond its edges.

    Args:
        shot: T frames.
        matrices: T maps (2, 3), from points (x, y) of the source to points of the result; pixel
            (i, j) covers [j, j + 1] x [i, i + 1].
        size: (H, W) of the result.
        interpolation: of images, "linear" or "cubic"; masks take the nearest pixel.
    """
    mode = _INTERPOLATIONS[interpolation]
    frames, masks, voids = [], [], []
    for index, (frame, matrix) in enumerate(zip(shot.frames, matrices, strict=True)):
        frames.append(_resample(_shrink(frame, matrix), frame.shape[:2], matrix, size, mode))
        layers = shot.masks[index]
        if shot.void is not None:
            layers = np.concatenate([layers, shot.void[index, None]])
        # Eight masks travel in the bits of one byte; taking the nearest pixel keeps them apart.
        planes = [
            _resample(plane, plane.shape, matrix, size, cv2.INTER_NEAREST)
            for plane in np.packbits(layers, axis=0)
        ]
        empty = np.zeros((0, *size), dtype=np.uint8)
        bits = np.unpackbits(np.stack(planes) if planes else empty, axis=0, count=len(layers))
        masks.append(bits[: shot.masks.shape[1]].astype(np.bool_))
        voids.append(bits[shot.masks.shape[1] :].astype(np.bool_))
    void = None if shot.void is None else np.concatenate(voids)
    return Shot(tuple(frames), np.stack(masks), void)


def _shrink(frame: Image, matrix: Matrix) -> Image:
    """Reduce a frame by averaging before a strong reduction, which would alias."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = int(0.75 / max(scale, 1e-6))
    if factor < 2:
        return frame
    height, width = (max(1, round(n / factor)) for n in frame.shape[:2])
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))


def _resample(
    pixels: NDArray[np.uint8], source: tuple[int, ...], matrix: Matrix, size: Size, mode: int
) -> NDArray[np.uint8]:
    """Apply a map from points of a `source`-sized frame to pixels that may be reduced already."""
    height, width = pixels.shape[:2]
    linear = matrix[:, :2] / np.array([width / source[1], height / source[0]])
    # OpenCV counts from the center of the first pixel, we from its corner.
    shift = matrix[:, 2] + linear.sum(axis=1) / 2 - 0.5
    forward = np.column_stack([linear, shift])
    if np.array_equal(forward, np.eye(2, 3)) and (height, width) == tuple(size):
        return pixels
    warped = cv2.warpAffine(
        pixels, forward, size[::-1], flags=mode, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, dtype=np.uint8)
