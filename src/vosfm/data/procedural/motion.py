"""Smooth motion as a closed-form function of time.

Nothing is integrated step by step: the pose at frame 1000 costs what the pose at frame 0 costs, so
frames can be rendered in any order and a longer clip begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_LONG_RAMP = (24.0, 40.0)
"""Frames that leaving for long takes; the way is far, so most of them pass outside."""


@dataclass(frozen=True)
class Wander:
    """A smooth bounded curve: a sum of sines per axis.

    Attributes:
        amplitudes: (K, D); each axis sums to its extent.
        frequencies: (K, D), in radians per frame.
        phases: (K, D), in radians.
    """

    amplitudes: Vector
    frequencies: Vector
    phases: Vector

    @classmethod
    def draw(cls, rng: Generator, extent: Vector | float, speed: float, waves: int = 3) -> Wander:
        """A curve within +-extent (D,) whose root mean square speed is about `speed` per frame."""
        extent = np.atleast_1d(np.asarray(extent, dtype=np.float64))
        weights = rng.uniform(0.3, 1.0, (waves, extent.size))
        amplitudes = extent * weights / weights.sum(axis=0)
        frequencies = rng.uniform(0.5, 1.5, amplitudes.shape)
        # Each sine a sin(w t) has the mean square speed (a w)^2 / 2.
        power = float(((amplitudes * frequencies) ** 2).sum() / 2)
        frequencies *= speed / max(np.sqrt(power), 1e-9)
        return cls(amplitudes, frequencies, rng.uniform(0, 2 * np.pi, amplitudes.shape))

    def __call__(self, time: float) -> Vector:
        """The (D,) position at a time."""
        waves = self.amplitudes * np.sin(self.frequencies * time + self.phases)
        return np.asarray(waves.sum(axis=0))


@dataclass(frozen=True)
class Excursion:
    """Leaving the frame and returning, again and again.

    Attributes:
        start: first frame of the first departure.
        ramp: frames that leaving takes, and returning too.
        away: frames spent outside.
        period: frames from one departure to the next.
        offset: (2,) displacement while away, far enough to be outside from anywhere inside.
        through: whether the object returns from the opposite side.
    """

    start: float
    ramp: float
    away: float
    period: float
    offset: Vector
    through: bool

    @classmethod
    def draw(cls, rng: Generator, extent: Vector, radius: float) -> Excursion:
        """An excursion out of a frame of the given (2,) extent."""
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), 0.6 * np.sin(angle)])
        direction /= np.linalg.norm(direction)
        reach = float(np.abs(extent / 2) @ np.abs(direction)) + 2 * radius
        ramp, away = rng.uniform(7, 13), rng.uniform(2, 8)
        return cls(
            start=rng.uniform(4, 16),
            ramp=ramp,
            away=away,
            period=2 * ramp + away + rng.uniform(10, 40),
            offset=1.15 * reach * direction,
            through=bool(rng.random() < 0.5),
        )

    @classmethod
    def draw_long(
        cls,
        rng: Generator,
        extent: Vector,
        radius: float,
        away: tuple[float, float],
        stay: tuple[float, float],
    ) -> Excursion:
        """An excursion that keeps an object outside for long, wherever it and the camera wander.

        Args:
            rng: of all that is left to chance.
            extent: (2,) of the frame.
            radius: of the object.
            away: frames spent outside are drawn between these two.
            stay: frames before the first departure, and between a return and the next departure,
                are drawn between these two.
        """
        ramp = rng.uniform(*_LONG_RAMP)
        start, outside = rng.uniform(*stay), rng.uniform(*away)
        return cls(
            start=start,
            ramp=ramp,
            away=outside,
            period=2 * ramp + outside + rng.uniform(*stay),
            offset=_far(rng, extent, radius),
            through=bool(rng.random() < 0.5),
        )

    def share(self, time: float) -> float:
        """How far away it is at a time, from 0 in place to 1 outside."""
        if time <= self.start:
            return 0.0
        phase = (time - self.start) % self.period
        middle = self.ramp + self.away / 2
        rise = np.clip((middle + self.away / 2 + self.ramp - phase) / self.ramp, 0, 1)
        x = min(phase / self.ramp, 1.0) if phase < middle else float(rise)
        return x * x * (3 - 2 * x)

    def __call__(self, time: float) -> Vector:
        """The (2,) displacement at a time; zero before the first departure."""
        returns = (time - self.start) % self.period >= self.ramp + self.away / 2
        sign = -1.0 if self.through and returns else 1.0
        return np.asarray(sign * self.share(time) * self.offset)


@dataclass(frozen=True)
class Visit:
    """Being in place exactly while another one is away, and outside otherwise.

    Attributes:
        host: whose absence it is.
        offset: (2,) displacement while the host is in place.
    """

    host: Excursion
    offset: Vector

    @classmethod
    def draw(cls, rng: Generator, host: Excursion, extent: Vector, radius: float) -> Visit:
        """A visit to a frame of the given (2,) extent."""
        return cls(host, _far(rng, extent, radius))

    def __call__(self, time: float) -> Vector:
        """The (2,) displacement at a time."""
        return np.asarray((1 - self.host.share(time)) * self.offset)


def _far(rng: Generator, extent: Vector, radius: float) -> Vector:
    """A (2,) displacement that no wandering of object and camera can undo."""
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), 0.6 * np.sin(angle)])
    direction /= np.linalg.norm(direction)
    return np.asarray((2 * np.linalg.norm(extent) + 2 * radius) * direction)


@dataclass(frozen=True)
class Motion:
    """How an object moves through the world.

    Attributes:
        center: (2,) around which it wanders.
        radius: its size, half of the side of its canonical square.
        path: wandering of the center.
        turn: wandering of the angle, in radians.
        angle: angle around which it turns.
        spin: radians per frame.
        zoom: wandering of the logarithm of its size.
        squash: wandering of the logarithm of its aspect.
        excursion: leaving and returning, or visiting; None for neither.
    """

    center: Vector
    radius: float
    path: Wander
    turn: Wander
    angle: float
    spin: float
    zoom: Wander
    squash: Wander
    excursion: Excursion | Visit | None

    def pose(self, time: float) -> Vector:
        """(2, 3), from the canonical square [-1, 1]^2 of the object to the world."""
        center = self.center + self.path(time)
        if self.excursion is not None:
            center = center + self.excursion(time)
        angle = self.angle + self.spin * time + self.turn(time)[0]
        zoom, squash = self.zoom(time)[0], self.squash(time)[0]
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        scale = self.radius * np.exp([zoom + squash, zoom - squash])
        return np.column_stack([rotation * scale, center])


@dataclass(frozen=True)
class Deformation:
    """A standing and travelling wave that bends an object, in its canonical square.

    Attributes:
        amplitude: largest displacement along each axis.
        waves: (2,) wave numbers along the other axis.
        rates: (2,) radians per frame.
        phases: (2,) radians.
    """

    amplitude: float
    waves: Vector
    rates: Vector
    phases: Vector

    @classmethod
    def draw(cls, rng: Generator, amplitude: float, speed: float) -> Deformation:
        """A deformation that beats faster for faster objects."""
        return cls(
            amplitude=amplitude,
            waves=rng.uniform(1.2, 3.5, 2),
            rates=rng.choice([-1, 1], 2) * rng.uniform(2, 9, 2) * (speed + 0.004),
            phases=rng.uniform(0, 2 * np.pi, 2),
        )

    def __call__(
        self, x: NDArray[np.float32], y: NDArray[np.float32], time: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the points (x, y) of the deformed object lie in the undeformed one."""
        first, second = (self.rates * time + self.phases).astype(np.float32)
        amplitude, waves = np.float32(self.amplitude), self.waves.astype(np.float32)
        return (
            x + amplitude * np.sin(waves[0] * y + first),
            y + amplitude * np.sin(waves[1] * x + second),
        )


