"""Changes to whole clips: resampling, colors, and pasting one clip over another.

However many geometric changes there are, each frame is resampled once, by one composed map that
its masks share: its `View`. Masks are never flattened: overlaps survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.thin_plate import Field
from vosfm.data.video import Image, Mask
from vosfm.types import Size

Matrix = NDArray[np.float64]

_MOST_MARGIN = 1.0
"""Of width and height together; for windows that look further beyond, OpenCV mirrors faster."""

INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


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


class ColorJitter:
    """Random brightness, contrast, saturation and hue.

    Args:
        brightness: gain within 1 -+ this.
        contrast: within 1 -+ this, about mid-gray.
        saturation: within 1 -+ this.
        hue: at most so many turns of the color wheel, in [0, 0.5].
        gray: chance of no color at all, in [0, 1].
        together: whether all frames of a clip change alike, as a video needs it; otherwise each
            frame changes by itself.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.03,
        gray: float = 0.05,
        together: bool = True,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.gray = gray
        self.together = together

    def __call__(self, shot: Shot, rng: Generator) -> Shot:
        """The clip in other colors; masks are untouched."""
        matrices = [self._draw(rng) for _ in range(1 if self.together else len(shot.frames))]
        if self.together:
            matrices *= len(shot.frames)
        frames = tuple(
            np.asarray(cv2.transform(frame, matrix), dtype=np.uint8)
            for frame, matrix in zip(shot.frames, matrices, strict=True)
        )
        return replace(shot, frames=frames)

    def _draw(self, rng: Generator) -> Matrix:
        """A (3, 4) map from RGB to RGB."""
        gain = 1 + self.brightness * rng.uniform(-1, 1)
        contrast = 1 + self.contrast * rng.uniform(-1, 1)
        saturation = 1 + self.saturation * rng.uniform(-1, 1)
        angle = 2 * np.pi * self.hue * rng.uniform(-1, 1)
        saturation *= rng.random() >= self.gray
        # Saturation and hue are linear in chroma, so that all four are one matrix on RGB.
        cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
        chroma = _FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _TO_YIQ
        return np.column_stack([gain * contrast * chroma, np.full(3, 127.5 * (1 - contrast))])


_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def paste(over: Shot, under: Shot) -> Shot:
    """Lay the objects of one clip over another.

    Args:
        over: the clip whose objects are seen in front, with all that overlaps among them.
        under: the clip that they are laid on, of the same length and size.

    Returns:
        A clip of both clips' objects, those of `under` first.
    """
    front: Mask = np.any(over.masks, axis=1)  # (T, H, W)
    frames = tuple(
        np.where(seen[..., None], above, below)
        for seen, above, below in zip(front, over.frames, under.frames, strict=True)
    )
    masks = np.concatenate([under.masks & ~front[:, None], over.masks], axis=1)
    return Shot(frames, masks, None if under.void is None else under.void & ~front)


@dataclass(frozen=True)
class View:
    """How one frame of a result is seen: image and masks on the same grid.

    Attributes:
        matrix: (2, 3), from points (x, y) of the source to points of the result; pixel (i, j)
            covers [j, j + 1] x [i, i + 1].
        size: (H, W) of the result.
        interpolation: of images, "linear" or "cubic"; masks take the nearest pixel.
        fill: RGB of what lies beyond the edges, where no mask is; None mirrors the frame there.
        field: (*size, 2), a bend of the result: a pixel shows what without it would lie so far
            away; None for a result that stays straight.
    """

    matrix: Matrix
    size: Size
    interpolation: str = "linear"
    fill: tuple[int, int, int] | None = None
    field: Field | None = None

    def image(self, frame: Image) -> Image:
        """Resample an image (H, W, 3)."""
        mode = INTERPOLATIONS[self.interpolation]
        shrunk = _shrink(frame, self.matrix)
        forward = self._forward(frame.shape, shrunk.shape)
        if self._changes_nothing(forward, shrunk.shape):
            return shrunk
        if mode != cv2.INTER_LINEAR:
            return self._resample(shrunk, forward, mode, self.fill)
        # OpenCV interpolates four channels in less than half the time of three, to the same bits.
        four = np.asarray(cv2.cvtColor(shrunk, cv2.COLOR_RGB2RGBA), dtype=np.uint8)
        seen = self._resample(four, forward, mode, self.fill)
        return np.asarray(cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB), dtype=np.uint8)

    def masks(self, masks: Mask) -> Mask:
        """Resample masks (O, H, W)."""
        if not len(masks):
            return np.zeros((0, *self.size), dtype=np.bool_)
        seen = [self._eight(masks[at : at + 8]) for at in range(0, len(masks), 8)]
        return seen[0] if len(seen) == 1 else np.concatenate(seen)

    def _eight(self, masks: Mask) -> Mask:
        """Eight masks travel in the bits of one byte; taking the nearest pixel keeps them apart."""
        layers = masks.view(np.uint8)
        bits = 1 << np.arange(len(layers), dtype=np.uint8)
        plane = layers[0]
        for layer, bit in zip(layers[1:], bits[1:], strict=True):
            plane = plane | layer * bit
        forward = self._forward(plane.shape, plane.shape)
        if not self._changes_nothing(forward, plane.shape):
            empty = None if self.fill is None else (0, 0, 0)
            plane = self._resample(plane, forward, cv2.INTER_NEAREST, empty)
        return np.asarray(plane & bits[:, None, None], dtype=np.bool_)

    def _forward(self, source: tuple[int, ...], reduced: tuple[int, ...]) -> Matrix:
        """The map as OpenCV takes it, from pixels of a source that may be reduced already.

        OpenCV counts from the center of the first pixel, we from its corner.
        """
        forward = self.matrix.astype(np.float64)
        forward[:, 0] /= reduced[1] / source[1]
        forward[:, 1] /= reduced[0] / source[0]
        forward[:, 2] += (forward[:, 0] + forward[:, 1]) / 2 - 0.5
        return forward

    def _changes_nothing(self, forward: Matrix, shape: tuple[int, ...]) -> bool:
        same = self.field is None and shape[:2] == tuple(self.size)
        return same and np.array_equal(forward, np.eye(2, 3))

    def _resample(
        self,
        pixels: NDArray[np.uint8],
        forward: Matrix,
        mode: int,
        fill: tuple[int, int, int] | None,
    ) -> NDArray[np.uint8]:
        border = cv2.BORDER_REFLECT_101 if fill is None else cv2.BORDER_CONSTANT
        beyond = fill or (0, 0, 0)
        if self.field is not None:
            x, y = np.moveaxis(_look_up(forward, self.field), -1, 0)
            seen = cv2.remap(pixels, x, y, mode, borderMode=border, borderValue=beyond)
            return np.asarray(seen, dtype=np.uint8)
        if fill is None and mode != cv2.INTER_CUBIC:
            margins = _margins(pixels.shape, forward, self.size)
            if sum(margins) <= _MOST_MARGIN * sum(pixels.shape[:2]):
                # OpenCV looks up a mirrored border at half the speed of none.
                border = cv2.BORDER_CONSTANT
                if any(margins):
                    pixels = np.asarray(
                        cv2.copyMakeBorder(pixels, *margins, cv2.BORDER_REFLECT_101), np.uint8
                    )
                    forward = forward.copy()
                    forward[:, 2] -= forward[:, :2] @ (margins[2], margins[0])
        seen = cv2.warpAffine(
            pixels, forward, self.size[::-1], flags=mode, borderMode=border, borderValue=beyond
        )
        return np.asarray(seen, dtype=np.uint8)


