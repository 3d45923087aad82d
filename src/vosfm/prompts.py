"""What a user gives of objects, checked before a model sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.errors import InputError
from vosfm.types import Box, Points, Size

Given = Tensor | NDArray[np.bool_] | Box | Points
"""What can be given of an object: its mask (H, W), a box, or points, with a box or without."""

Predict = Callable[[Sequence[Box | Points]], Tensor]
"""From P boxes and points to logits (P, H, W), as a `Prompter` makes them of one frame."""


def to_masks(
    prompts: Mapping[int, Given],
    size: Size,
    time: int,
    exclusive: bool,
    device: torch.device,
    predict: Predict | None = None,
) -> dict[int, Tensor]:
    """Check what is given with a frame, and make masks of it.

    Where masks that are made of boxes and points overlap, and must not, a pixel goes to the one
    that claims it with the highest logit; given masks displace both.

    Args:
        prompts: object id -> what is given of it.
        size: (H, W) of the frame.
        time: its index, for messages.
        exclusive: whether a pixel belongs to one object at most.
        device: of the result.
        predict: what makes masks of boxes and points; None where nothing does.

    Returns:
        Object id -> (H, W) bool, each with at least one pixel, in the order of `prompts`.

    Raises:
        InputError: if a mask is empty or of another size, given masks overlap that must not, a box
            or points do not fit the frame, nothing is found there, or there is nothing to make
            masks of them.
    """
    given = sort_out(prompts, size, time, exclusive, device)
    masks, drawn = dict(given.masks), given.drawn
    if drawn:
        if predict is None:
            object_id, one = next(iter(drawn.items()))
            raise InputError(
                f"frame {time}, object {object_id}: this model takes masks, not "
                f"{type(one).__name__.lower()}: name a prompter (Tracker(prompter=...), --prompter "
                "on the command line), or use a model with a prompt encoder"
            )
        masks |= _found(drawn, predict, masks, time, exclusive)
    return {object_id: masks[object_id] for object_id in prompts}


@dataclass(frozen=True)
class Sorted:
    """What is given with a frame, by kind.

    Attributes:
        masks: object id -> (H, W) bool, each with at least one pixel.
        drawn: object id -> box or points, each within the frame.
    """

    masks: Mapping[int, Tensor]
    drawn: Mapping[int, Box | Points]


def sort_out(
    prompts: Mapping[int, Given],
    size: Size,
    time: int,
    exclusive: bool,
    device: torch.device,
    known: frozenset[int] = frozenset(),
) -> Sorted:
    """Check what is given with a frame, and tell masks from boxes and points.

    Args:
        prompts: object id -> what is given of it.
        size: (H, W) of the frame.
        time: its index, for messages.
        exclusive: whether a pixel belongs to one object at most.
        device: of the masks.
        known: objects that are tracked already, of which points may say what does not belong to
            them alone.

    Raises:
        InputError: if a mask is empty or of another size, given masks overlap that must not, or a
            box or points do not fit the frame.
    """
    masks: dict[int, Tensor] = {}
    drawn: dict[int, Box | Points] = {}
    for object_id, given in prompts.items():
        where = f"frame {time}, object {object_id}"
        if isinstance(given, Box):
            _check_box(given, size, where)
            drawn[object_id] = given
            continue
        if isinstance(given, Points):
            _check_points(given, size, where, object_id in known)
            drawn[object_id] = given
            continue
        mask = torch.as_tensor(given, device=device).bool()
        if tuple(mask.shape) != size:
            raise InputError(
                f"{where}: mask of {tuple(mask.shape)}, frames of {size}: resize the mask"
            )
        if not mask.any():
            raise InputError(f"{where}: the mask is empty: leave the object out of this frame")
        masks[object_id] = mask
    if exclusive and masks:
        covered = torch.stack(list(masks.values())).sum(0)
        if int(covered.max()) > 1:
            raise InputError(
                f"frame {time}: masks overlap on {int((covered > 1).sum())} pixels: allow it with "
                "exclusive=False (--overlap on the command line)"
            )
    return Sorted(masks, drawn)


def check_any(prompts: Mapping[int, object]) -> None:
    """Check that there is something to track.

    Args:
        prompts: frame index -> what is given with it.

    Raises:
        InputError: if nothing is given with any frame.
    """
    if not prompts:
        raise InputError("nothing to track: give the masks of at least one frame")


def check_end(frames: Iterable[int], end: int) -> None:
    """Check that a video has the frames that something is given with.

    Args:
        frames: their indices.
        end: of the video, behind its last frame.

    Raises:
        InputError: if one of them is not in it.
    """
    late = [index for index in frames if not 0 <= index < end]
    if late:
        raise InputError(f"prompt for frame {late[0]}: the video has frames 0 to {end - 1}")


def check_drawn(prompts: Mapping[int, Mapping[int, Given]], length: int, size: Size) -> None:
    """Check the boxes and points of a video before its first frame is looked at.

    Masks are large, and are checked with their frames.

    Args:
        prompts: frame index -> object id -> what is given of it.
        length: of the video, in frames.
        size: (H, W) of its frames.

    Raises:
        InputError: if something is given of a frame past the end, or a box or points do not fit
            their frame.
    """
    known: set[int] = set()
    for frame, objects in sorted(prompts.items()):
        for object_id, given in objects.items():
            where = f"frame {frame}, object {object_id}"
            if not 0 <= frame < length:
                raise InputError(
                    f"{where}: no such frame, the video has frames 0 to {length - 1}: count from 0"
                )
            if isinstance(given, Box):
                _check_box(given, size, where)
            elif isinstance(given, Points):
                _check_points(given, size, where, object_id in known)
        known |= set(objects)


def read_prompts(path: str | Path) -> dict[int, dict[int, Box | Points]]:
    """Read boxes and points of a video.

    Args:
        path: of a JSON file {"FRAME": {"ID": {"box": [x0, y0, x1, y1]}}}, with
            {"points": [[x, y, label], ...]} in place of a box or beside it; frames are counted
            from 0.

    Returns:
        Frame index -> object id -> what is given of it.

    Raises:
        InputError: if there is no such file, or it holds something else.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: no readable file of prompts ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    prompts: dict[int, dict[int, Box | Points]] = {}
    for frame, objects in _items(content, f"{path}: ", "frame"):
        prompts[frame] = {
            object_id: _drawn(given, f"{path}: frame {frame}, object {object_id}")
            for object_id, given in _items(objects, f"{path}: frame {frame}: ", "object")
        }
    return prompts


