"""What a scene is painted from: sprites that move and deform, and the ground behind them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vosfm.data.procedural.motion import Deformation, Motion, Vector, compose, invert
from vosfm.data.procedural.shapes import PARTS, Shape, blob, fill
from vosfm.data.procedural.texture import Palette, Texture, draw_texture, noise, paint

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_SPAN = 1.08
"""A sprite's canvas reaches a little beyond the canonical square, so that it ends transparent."""


@dataclass(frozen=True)
class Look:
    """What an object looks like, at any resolution.

    Attributes:
        shape: its outlines.
        textures: of its body and of each of its parts.
        light: direction that its shading comes from, in radians.
    """

    shape: Shape
    textures: tuple[Texture, ...]
    light: float

    @classmethod
    def draw(cls, rng: Generator, shape: Shape, palette: Palette) -> Look:
        """A look for a shape; about half of the parts have a texture of their own."""
        body = draw_texture(rng, palette, scale=0.45)
        parts = tuple(
            draw_texture(rng, palette, scale=0.3) if rng.random() < 0.6 else body.varied(rng)
            for _ in range(PARTS)
        )
        return cls(shape, (body, *parts), rng.uniform(0, 2 * np.pi))

    def varied(self, rng: Generator) -> Look:
        """A look-alike of the same shape."""
        return Look(self.shape, tuple(t.varied(rng) for t in self.textures), self.light)


@dataclass(frozen=True)
class Sprite:
    """A rendered object, ready to be moved.

    Attributes:
        pixels: (S, S, 4) uint8, RGB and coverage.
        parts: (S, S) uint8, bit k set where part k is.
    """

    pixels: Image
    parts: Image

    @classmethod
    def paint_for(cls, look: Look, radius: float, pixels_per_unit: float) -> Sprite:
        """Paint a look on a canvas that suits the radius of an object."""
        side = 2.2 * radius * pixels_per_unit
        return cls.paint(look, int(np.clip(side, 24, 512)))

    @classmethod
    def paint(cls, look: Look, side: int) -> Sprite:
        """Paint a look on a canvas of `side` pixels."""
        size = (side, side)
        unit = side / (2 * _SPAN)
        alpha = np.zeros(size, dtype=np.uint8)
        for outline in look.shape.outlines:
            np.maximum(alpha, fill(outline, side, _SPAN), out=alpha)
        image = paint(look.textures[0], size, unit)
        bits = np.zeros(size, dtype=np.uint8)
        for k, outline in enumerate(look.shape.parts):
            coverage = fill(outline, side, _SPAN)
            x, y, width, height = cv2.boundingRect(coverage)
            box = (slice(y, y + height), slice(x, x + width))
            coverage = coverage[box]
            inside = coverage > 127
            bits[box] |= inside.astype(np.uint8) << k
            own = paint(look.textures[k + 1], (height, width), unit)
            # A darker rim tells a part from its whole even where both share a texture.
            rim = cv2.erode(coverage, np.ones((3, 3), np.uint8)) < 128
            own[rim] = own[rim] // 5 * 3
            image[box][inside] = own[inside]
        image = _shade(image, alpha, look.light)
        bits[alpha < 128] = 0
        return cls(np.dstack([image, alpha]), bits)


def _shade(image: Image, alpha: Image, light: float) -> Image:
    """Round an object off: darker towards its rim and away from the light."""
    side = alpha.shape[0]
    depth = cv2.distanceTransform(alpha, cv2.DIST_L2, 3) * np.float32(5 / side)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    slope = np.float32(np.cos(light)) * ramp[None] + np.float32(np.sin(light)) * ramp[:, None]
    gain = (0.62 + 0.4 * np.minimum(depth, 1)) * (1 + 0.16 * slope)
    return np.asarray(np.clip(image * gain[..., None], 0, 255), dtype=np.uint8)


