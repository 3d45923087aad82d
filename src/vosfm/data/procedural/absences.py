"""Who disappears for long, and who comes meanwhile: what covers an object, and its impostors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from vosfm.data.procedural.difficulty import Absence, Difficulty
from vosfm.data.procedural.layers import Actor, Look, Sprite
from vosfm.data.procedural.motion import Deformation, Excursion, Motion, Vector, Visit, Wander
from vosfm.data.procedural.shapes import draw_lid
from vosfm.data.procedural.texture import Palette


@dataclass(frozen=True)
class Extra:
    """Somebody who is only in the scene while an object is away.

    Attributes:
        sprite: what is seen.
        radius: half of the side of its canonical square.
        visit: when it is there.
    """

    sprite: Sprite
    radius: float
    visit: Visit


@dataclass(frozen=True)
class Disappearance:
    """How one object disappears.

    Attributes:
        trip: when; and where to, unless it is covered.
        cover: what covers the object where it is; None if it leaves the frame.
        impostor: a look-alike that comes meanwhile; or None.
    """

    trip: Excursion
    cover: Extra | None = None
    impostor: Extra | None = None

    @property
    def excursion(self) -> Excursion | None:
        """Of the object itself."""
        return self.trip if self.cover is None else None

    @classmethod
    def draw(
        cls,
        rng: Generator,
        absence: Absence,
        knobs: Difficulty,
        look: Look,
        radius: float,
        extent: Vector,
        palette: Palette,
        pixels_per_unit: float,
    ) -> Disappearance | None:
        """How an object disappears, if it does.

        Args:
            rng: of all that is left to chance.
            absence: the knobs.
            knobs: all the others.
            look: of the object.
            radius: of the object.
            extent: (2,) of the frame.
            palette: of the scene.
            pixels_per_unit: resolution of the frames.
        """
        goes, covered, copied = rng.random(3) < (absence.chance, absence.covered, absence.impostors)
        trip = Excursion.draw_long(rng, extent, radius, absence.away, absence.stay)
        if not goes:
            return None

        def extra(look: Look, radius: float) -> Extra:
            visit = Visit.draw(rng, trip, extent, radius)
            return Extra(Sprite.paint_for(look, radius, pixels_per_unit), radius, visit)

        cover = impostor = None
        if covered:
            # Outlines reach a little beyond the unit circle, and bend along both axes.
            reach = 1.12 + 1.2 * np.sqrt(2) * knobs.deformation
            cover = extra(Look.draw(rng, draw_lid(rng), palette), reach * radius)
        if copied:
            impostor = extra(look.varied(rng), radius * rng.uniform(0.8, 1.1))
        return cls(trip, cover, impostor)

    def casting(
        self, rng: Generator, of: Motion, extent: Vector, knobs: Difficulty
    ) -> tuple[list[Actor], list[Actor]]:
        """The actors that come while the object is away.

        Args:
            rng: of all that is left to chance.
            of: the object's motion.
            extent: (2,) of the frame.
            knobs: of the scene.

        Returns:
            Those right in front of the object; those anywhere.
        """
        front, anywhere = [], []
        if self.cover is not None:
            # It shares whatever the object does, so that nothing ever peeps out.
            motion = replace(of, radius=self.cover.radius, excursion=self.cover.visit)
            rigid = Deformation.draw(rng, 0.0, knobs.speed)
            front.append(Actor(self.cover.sprite, motion, rigid))
        if self.impostor is not None:
            path = Wander.draw(rng, 0.33 * extent, knobs.speed)
            motion = replace(
                of,
                center=rng.uniform(-0.15, 0.15, 2) * extent,
                radius=self.impostor.radius,
                path=path,
                angle=rng.normal(0, 0.35),
                excursion=self.impostor.visit,
            )
            bend = Deformation.draw(rng, knobs.deformation, knobs.speed)
            anywhere.append(Actor(self.impostor.sprite, motion, bend))
        return front, anywhere