def drawn_prompts(
    boxes: Iterable[Sequence[float]], points: Iterable[Sequence[float]]
) -> dict[int, Box | Points]:
    """Boxes and points of one frame, as the command line takes them.

    Args:
        boxes: (id, x0, y0, x1, y1) each.
        points: (id, x, y, label) each; those of one id belong together, and to its box.

    Returns:
        Object id -> what is given of it.

    Raises:
        InputError: if an id is no whole number, or an object has two boxes.
    """
    boxed: dict[int, Box] = {}
    for box in boxes:
        object_id = _whole(box[0], "--box: object")
        if object_id in boxed:
            raise InputError(f"--box: object {object_id} is given twice: give one box for each")
        boxed[object_id] = Box(*box[1:])
    drawn: dict[int, Box | Points] = dict(boxed)
    gathered: dict[int, list[Sequence[float]]] = {}
    for point in points:
        gathered.setdefault(_whole(point[0], "--point: object"), []).append(point[1:])
    for object_id, given in gathered.items():
        drawn[object_id] = _points(given, f"--point: object {object_id}", boxed.get(object_id))
    return drawn


def merge_prompts(
    sources: Iterable[Mapping[int, Mapping[int, Given]]],
) -> dict[int, dict[int, Given]]:
    """Lay together what several sources give.

    Args:
        sources: frame index -> object id -> what is given of it, each.

    Raises:
        InputError: if two of them speak of the same object in the same frame.
    """
    merged: dict[int, dict[int, Given]] = {}
    for source in sources:
        for frame, objects in source.items():
            for object_id, given in objects.items():
                if object_id in merged.setdefault(frame, {}):
                    raise InputError(
                        f"frame {frame}, object {object_id}: given twice: give one mask, box or "
                        "set of points"
                    )
                merged[frame][object_id] = given
    return merged