@dataclass(frozen=True)
class Camera:
    """A camera that pans, zooms and rotates about the middle of the frame."""

    pan: Wander
    zoom: Wander
    roll: Wander
    shake: Wander

    @classmethod
    def draw(cls, rng: Generator, speed: float) -> Camera:
        """A camera whose pan is about as fast as `speed`, per frame."""
        reach = min(0.25, 8 * speed)
        return cls(
            pan=Wander.draw(rng, np.array([reach, 0.6 * reach]), speed),
            zoom=Wander.draw(rng, min(0.25, 8 * speed), speed / 2),
            roll=Wander.draw(rng, min(0.3, 6 * speed), speed / 2),
            shake=Wander.draw(rng, np.full(2, speed / 5), speed / 4, waves=2),
        )

    def view(self, time: float) -> Vector:
        """(2, 3), from the world, whose origin is the middle of the frame, to the view."""
        zoom = np.exp(self.zoom(time)[0])
        roll = self.roll(time)[0]
        rotation = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        shift = self.shake(time) - rotation @ self.pan(time)
        return np.column_stack([rotation, shift])


def compose(outer: Vector, inner: Vector) -> Vector:
    """The (2, 3) affine map that applies `inner` first and `outer` after it."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def invert(affine: Vector) -> Vector:
    """The inverse of a (2, 3) affine map."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])
