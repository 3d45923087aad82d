"""What the data engine can be told: the way of the paper, and what the released code adds to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vosfm.errors import InputError


@dataclass(frozen=True)
class Settings:
    """How masks are proposed, followed and accepted.

    The paper describes a short path (Eq. 1-6): propose, sample points in the previous mask, carry
    them by the flow, prompt, and take the candidate that is most like the warped previous mask.
    Whatever the released code does beyond that is an option here. `PRESETS` has both.

    Attributes:
        points_per_side: of the grid of points that proposals are asked for with, at least 1.
        nms_iou: in (0, 1]; a proposal that overlaps any earlier one by a higher IoU is left out,
            even if that one is left out itself. None keeps all. Released code: 0.7.
        max_tracks: at least 1; most tracks of a clip, None for no limit. Of more proposals, those
            larger than `large` are kept and the rest is drawn by chance; if the large ones alone
            are more, the largest of them are kept (the released code fails there). Released
            code: 200.
        large: share of the frame in [0, 1] above which a proposal is large. Released code: 0.01.
        cycle_error: in pixels, above 0. Where the flow there and back misses its start by this
            much or more, pixels count for nothing: neither those of the previous mask nor those
            of candidates when they are compared. None trusts the flow. Released code: 3.
        sample_from: "previous": points are drawn in the previous mask and carried by the forward
            flow, as in the paper; "warped": drawn in the warped mask, as in the released code.
        points: of each query, at least 1. Released configs: 5 in the newest, 2 in the others.
        sampling: "random" draws pixels; "kmeans" takes the centres of as many clusters of pixels.
            The released code has both and runs with "random".
        draws: sets of points for each track and round, at least 1; all their candidates compete.
            Released code: 5.
        min_stability: in [0, 1); candidates that are not more stable are never taken. None takes
            all. Released code: 0.95.
        stability_offset: of the logits between the two thresholds of the stability and zero, above
            0. Released code: 1.
        acceptance: IoU with the warped mask that the best candidate of each round must reach, in
            [0, 1]. A track that no candidate of a round reaches is asked for again with new
            points. The last round accepts whatever is best, so its number tells nothing. Empty
            for one round. Released code: 0.9, 0.8, 0.7, 0.6, 0.5.
        chunk: most queries that are answered at a time, at least 1. It bounds memory; what is
            found depends on it no more than a segmenter's answers depend on their batch.

    Raises:
        ValueError: if a value is of another kind or out of its range.

    Source: MUG-VOS (Lim et al., AAAI 2025), Sec. 3.1 and the data engine released with it.
    """

    points_per_side: int = 32
    nms_iou: float | None = None
    max_tracks: int | None = None
    large: float = 0.01
    cycle_error: float | None = None
    sample_from: Literal["previous", "warped"] = "previous"
    points: int = 5
    sampling: Literal["random", "kmeans"] = "random"
    draws: int = 1
    min_stability: float | None = None
    stability_offset: float = 1.0
    acceptance: tuple[float, ...] = ()
    chunk: int = 64

    def __post_init__(self) -> None:
        hints = get_type_hints(Settings)
        for item in fields(self):
            value = getattr(self, item.name)
            if not _fits(value, hints[item.name]):
                raise ValueError(f"{item.name} is {value!r}, not {_words(hints[item.name])}")
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float):
                    _check_range(item.name, number)

    def to_json(self) -> dict[str, Any]:
        """The values by name, as JSON holds them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_json(cls, content: Any, whose: str = "settings") -> Settings:
        """Read what `to_json` wrote; a field that is not there has its default.

        Args:
            content: a JSON object.
            whose: file and field, for messages.

        Raises:
            InputError: if it is no object, a field is unknown, or a value is of another kind or
                out of its range.
        """
        if not isinstance(content, Mapping):
            raise InputError(f"{whose}: {content!r:.40} is no JSON object; write names and values")
        known = [item.name for item in fields(cls)]
        for name in content:
            if name not in known:
                raise InputError(f"{whose}: no setting {name!r}; there are {', '.join(known)}")
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in content.items()
        }
        try:
            return cls(**values)
        except ValueError as error:
            raise InputError(f"{whose}: {error}; correct it") from None


_RANGES: dict[str, tuple[str, float, float, str]] = {
    "nms_iou": ("(", 0, 1, "]"),
    "large": ("[", 0, 1, "]"),
    "cycle_error": ("(", 0, math.inf, ")"),
    "min_stability": ("[", 0, 1, ")"),
    "stability_offset": ("(", 0, math.inf, ")"),
    "acceptance": ("[", 0, 1, "]"),
}
"""Of the fields that are not counts; counts are at least 1."""


def _check_range(name: str, value: float) -> None:
    if name not in _RANGES:
        if value < 1:
            raise ValueError(f"{name} is {value}, below 1")
        return
    left, low, high, right = _RANGES[name]
    above = value > low if left == "(" else value >= low
    below = value < high if right == ")" else value <= high
    if not (above and below):
        raise ValueError(f"{name} is {value}, outside {left}{low}, {high}{right}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that a field asks for; whole numbers are numbers."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, kind) for kind in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(v, inner[0]) for v in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float if hint is float else hint)


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return " or ".join(_words(kind) for kind in inner)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if origin is tuple:
        return "a list of numbers"
    return {int: "a whole number", float: "a number"}.get(hint, "none")


PRESETS: Mapping[str, Settings] = {
    "paper": Settings(),
    "official": Settings(
        nms_iou=0.7,
        max_tracks=200,
        cycle_error=3.0,
        sample_from="warped",
        draws=5,
        min_stability=0.95,
        acceptance=(0.9, 0.8, 0.7, 0.6, 0.5),
    ),
}
"""The paper's description, and the released code's behaviour."""
