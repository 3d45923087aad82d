"""The truth of a sequence whose masks are run-length coded in JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vosfm.data.fields import checked, field, read_json
from vosfm.data.rle import area, decode
from vosfm.data.truth import Truth
from vosfm.data.video import VOID, Mask
from vosfm.errors import InputError


class RLETruth(Truth):
    """Masks as COCO RLE, of every object in every frame that shows it; they may overlap.

    An object starts in the first frame in which its mask has a pixel; one without a pixel in any
    frame is left out. Where it has no mask later on, it is out of sight.

    Args:
        source: the file that tells of the sequence, for messages.
        name: of the sequence.
        size: (H, W) of its frames.
        frame_names: stem of every annotated frame.
        records: object id -> run-length mask, for each of these frames.
        numbers: of every annotated frame in the video; None if each is its place.
        length: frames of the video; None for as many as are annotated.
        captions: object id -> its category.

    Raises:
        InputError: if ids are not 1 to 254, records and frames are not equally many, two frames
            have one name, or a mask by which an object starts is damaged.
    """

    overlapping = True

    def __init__(
        self,
        source: str | os.PathLike[str],
        name: str,
        size: tuple[int, int],
        frame_names: Sequence[str],
        records: Sequence[Mapping[int, Any]],
        numbers: Sequence[int] | None = None,
        length: int | None = None,
        captions: Mapping[int, str] | None = None,
    ) -> None:
        self._source = source
        self.name = name
        self._size = size
        self.frame_names = tuple(frame_names)
        self._records = tuple(records)
        if len(self._records) != len(self.frame_names):
            raise InputError(
                f"{source}: {name} has {len(self.frame_names)} annotated frames but masks of "
                f"{len(self._records)}; unpack the file again"
            )
        if len(set(self.frame_names)) < len(self.frame_names):
            twice = next(n for n in self.frame_names if self.frame_names.count(n) > 1)
            raise InputError(f"{source}: {name} has two frames {twice}; results need one name each")
        self.numbers = tuple(range(len(self.frame_names))) if numbers is None else tuple(numbers)
        self.length = len(self.frame_names) if length is None else length
        starts: dict[int, int] = {}
        for place, masks in enumerate(self._records):
            for object_id, rle in masks.items():
                if not 0 < object_id < VOID:
                    raise InputError(
                        f"{self._whose(place, object_id)}: results hold the ids 1 to {VOID - 1}; "
                        "renumber it"
                    )
                if object_id not in starts and area(rle, self._whose(place, object_id)):
                    starts[object_id] = place
        self.object_ids = tuple(sorted(starts))
        self.starts = {i: starts[i] for i in self.object_ids}
        told = captions or {}
        self.captions = {i: told[i] for i in self.object_ids if i in told}

    def masks(self, place: int) -> Mask:
        """(O, H, W) bool masks of a frame; empty out of sight.

        Raises:
            InputError: if a mask is damaged, or of another size than the frames.
        """
        return decode_some(
            self._records[place],
            self.object_ids,
            self._size,
            lambda object_id: self._whose(place, object_id),
        )

    def _whose(self, place: int, object_id: int) -> str:
        frame = self.frame_names[place]
        return f"{self._source}: {self.name}, frame {frame}, object {object_id}"


def decode_some(
    records: Mapping[int, Any],
    ids: Sequence[int],
    size: tuple[int, int],
    whose: Callable[[int], str],
) -> Mask:
    """Decode the masks of some objects of a frame, and no other.

    Args:
        records: object id -> run-length mask.
        ids: the O objects that are asked for.
        size: (H, W) of the frame.
        whose: object id -> file, frame and object, for messages.

    Returns:
        (O, H, W) bool, empty where an object has no mask.

    Raises:
        InputError: if a mask is damaged, or of another size than the frame.
    """
    masks = np.zeros((len(ids), *size), dtype=np.bool_)
    for row, object_id in enumerate(ids):
        if object_id in records:
            mask = decode(records[object_id], whose(object_id))
            if mask.shape != size:
                found, frame = (f"{h} x {w}" for h, w in (mask.shape, size))
                raise InputError(
                    f"{whose(object_id)}: the mask measures {found} (height x width) but the "
                    f"frames {frame}; unpack the file again"
                )
            masks[row] = mask
    return masks


def read_records(path: Path) -> dict[int, dict[str, Any]]:
    """Read the masks of one frame from a JSON file of its own, as the data engine writes them.

    Args:
        path: a list of objects with an "id" from 0 on, and either a "segmentation" of "size" and
            "counts" or these two themselves.

    Returns:
        What is told of each object, by id; "segmentation" is its run-length mask.

    Raises:
        InputError: if the file is missing, damaged or of another form, or tells twice of one id.
    """
    records: dict[int, dict[str, Any]] = {}
    for at, told in enumerate(checked(read_json(path, "file of masks"), list, f"{path}: it")):
        whose = f"{path}: mask {at}"
        object_id = field(told, "id", int, whose)
        if object_id in records:
            raise InputError(f"{whose}: a second one of id {object_id}; unpack the file again")
        mask = told if "counts" in told else field(told, "segmentation", dict, whose)
        records[object_id] = {**told, "segmentation": mask}
    return records