def _found(
    drawn: Mapping[int, Box | Points],
    predict: Predict,
    masks: Mapping[int, Tensor],
    time: int,
    exclusive: bool,
) -> dict[int, Tensor]:
    """The masks that boxes and points mean, beside those that are given."""
    logits = predict(list(drawn.values()))
    inside = logits > 0
    whole = inside.flatten(1).any(1).tolist()
    if exclusive:
        best = logits.argmax(0)
        inside &= best == torch.arange(len(drawn), device=best.device)[:, None, None]
        for mask in masks.values():
            inside &= ~mask
    found = {}
    for object_id, mask, seen in zip(drawn, inside, whole, strict=True):
        where = f"frame {time}, object {object_id}"
        if not seen:
            raise InputError(
                f"{where}: the prompter found nothing there: move the box or the points, or give "
                "a mask"
            )
        if not mask.any():
            raise InputError(
                f"{where}: all that the prompter found there belongs to other objects of this "
                "frame: move the box or the points, or allow overlap with exclusive=False "
                "(--overlap on the command line)"
            )
        found[object_id] = mask
    return found


def _check_box(box: Box, size: Size, where: str) -> None:
    height, width = size
    corners = f"box ({box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g})"
    if not (box.x0 < box.x1 and box.y0 < box.y1):
        raise InputError(
            f"{where}: {corners} holds no pixel: give x0 < x1 and y0 < y1, its left, top, right "
            "and bottom"
        )
    if not (box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height):
        raise InputError(
            f"{where}: {corners} leaves the frame, which is {width} wide and {height} high: clip it"
        )


def _check_points(points: Points, size: Size, where: str, known: bool) -> None:
    height, width = size
    if points.box is not None:
        _check_box(points.box, size, where)
    if len(points.xy) != len(points.labels):
        raise InputError(
            f"{where}: {len(points.xy)} points but {len(points.labels)} labels: give one for each"
        )
    for label in points.labels:
        if label not in (0, 1):
            raise InputError(f"{where}: label {label}: give 1 for inside, 0 for outside")
    found = points.box is not None or (known and points.labels)
    if 1 not in points.labels and not found:
        raise InputError(f"{where}: no point lies inside the object: give one with label 1")
    for x, y in points.xy:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"{where}: point ({x:g}, {y:g}) lies outside of the frame, which is {width} wide "
                f"and {height} high"
            )


def _items(content: Any, where: str, what: str) -> list[tuple[int, Any]]:
    """The items of an object of JSON whose names are numbers."""
    if not isinstance(content, dict) or not content:
        raise InputError(f'{where}need {{"{what.upper()}": ...}}, found {str(content)[:40]}')
    return [(_whole(key, f"{where}{what}"), value) for key, value in content.items()]


def _whole(value: Any, where: str) -> int:
    try:
        number = int(value)
        if number == float(value):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{where} {value!r}: give a whole number")


def _drawn(given: Any, where: str) -> Box | Points:
    known = isinstance(given, dict) and given and given.keys() <= {"box", "points"}
    if known and _numbers(given.get("box", [0] * 4), 4):
        box = Box(*map(float, given["box"])) if "box" in given else None
        points = given.get("points")
        if box is not None and "points" not in given:
            return box
        if isinstance(points, list) and points and all(_numbers(point, 3) for point in points):
            return _points(points, where, box)
    raise InputError(
        f'{where}: need {{"box": [x0, y0, x1, y1]}}, {{"points": [[x, y, label], ...]}} or both'
    )


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(_number, values))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _points(given: Iterable[Sequence[float]], where: str, box: Box | None) -> Points:
    """Points of (x, y, label) each."""
    xy, labels = [], []
    for x, y, label in given:
        xy.append((float(x), float(y)))
        labels.append(_whole(label, f"{where}: label"))
    return Points(tuple(xy), tuple(labels), box)
