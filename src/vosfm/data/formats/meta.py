"""meta.json, in which YouTube-VOS describes the objects of its videos.

Form: {"videos": {name: {"objects": {id: {"category": name, "frames": [names]}}}}}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from vosfm.data.video import VOID
from vosfm.errors import InputError
from vosfm.files import read_bytes

META = "meta.json"

_TRAINED = """
    airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck eagle
    earless_seal elephant fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse knife
    leopard lion lizard monkey motorbike mouse others owl paddle parachute parrot penguin person
    plant rabbit raccoon sedan shark sheep sign skateboard snail snake snowboard squirrel surfboard
    tennis_racket tiger toilet train truck turtle umbrella whale zebra
"""

SEEN = frozenset(_TRAINED.split())
"""The 65 categories of the training videos; the others, of validation and test, are unseen.

Source: the categories that wjn922/ReferFormer (datasets/categories.py) finds in meta.json of the
training split; youtube-vos.org counts as many.
"""


@dataclass(frozen=True)
class Described:
    """What meta.json tells of an object.

    Attributes:
        first: name of the frame that first shows it, in which it is given.
        unseen: whether training has not shown its category; None if its category is not told.
        category: its category; None if it is not told.
    """

    first: str
    unseen: bool | None
    category: str | None = None


Meta = dict[str, dict[int, Described]]
"""The objects of each video by id, in the order of the file."""


def read_meta(path: str | os.PathLike[str], unseen: Collection[str] | None = None) -> Meta:
    """Read the meta.json of a split.

    Args:
        path: of the file.
        unseen: the categories that training has not shown; None for all but `SEEN`.

    Returns:
        The objects of each video; those that it lists without a frame are left out.

    Raises:
        InputError: if the file is missing, damaged or of another form, or tells of no object of a
            category in `unseen`.
    """
    data = read_bytes(path, f"{META} of YouTube-VOS")
    try:
        content = json.loads(data)
    except ValueError as error:
        raise InputError(f"{path}: damaged JSON, {error}; unpack it again") from None
    meta: Meta = {}
    categories: set[str] = set()
    for name, video in _fields(content, "videos", f"{path}: it").items():
        meta[name] = {}
        for key, told in _fields(video, "objects", f"{path}: video {name}").items():
            frames = told.get("frames") if isinstance(told, dict) else None
            if not (
                key.isdecimal()
                and 0 < int(key) < VOID
                and isinstance(frames, list)
                and all(isinstance(frame, str) for frame in frames)
            ):
                raise InputError(
                    f"{path}: object {key} of video {name} needs an id from 1 to {VOID - 1} and a "
                    'list "frames" of names; unpack the file again'
                )
            new = None
            if category := told.get("category"):
                categories.add(str(category))
                new = category not in SEEN if unseen is None else category in unseen
            if frames:
                kind = str(category) if category else None
                meta[name][int(key)] = Described(min(frames), new, kind)
    if unknown := set(unseen or ()) - categories:
        raise InputError(
            f"{path}: tells of no object of the category {min(unknown)}; it has "
            f"{', '.join(sorted(categories)) or 'none'}"
        )
    return meta


def _fields(content: Any, name: str, whose: str) -> dict[str, Any]:
    fields = content.get(name) if isinstance(content, dict) else None
    if not isinstance(fields, dict):
        raise InputError(f'{whose} has no "{name}" as YouTube-VOS has it; unpack the file again')
    return fields