def look(shot: Shot, views: Sequence[View]) -> Shot:
    """Resample a clip of T frames, each by a view of its own."""
    void = None
    if shot.void is not None:
        masks = zip(views, shot.void, strict=True)
        void = np.concatenate([view.masks(mask[None]) for view, mask in masks])
    return Shot(
        tuple(view.image(frame) for view, frame in zip(views, shot.frames, strict=True)),
        np.stack([view.masks(masks) for view, masks in zip(views, shot.masks, strict=True)]),
        void,
    )


def resize(shot: Shot, size: Size, interpolation: str = "linear") -> Shot:
    """The whole clip at another size (H, W); its aspect is not kept."""
    view = View(whole(shot, size), size, interpolation)
    return look(shot, [view] * len(shot.frames))


def whole(shot: Shot, size: Size) -> Matrix:
    """The map (2, 3) that brings whole frames to a size (H, W)."""
    height, width = shot.frames[0].shape[:2]
    return np.array([[size[1] / width, 0.0, 0.0], [0.0, size[0] / height, 0.0]])


def warp(
    shot: Shot,
    matrices: Sequence[Matrix],
    size: Size,
    interpolation: str = "linear",
    fill: tuple[int, int, int] | None = None,
    fields: Sequence[Field | None] | None = None,
) -> Shot:
    """Resample a clip.

    Args:
        shot: T frames.
        matrices: T maps, as `View.matrix`.
        size: (H, W) of the result.
        interpolation: as `View.interpolation`.
        fill: as `View.fill`.
        fields: T bends, as `View.field`; None for no bends at all.
    """
    bends = fields or [None] * len(matrices)
    return look(
        shot,
        [
            View(matrix, size, interpolation, fill, bend)
            for matrix, bend in zip(matrices, bends, strict=True)
        ],
    )


def _shrink(frame: Image, matrix: Matrix) -> Image:
    """Reduce a frame by averaging before a strong reduction, which would alias."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = int(0.75 / max(scale, 1e-6))
    if factor < 2:
        return frame
    height, width = (max(1, round(n / factor)) for n in frame.shape[:2])
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))


def _margins(shape: tuple[int, ...], forward: Matrix, size: Size) -> tuple[int, int, int, int]:
    """How many pixels above, below, left and right of a source a window looks at."""
    # In plain numbers: arrays of four would cost more than the resampling of a mask.
    (a, b, x), (c, d, y) = forward.tolist()
    area = a * d - b * c
    if area == 0:
        raise ValueError("a view that maps a frame to a line shows nothing")
    bottom, right = size[0] - 1, size[1] - 1
    corners = ((-x, -y), (right - x, -y), (-x, bottom - y), (right - x, bottom - y))
    across = [(d * u - b * v) / area for u, v in corners]
    down = [(a * v - c * u) / area for u, v in corners]
    # Half a pixel more, for the nearest one may be the next.
    return (
        max(0, ceil(0.5 - min(down))),
        max(0, ceil(0.5 + max(down) - shape[0] + 1)),
        max(0, ceil(0.5 - min(across))),
        max(0, ceil(0.5 + max(across) - shape[1] + 1)),
    )


def _look_up(forward: Matrix, field: Field) -> NDArray[np.float32]:
    """(H, W, 2), where (x, y) a bent result is taken from, by the map to a straight one."""
    backward = np.linalg.inv(forward[:, :2])
    height, width = field.shape[:2]
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    straight = pixels + field - forward[:, 2]
    return np.asarray(straight @ backward.T, dtype=np.float32)
