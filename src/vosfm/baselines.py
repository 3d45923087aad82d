"""What a model must beat: trackers that learn nothing, and a model that remembers nothing.

All of them are used like `Tracker.track`: frames and prompts in, results out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vosfm.errors import InputError
from vosfm.flow import Flow, pull
from vosfm.prompts import Given
from vosfm.search import Beam, Final, Greedy
from vosfm.segmenter import Segmenter
from vosfm.tracker import Prompts, Result
from vosfm.types import Contents, Features

Frames = Iterable[NDArray[np.uint8]]


def repeat(frames: Frames, prompts: Prompts) -> Iterator[Result]:
    """Repeat every object's last given mask."""
    held: dict[int, NDArray[np.bool_]] = {}
    for index, frame in enumerate(frames):
        held |= _masks(prompts.get(index, {}))
        yield _result(index, held, frame)


def carry(frames: Frames, prompts: Prompts, flow: Flow) -> Iterator[Result]:
    """Carry every object's mask from frame to frame by optical flow."""
    held: dict[int, NDArray[np.bool_]] = {}
    before: NDArray[np.uint8] | None = None
    for index, frame in enumerate(frames):
        if held and before is not None:
            moved = pull(np.stack(list(held.values())), flow(frame, before))
            held = dict(zip(held, moved, strict=True))
        held |= _masks(prompts.get(index, {}))
        before = frame
        yield _result(index, held, frame)


class Forgetful(Greedy):
    """Greedy search over a model whose memory is cleared after every frame.

    Every entry of every bank is overwritten with zeros, so that only what the frame itself shows
    can be seen: how much of a model's score is owed to its memory.
    """

    def step(
        self,
        segmenter: Segmenter,
        beam: Beam,
        features: Features,
        prompts: Mapping[int, Given] | None = None,
    ) -> tuple[Beam, list[Final]]:
        beam, finals = super().step(segmenter, beam, features, prompts)
        banks = {name: _cleared(contents) for name, contents in beam.state.banks.items()}
        return replace(beam, state=replace(beam.state, banks=banks)), finals


def _cleared(contents: Contents) -> Contents:
    return replace(contents, rows={name: leaf * 0 for name, leaf in contents.rows.items()})


def _masks(given: Mapping[int, Given]) -> dict[int, NDArray[np.bool_]]:
    masks = {}
    for object_id, mask in given.items():
        if not hasattr(mask, "shape"):
            raise InputError(f"object {object_id}: baselines take masks, not boxes or points")
        masks[object_id] = np.asarray(mask, bool)
    return masks


def _result(index: int, held: dict[int, NDArray[np.bool_]], frame: NDArray[np.uint8]) -> Result:
    masks = np.stack(list(held.values())) if held else np.zeros((0, *frame.shape[:2]), bool)
    return Result(index, tuple(held), masks, np.ones(len(held), np.float32))