@dataclass(frozen=True)
class Actor:
    """A sprite with a motion and a deformation.

    Attributes:
        sprite: what is seen.
        motion: where it is.
        deformation: how it bends.
        object: index among the annotated objects; None for distractors and occluders.
    """

    sprite: Sprite
    motion: Motion
    deformation: Deformation
    object: int | None = None

    def paint(self, frame: Image, masks: Mask, view: Vector, time: float) -> None:
        """Paint the actor over a frame and cut it out of the masks of what is behind it.

        Args:
            frame: (H, W, 3) uint8, painted over in place.
            masks: (objects * (1 + PARTS), H, W) bool, changed in place: wholes, then the parts of
                the first object, of the second, ...
            view: (2, 3), from the world to pixels.
            time: in frames.
        """
        affine = compose(view, self.motion.pose(time))
        reach = (_SPAN + self.deformation.amplitude) * np.abs(affine[:, :2]).sum(axis=1)
        low = np.maximum(np.floor(affine[:, 2] - reach), 0).astype(int)
        high = np.minimum(np.ceil(affine[:, 2] + reach), frame.shape[1::-1]).astype(int)
        if np.any(high <= low):
            return
        box = (slice(low[1], high[1]), slice(low[0], high[0]))

        inverse = invert(affine).astype(np.float32)
        x = np.arange(low[0], high[0], dtype=np.float32)[None] + np.float32(0.5)
        y = np.arange(low[1], high[1], dtype=np.float32)[:, None] + np.float32(0.5)
        u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        u, v = self.deformation(u, v, time)
        side = self.sprite.parts.shape[0]
        scale, shift = np.float32(side / (2 * _SPAN)), np.float32((side - 1) / 2)
        u, v = u * scale + shift, v * scale + shift
        pixels = cv2.remap(self.sprite.pixels, u, v, cv2.INTER_LINEAR)
        alpha = pixels[..., 3:].astype(np.uint16)
        under = frame[box]
        under[:] = (under * (255 - alpha) + pixels[..., :3] * alpha + 127) // 255

        seen = pixels[..., 3] > 127
        masks[(slice(None), *box)] &= ~seen
        if self.object is not None:
            masks[(self.object, *box)] = seen
            bits = np.asarray(cv2.remap(self.sprite.parts, u, v, cv2.INTER_NEAREST), dtype=np.uint8)
            first = masks.shape[0] // (1 + PARTS) + self.object * PARTS
            for k in range(PARTS):
                masks[(first + k, *box)] = seen & (bits >> k & 1).astype(bool)


@dataclass(frozen=True)
class Ground:
    """The background: regions of stuff and clutter that stand still in the world.

    Attributes:
        canvas: (H, W, 3) uint8, larger than the frame; mirrored beyond its edges.
        pixels_per_unit: resolution of the canvas.
    """

    canvas: Image
    pixels_per_unit: float

    @classmethod
    def draw(
        cls, rng: Generator, palette: Palette, extent: Vector, pixels_per_unit: float
    ) -> Ground:
        """Between two and four regions with wavy borders, and some clutter on them."""
        size = (
            int(np.ceil(1.5 * extent[1] * pixels_per_unit)),
            int(np.ceil(1.5 * extent[0] * pixels_per_unit)),
        )
        canvas = paint(draw_texture(rng, palette, 0.3, calm=0.7), size, pixels_per_unit)
        height = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
        width = np.linspace(-1, 1, size[1], dtype=np.float32)[None]
        for _ in range(int(rng.integers(1, 4))):
            angle = rng.normal(np.pi / 2, 0.6)
            slope = np.float32(np.cos(angle)) * width + np.float32(np.sin(angle)) * height
            border = slope + 1.2 * (noise(rng, size, 3.0, octaves=2) - 0.5)
            region = paint(draw_texture(rng, palette, 0.3, calm=0.7), size, pixels_per_unit)
            inside = border > rng.uniform(-0.4, 0.6)
            canvas[inside] = region[inside]
        for _ in range(int(rng.integers(3, 9))):
            lump = blob(rng) * rng.uniform(0.03, 0.12) + rng.uniform(-0.5, 0.5, 2) * 1.5 * extent
            points = (lump + 0.75 * extent) * pixels_per_unit * 16
            color = palette.colors(rng, calm=0.3)[0]
            corners = [np.rint(points).astype(np.int32)]
            cv2.fillPoly(canvas, corners, color.tolist(), lineType=cv2.LINE_AA, shift=4)
        return cls(canvas, pixels_per_unit)

    def paint(self, size: tuple[int, int], view: Vector) -> Image:
        """The (H, W, 3) background of a frame; view (2, 3) goes from the world to pixels."""
        height, width = self.canvas.shape[:2]
        place = np.array([[1.0, 0, width / 2], [0, 1.0, height / 2]])
        place[:, :2] *= self.pixels_per_unit
        back = compose(place, invert(view))
        # From pixel indices to pixel indices: both grids have their centers at half-integers.
        back[:, 2] += back[:, :2].sum(axis=1) / 2 - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(
            self.canvas, back, size[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(warped, dtype=np.uint8)
