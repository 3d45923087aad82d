"""A little world that is a function of its seed, seen by a camera at any time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from vosfm.data.procedural.absences import Disappearance
from vosfm.data.procedural.difficulty import Difficulty
from vosfm.data.procedural.layers import Actor, Ground, Image, Look, Mask, Sprite
from vosfm.data.procedural.motion import (
    Camera,
    Deformation,
    Excursion,
    Motion,
    Vector,
    Wander,
    compose,
    invert,
)
from vosfm.data.procedural.shapes import PARTS, draw_bar, draw_shape
from vosfm.data.procedural.texture import Palette

_LOOKS, _GROUND, _LAYOUT, _NOISE, _ABSENCES = range(5)
_ATTEMPTS = 24
_LEAST_AREA = 0.01
_LEAST_PART = 0.0015


class Scene:
    """Objects, occluders and distractors on a ground, under a moving camera.

    Equal arguments give bit-equal frames, in any process and in any order of rendering.

    Args:
        seed: integers that determine the scene.
        size: (H, W) of its frames, at least 32 each.
        objects: number of annotated objects, at least 1.
        difficulty: the knobs.

    Raises:
        ValueError: if the size or the number of objects is out of range.
    """

    def __init__(
        self,
        seed: tuple[int, ...],
        size: tuple[int, int] = (128, 128),
        objects: int = 3,
        difficulty: Difficulty | None = None,
    ) -> None:
        if min(size) < 32:
            raise ValueError(f"frames must measure at least 32 x 32 pixels, not {size}")
        if objects < 1:
            raise ValueError(f"a scene needs at least one object, not {objects}")
        self.seed = seed
        self.size = size
        self.objects = objects
        self.difficulty = difficulty or Difficulty()
        self.pixels_per_unit = float(np.sqrt(size[0] * size[1]))
        self.extent = np.array(size[::-1]) / self.pixels_per_unit

        rng = self._chance(_LOOKS)
        palette = Palette.draw(rng, self.difficulty.similarity)
        cast = self._draw_cast(rng, palette)
        self._cast = [(self._paint(look, radius), radius, index) for look, radius, index in cast]
        self._disappearances = self._draw_disappearances(cast, palette)
        rng = self._chance(_GROUND)
        self._ground = Ground.draw(rng, palette, self.extent, self.pixels_per_unit)
        rng = self._chance(_NOISE)
        self._light = Wander.draw(rng, np.full(4, 0.3), 0.03)
        grain = rng.standard_normal((size[0] + 32, size[1] + 32, 3), dtype=np.float32)
        self._grain = np.rint(9 * self.difficulty.noise * grain).astype(np.int16)
        self._camera, self._actors = self._draw_layout()

    def _chance(self, purpose: int, *more: int) -> Generator:
        """A generator of its own for each purpose, so that knobs do not disturb each other."""
        return np.random.default_rng([*self.seed, purpose, *more])

    def _draw_cast(self, rng: Generator, palette: Palette) -> list[tuple[Look, float, int | None]]:
        """Looks with radius and object index: objects, then distractors, then occluders."""
        knobs = self.difficulty
        largest = min(0.3, 0.42 / np.sqrt(self.objects))
        looks: list[Look] = []
        for index in range(self.objects):
            if index > 0 and rng.random() < knobs.look_alikes / 2:
                looks.append(looks[int(rng.integers(index))].varied(rng))
            else:
                looks.append(Look.draw(rng, draw_shape(rng), palette))
        cast: list[tuple[Look, float, int | None]] = [
            (look, largest * rng.uniform(0.8, 1.15), index) for index, look in enumerate(looks)
        ]
        for look, radius, _ in cast[:]:
            if rng.random() < knobs.look_alikes / 2:
                cast.append((look.varied(rng), radius * rng.uniform(0.8, 1.1), None))
        for _ in range(int(knobs.occlusion) + (rng.random() < knobs.occlusion % 1)):
            if rng.random() < 0.5:
                cast.append((Look.draw(rng, draw_bar(rng), palette), 0.8, None))
            else:
                cast.append((Look.draw(rng, draw_shape(rng), palette), 0.7 * largest, None))
        return cast

    def _paint(self, look: Look, radius: float) -> Sprite:
        return Sprite.paint_for(look, radius, self.pixels_per_unit)

    def _draw_disappearances(
        self, cast: list[tuple[Look, float, int | None]], palette: Palette
    ) -> dict[int, Disappearance]:
        """Object index -> how it disappears for long, of those that do."""
        absence = self.difficulty.absence
        found = {}
        for look, radius, index in cast:
            if absence is None or index is None:
                continue
            disappearance = Disappearance.draw(
                self._chance(_ABSENCES, index),
                absence,
                self.difficulty,
                look,
                radius,
                self.extent,
                palette,
                self.pixels_per_unit,
            )
            if disappearance is not None:
                found[index] = disappearance
        return found

    def _draw_layout(self) -> tuple[Camera, list[Actor]]:
        """Places and motions under which every object is seen at time 0."""
        best, best_score = None, (0.0, 0.0)
        for attempt in range(_ATTEMPTS):
            rng = self._chance(_LAYOUT, attempt)
            camera = Camera.draw(rng, self.difficulty.speed / 2)
            actors = self._place(rng, camera)
            self._camera, self._actors = camera, actors
            masks = self.render(0.0)[1]
            areas = masks.mean(axis=(1, 2))
            # Every whole must be seen; a part that nothing shows is a lesser evil.
            wholes = float((areas[: self.objects] / _LEAST_AREA).min())
            parts = float((areas[self.objects :] / _LEAST_PART).min())
            score = (min(wholes, 1.0), min(parts, 1.0))
            if wholes > 0 and score > best_score:
                best, best_score = (camera, actors), score
            if score == (1.0, 1.0):
                break
        if best is None:
            raise ValueError(
                f"{self.objects} objects do not fit into frames of {self.size}; ask for fewer"
            )
        return best

    def _place(self, rng: Generator, camera: Camera) -> list[Actor]:
        knobs = self.difficulty
        taken: list[Vector] = []
        actors = []
        for sprite, radius, index in self._cast:
            path = Wander.draw(rng, 0.33 * self.extent, knobs.speed * rng.uniform(0.6, 1.4))
            start = self._free_place(rng, taken, radius, camera)
            taken.append(start)
            leaves = index is not None and rng.random() < knobs.leaving
            motion = Motion(
                center=start - path(0.0),
                radius=radius,
                path=path,
                turn=Wander.draw(rng, 0.5, 3 * knobs.speed),
                angle=rng.normal(0, 0.35),
                spin=rng.normal(0, 2 * knobs.speed) if rng.random() < 0.4 else 0.0,
                zoom=Wander.draw(rng, 0.3, 1.5 * knobs.speed),
                squash=Wander.draw(rng, 0.22, 2 * knobs.speed),
                excursion=self._excursion(rng, index, radius, bool(leaves)),
            )
            bend = Deformation.draw(rng, knobs.deformation * rng.uniform(0.5, 1.2), knobs.speed)
            actors.append(Actor(sprite, motion, bend, index))
        # Occluders and distractors mix with the objects; who is in front is a matter of chance.
        order = rng.permutation(len(actors))
        return self._with_visitors(rng, [actors[i] for i in order])

    def _excursion(
        self, rng: Generator, index: int | None, radius: float, leaves: bool
    ) -> Excursion | None:
        if self.difficulty.absence is None:
            return Excursion.draw(rng, self.extent, radius) if leaves else None
        found = None if index is None else self._disappearances.get(index)
        return None if found is None else found.excursion

    def _with_visitors(self, rng: Generator, actors: list[Actor]) -> list[Actor]:
        """The actors from back to front, and those who come while an object is away."""
        everybody, later = [], []
        for actor in actors:
            everybody.append(actor)
            if actor.object is not None and actor.object in self._disappearances:
                found = self._disappearances[actor.object]
                front, anywhere = found.casting(rng, actor.motion, self.extent, self.difficulty)
                everybody += front
                later += anywhere
        for visitor in later:
            everybody.insert(int(rng.integers(len(everybody) + 1)), visitor)
        return everybody

    def _free_place(
        self, rng: Generator, taken: list[Vector], radius: float, camera: Camera
    ) -> Vector:
        """A place in the frame at time 0, in world units, far from the places taken."""
        room = np.maximum(self.extent / 2 - 0.8 * radius, 0.05)
        places = rng.uniform(-1, 1, (12, 2)) * room
        back = invert(camera.view(0.0))
        places = places @ back[:, :2].T + back[:, 2]
        if not taken:
            return np.asarray(places[0])
        gaps = np.linalg.norm(places[:, None] - np.stack(taken)[None], axis=2).min(axis=1)
        return np.asarray(places[int(np.argmax(gaps))])

    def render(self, time: float) -> tuple[Image, Mask]:
        """The frame at a time and the visible masks in it.

        Args:
            time: in frames, at least 0.

        Returns:
            (H, W, 3) uint8 RGB; (objects * (1 + PARTS), H, W) bool, the wholes, then the parts of
            the first object, of the second, ... Parts lie within their wholes.
        """
        pixels = np.array([[1.0, 0, self.size[1] / 2], [0, 1.0, self.size[0] / 2]])
        pixels[:, :2] *= self.pixels_per_unit
        view = compose(pixels, self._camera.view(time))
        frame = self._ground.paint(self.size, view)
        masks = np.zeros((self.objects * (1 + PARTS), *self.size), dtype=np.bool_)
        for actor in self._actors:
            actor.paint(frame, masks, view, time)
        return self._expose(frame, time), masks

    def _expose(self, frame: Image, time: float) -> Image:
        """Illumination and sensor noise."""
        strength = self.difficulty.noise
        if strength == 0:
            return frame
        light, *tint = self._light(time)
        gains = np.exp(strength * (light + 0.3 * np.array(tint)))
        curve = np.clip(np.arange(256)[:, None] * gains + 0.5, 0, 255).astype(np.uint8)
        frame = np.asarray(cv2.LUT(frame, curve[:, None]), dtype=np.uint8)
        y, x = self._chance(_NOISE, round(1024 * time)).integers(0, 32, 2)
        grain = self._grain[y : y + self.size[0], x : x + self.size[1]]
        return np.asarray(cv2.add(frame, grain, dtype=cv2.CV_8U), dtype=np.uint8)
