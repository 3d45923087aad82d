"""Outlines of objects and of the parts inside them.

An outline is a closed polygon (N, 2) in the canonical square [-1, 1]^2, x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Outline = NDArray[np.float64]

PARTS = 3
"""Every object has so many parts, whether or not a clip annotates them."""


@dataclass(frozen=True)
class Shape:
    """An object's silhouette and its parts, largest part first.

    Attributes:
        outlines: their union is the silhouette.
        parts: PARTS outlines; what lies outside of the silhouette does not count.
    """

    outlines: tuple[Outline, ...]
    parts: tuple[Outline, ...]


def ellipse(
    center: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
    power: float = 2.0,
    points: int = 40,
) -> Outline:
    """An ellipse; with a power above 2 it nears a rounded rectangle."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    x = radii[0] * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = radii[1] * np.sign(sin) * np.abs(sin) ** (2 / power)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([center[0] + c * x - s * y, center[1] + s * x + c * y], axis=1)


def blob(rng: Generator, roughness: float = 0.25) -> Outline:
    """A smooth closed curve with a few random bumps."""
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.ones_like(turn)
    for wave in range(2, 6):
        size = roughness * rng.uniform(0.3, 1.0) / (wave - 1) ** 0.7
        radius += size * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.25)
    outline = radius[:, None] * np.stack([np.cos(turn), np.sin(turn) * rng.uniform(0.6, 1)], axis=1)
    return np.asarray(outline / np.linalg.norm(outline, axis=1).max())


def star(rng: Generator) -> Outline:
    """Three to six soft arms, like a flower or a starfish."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    arms = int(rng.integers(3, 7))
    radius = 1 + rng.uniform(0.25, 0.45) * np.cos(arms * turn + rng.uniform(0, 2 * np.pi))
    radius /= radius.max()
    return np.asarray(radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1))


def polygon(rng: Generator) -> Outline:
    """Three to seven corners, slightly rounded."""
    corners = int(rng.integers(3, 8))
    turn = (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) * 2 * np.pi / corners
    outline = np.stack([np.cos(turn), np.sin(turn)], axis=1) * rng.uniform(0.8, 1, (corners, 1))
    for _ in range(2):
        after = np.roll(outline, -1, axis=0)
        ends = np.stack([0.85 * outline + 0.15 * after, 0.15 * outline + 0.85 * after], axis=1)
        outline = ends.reshape(-1, 2)
    return outline


def _lump(rng: Generator) -> Shape:
    outline = (blob, star, polygon)[int(rng.integers(3))](rng)
    return Shape((outline,), _patches(rng, outline))


def _patches(rng: Generator, outline: Outline) -> tuple[Outline, ...]:
    """One end of the object and two spots on it."""
    angle = rng.uniform(0, 2 * np.pi)
    end = ellipse((0.75 * np.cos(angle), 0.75 * np.sin(angle)), (0.6, 0.95), angle)
    spots = []
    for k in range(PARTS - 1):
        turn = angle + np.pi * (0.55 + 0.8 * k) + rng.uniform(-0.3, 0.3)
        reach = 0.42 * _radius(outline, turn)
        spot = blob(rng) * rng.uniform(0.26, 0.34)
        spots.append(spot + reach * np.array([np.cos(turn), np.sin(turn)]))
    return (end, *spots)


def _radius(outline: Outline, angle: float) -> float:
    """Distance from the origin to the outline in a direction."""
    turns = np.arctan2(outline[:, 1], outline[:, 0]) - angle
    nearest = int(np.argmin(np.abs(np.angle(np.exp(1j * turns)))))
    return float(np.linalg.norm(outline[nearest]))


def _creature(rng: Generator) -> Shape:
    torso = ellipse((0, 0), (0.6, rng.uniform(0.3, 0.42)), power=2.4)
    lift = rng.uniform(-0.45, -0.1)
    head = ellipse((0.66, lift), (0.3, rng.uniform(0.22, 0.3)), angle=rng.uniform(-0.5, 0.5))
    legs = [
        ellipse((x, 0.5), (rng.uniform(0.09, 0.14), 0.38), angle=rng.uniform(-0.35, 0.35))
        for x in (-0.42, -0.15, 0.2, 0.45)
    ]
    tail = ellipse((-0.72, rng.uniform(-0.3, 0)), (0.28, 0.1), angle=rng.uniform(0.2, 0.9))
    saddle = ellipse((rng.uniform(-0.2, 0.1), -0.08), (0.28, 0.24), power=2.6)
    return Shape((torso, head, tail, *legs), (head, saddle, legs[int(rng.integers(4))]))


def _vehicle(rng: Generator) -> Shape:
    body = ellipse((0, 0.12), (0.92, 0.3), power=5)
    cabin = ellipse((rng.uniform(-0.2, 0.2), -0.25), (0.5, 0.34), power=3.5)
    rim = rng.uniform(0.2, 0.27)
    wheels = [ellipse((x, 0.42), (rim, rim)) for x in (-0.52, 0.52)]
    return Shape((body, cabin, *wheels), (cabin, *wheels))


_KINDS: tuple[Callable[[Generator], Shape], ...] = (_lump, _lump, _creature, _vehicle)


def draw_shape(rng: Generator) -> Shape:
    """A random shape: a lump, a creature or a vehicle, mirrored half of the time."""
    shape = _KINDS[int(rng.integers(len(_KINDS)))](rng)
    if rng.random() < 0.5:
        return shape
    mirror = np.array([-1.0, 1.0])
    return Shape(tuple(o * mirror for o in shape.outlines), tuple(p * mirror for p in shape.parts))


def draw_bar(rng: Generator) -> Shape:
    """A long bar, as an occluder: a pole, a branch, a banner."""
    bar = ellipse((0, 0), (rng.uniform(0.05, 0.13), 1.0), power=8)
    return Shape((bar,), (bar,) * PARTS)


def draw_lid(rng: Generator) -> Shape:
    """A roundish lid without gaps that covers the unit circle, as an occluder."""
    lid = ellipse((0, 0), (1.0, 1.0), power=rng.uniform(2.5, 4.0))
    spot = blob(rng) * 0.4
    return Shape((lid,), (spot,) * PARTS)


def fill(outline: Outline, side: int, span: float) -> NDArray[np.uint8]:
    """Coverage (side, side) in [0, 255] of an outline on the square [-span, span]^2."""
    image = np.zeros((side, side), dtype=np.uint8)
    # Pixel centers lie at half-integers; four fractional bits keep small shapes round.
    points = np.rint(((outline / span + 1) * side / 2 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(image, [points], 255, lineType=cv2.LINE_AA, shift=4)
    return image
