"""What makes a procedural clip hard, knob by knob."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absence:
    """How objects disappear for long and come back, out of the frame or behind what covers them.

    Each object has a schedule of its own: it is in sight at first, goes away, comes back where its
    wandering has brought it by then, and after a while goes away again.

    Attributes:
        chance: that an object disappears at all, in [0, 1].
        away: frames without the object are drawn between these two, at least 1; leaving and
            returning, in which it is seen less and less, come on top.
        stay: frames from one return to the next departure, and before the first one, are drawn
            between these two, at least 1.
        covered: chance that the object, instead of leaving the frame, is covered by an occluder
            that comes, moves along with it, and goes; in [0, 1].
        impostors: chance that a look-alike that is not annotated comes when the object goes, and
            goes when it returns; in [0, 1].

    Raises:
        ValueError: if a knob is out of its range.
    """

    chance: float = 1.0
    away: tuple[float, float] = (100.0, 130.0)
    stay: tuple[float, float] = (20.0, 70.0)
    covered: float = 0.35
    impostors: float = 0.35

    def __post_init__(self) -> None:
        for name in ("chance", "covered", "impostors"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        for name in ("away", "stay"):
            low, high = getattr(self, name)
            if not 1.0 <= low <= high:
                raise ValueError(f"{name} must be two numbers of frames from 1 up, not {low, high}")


@dataclass(frozen=True)
class Difficulty:
    """The knobs that `difficulty` turns together; the defaults are those of level 0.5.

    Lengths are in units of sqrt(H * W), so a difficulty means the same at every resolution.

    Attributes:
        speed: root mean square speed of objects, per frame; the camera moves at half of it.
        deformation: non-rigid displacement, relative to the radius of the object, in [0, 0.4].
        occlusion: expected number of occluders that cross the scene, at least 0.
        look_alikes: chance that an object is copied, in [0, 1]: once as another object of the
            clip, once as a distractor that is not annotated.
        leaving: chance that an object leaves the frame and returns, in [0, 1].
        similarity: how close the colors of the scene lie together, in [0, 1].
        noise: strength of illumination changes and of sensor noise, in [0, 1].
        absence: how objects disappear for long; `leaving` has no effect then. None for short trips
            out of the frame only. No level brings it.
    """

    speed: float = 0.025
    deformation: float = 0.16
    occlusion: float = 1.5
    look_alikes: float = 0.5
    leaving: float = 0.5
    similarity: float = 0.4
    noise: float = 0.5
    absence: Absence | None = None

    @classmethod
    def level(cls, level: float) -> Difficulty:
        """All knobs for one level in [0, 1].

        Raises:
            ValueError: if the level is outside [0, 1].
        """
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"difficulty must lie in [0, 1], not {level}")
        return cls(
            speed=0.004 + 0.042 * level,
            deformation=0.02 + 0.28 * level,
            occlusion=3.0 * level,
            look_alikes=level,
            leaving=level,
            similarity=0.8 * level,
            noise=level,
        )
