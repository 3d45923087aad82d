"""Procedural textures: noise, stripes, dots, checks, rings, patches and gradients."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Field = NDArray[np.float32]
Colors = NDArray[np.float32]

KINDS = ("noise", "stripes", "dots", "checks", "rings", "patches", "gradient", "marble")


@dataclass(frozen=True)
class Texture:
    """Everything that determines a texture.

    Attributes:
        kind: one of KINDS.
        colors: (3, 3) RGB in [0, 255]: ground, figure, and a tint that mottles both.
        scale: length of one repetition, in the units of the painted canvas.
        angle: direction of the pattern, in radians.
        contrast: how hard its edges are, at least 1.
        seed: of its noise.
    """

    kind: str
    colors: Colors
    scale: float
    angle: float
    contrast: float
    seed: int

    def varied(self, rng: Generator) -> Texture:
        """A look-alike: the same pattern, other noise, colors a little off."""
        shift = rng.normal(0, 7, (1, 3)).astype(np.float32)
        return replace(
            self,
            colors=np.clip(self.colors + shift, 0, 255),
            scale=self.scale * rng.uniform(0.9, 1.1),
            seed=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Palette:
    """Where the colors of a scene lie: hues around one, spread the less the more similar."""

    hue: float
    spread: float

    @classmethod
    def draw(cls, rng: Generator, similarity: float) -> Palette:
        """A palette; similarity in [0, 1]."""
        return cls(hue=rng.random(), spread=1 - 0.85 * similarity)

    def colors(self, rng: Generator, calm: float = 0.0) -> Colors:
        """(3, 3) RGB in [0, 255] for one texture; calm in [0, 1] lowers contrast and saturation."""
        hue = self.hue + self.spread * rng.uniform(-0.5, 0.5)
        saturation = rng.uniform(0.25, 0.9) * (1 - 0.5 * calm)
        light = rng.uniform(0.3, 0.85)
        gap = rng.choice([-1, 1]) * rng.uniform(0.25, 0.5) * (1 - 0.6 * calm)
        other = hue + (0.5 if rng.random() < 0.3 * (1 - calm) else rng.uniform(-0.1, 0.1))
        figure = np.clip(light + (gap if 0.1 < light + gap < 0.95 else -gap), 0.08, 0.98)
        rows = [
            (hue, saturation, light),
            (other, saturation * rng.uniform(0.5, 1), float(figure)),
            (hue + rng.uniform(-0.15, 0.15), saturation, rng.uniform(0.2, 0.9)),
        ]
        colors = [colorsys.hsv_to_rgb(h % 1, s, v) for h, s, v in rows]
        return np.asarray(colors, dtype=np.float32) * 255


def draw_texture(rng: Generator, palette: Palette, scale: float, calm: float = 0.0) -> Texture:
    """A random texture with repetitions of about `scale`."""
    return Texture(
        kind=KINDS[int(rng.integers(len(KINDS)))],
        colors=palette.colors(rng, calm),
        scale=scale * rng.uniform(0.7, 1.4),
        angle=rng.uniform(0, np.pi),
        contrast=rng.uniform(1.0, 5.0) if calm < 0.5 else rng.uniform(1.0, 1.8),
        seed=int(rng.integers(2**31)),
    )


def noise(rng: Generator, size: tuple[int, int], cells: float, octaves: int = 3) -> Field:
    """Fractal noise (H, W) in about [0, 1] with `cells` bumps along the shorter side."""
    height, width = size
    short = min(size)
    total = np.zeros(size, dtype=np.float32)
    weight = 0.0
    for octave in range(octaves):
        step = cells * 2**octave
        grid = (round(step * height / short) + 2, round(step * width / short) + 2)
        if octave > 0 and step > short / 2:
            break
        coarse = rng.random(grid, dtype=np.float32)
        total += 0.55**octave * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += 0.55**octave
    return total / np.float32(weight)


def paint(texture: Texture, size: tuple[int, int], unit: float) -> NDArray[np.uint8]:
    """A canvas (H, W, 3) uint8 RGB covered with a texture.

    Args:
        texture: what to paint.
        size: of the canvas, in pixels.
        unit: pixels per unit of length.
    """
    rng = np.random.default_rng(texture.seed)
    period = max(texture.scale * unit, 4.0)
    mottle = noise(rng, size, max(2.0, min(size) / (2 * period)))
    field = _pattern(texture, rng, size, period, mottle)
    field = (field - 0.5) * np.float32(texture.contrast) + 0.5
    field = np.minimum(np.maximum(field, 0), 1)
    ground, figure, tint = texture.colors
    weights = np.empty((*size, 3), dtype=np.float32)
    strength = 0.45 * mottle
    weights[..., 2] = strength
    weights[..., 1] = field * (1 - strength)
    weights[..., 0] = 1 - strength - weights[..., 1]
    # Not a BLAS product: its rounding depends on the number of threads.
    image = cv2.transform(weights, np.stack([ground, figure, tint], axis=1))
    image += rng.integers(-8, 9, size, dtype=np.int8)[..., None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0, out=image)), dtype=np.uint8)


def _pattern(
    texture: Texture, rng: Generator, size: tuple[int, int], period: float, mottle: Field
) -> Field:
    height, width = size
    if texture.kind == "noise":
        return noise(rng, size, max(2.0, min(size) / period)) * 1.6 - 0.3
    x: Field = np.arange(width, dtype=np.float32)[None] - np.float32(width / 2)
    y: Field = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    wave = np.float32(2 * np.pi / period)
    cos, sin = np.float32(np.cos(texture.angle)), np.float32(np.sin(texture.angle))
    bend = 3 * mottle
    along: Field = wave * (cos * x + sin * y) + bend
    across: Field = wave * (cos * y - sin * x) + bend
    field: NDArray[Any]
    match texture.kind:
        case "stripes":
            field = 0.5 + 0.5 * np.sin(along)
        case "dots":
            field = np.maximum(2 * np.sin(along) * np.sin(across), 0)
        case "checks":
            field = 0.5 + 0.5 * np.clip(4 * np.sin(along) * np.sin(across), -1, 1)
        case "rings":
            off = np.float32(rng.uniform(-0.3, 0.3) * min(size))
            field = 0.5 + 0.5 * np.sin(wave * np.hypot(x - off, y + off) + bend)
        case "marble":
            field = 0.5 + 0.5 * np.sin(0.35 * along + 9 * mottle)
        case "gradient":
            ramp = (cos * x + sin * y) / np.float32(max(size))
            field = 0.5 + 0.8 * ramp + 0.3 * (mottle - 0.5)
        case "patches":
            field = _cells(rng, size, period)
        case _:
            raise ValueError(
                f"no texture of the kind {texture.kind!r}; known are {', '.join(KINDS)}"
            )
    return np.asarray(field, dtype=np.float32)


def _cells(rng: Generator, size: tuple[int, int], period: float) -> Field:
    """Straight-edged cells of random brightness, like the coat of a giraffe."""
    grid = (max(2, int(size[0] / period)) + 1, max(2, int(size[1] / period)) + 1)
    coarse = rng.random(grid, dtype=np.float32)
    blocks = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)
    shift = (noise(rng, size, max(2.0, min(size) / period)) - 0.5) * np.float32(1.6 * period)
    x = np.arange(size[1], dtype=np.float32)[None] + shift
    y = np.arange(size[0], dtype=np.float32)[:, None] - shift
    cells = cv2.remap(blocks, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cells, dtype=np.float32)
