"""What makes a procedural clip hard, knob by knob."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    speed: float = 0.025
    deformation: float = 0.16
    occlusion: float = 1.5
    look_alikes: float = 0.5
    leaving: float = 0.5
    similarity: float = 0.4
    noise: float = 0.5

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
