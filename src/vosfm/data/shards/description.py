"""What the first member of a sample tells of its clip: all but pictures and masks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vosfm.data.fields import checked
from vosfm.data.fields import field as told_field
from vosfm.data.rle import size_of
from vosfm.data.video import VOID
from vosfm.errors import InputError

VERSION = 1

MOST_PIXELS = 2**26
"""Of a frame; larger ones are refused before anything is decoded."""

KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""What a sample may be called; so is its video, and so may be a folder of results."""


@dataclass(frozen=True)
class Description:
    """A clip and its truth, without pictures and masks.

    A *place* is an index into `annotated`.

    Attributes:
        source: name of the video that it was taken from.
        first: which frame of that video is its first one.
        size: (H, W) of its frames.
        frame_names: stem of every frame, as in the video.
        annotated: which of the frames have masks, in ascending order.
        numbers: as `Truth.numbers`.
        length: as `Truth.length`.
        starts: object id -> place in which it is given; in ascending order of ids.
        ranges: as `Truth.ranges`.
        overlapping: whether masks may overlap.
        void: whether any frame has pixels without a truth.
        unseen: as `Truth.unseen`.
        attributes: as `Truth.attributes`.
        captions: as `Truth.captions`.
    """

    source: str
    first: int
    size: tuple[int, int]
    frame_names: tuple[str, ...]
    annotated: tuple[int, ...]
    numbers: tuple[int, ...]
    length: int
    starts: Mapping[int, int]
    ranges: Mapping[int, tuple[int, ...]] | None = None
    overlapping: bool = False
    void: bool = False
    unseen: frozenset[int] | None = None
    attributes: frozenset[str] = frozenset()
    captions: Mapping[int, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write as JSON; equal descriptions give equal bytes."""
        ids = sorted(self.starts)
        told: dict[str, Any] = {
            "version": VERSION,
            "video": self.source,
            "first": self.first,
            "size": self.size,
            "frames": self.frame_names,
            "annotated": self.annotated,
            "numbers": self.numbers,
            "length": self.length,
            "ids": ids,
            "starts": [self.starts[i] for i in ids],
            "ranges": None if self.ranges is None else [self.ranges[i] for i in ids],
            "overlapping": self.overlapping,
            "void": self.void,
            "unseen": None if self.unseen is None else sorted(self.unseen),
            "attributes": sorted(self.attributes),
            "captions": {str(i): self.captions[i] for i in ids if i in self.captions},
        }
        return json.dumps(told, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, whose: str) -> Description:
        """Read and check.

        Args:
            data: as `to_bytes` gave it.
            whose: it is, for messages.

        Raises:
            InputError: if it is no JSON, of another version, or a field is missing or cannot be.
        """
        try:
            told = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{whose}: damaged JSON, {error}; pack the video again") from None
        if not isinstance(told, dict) or told.get("version") != VERSION:
            raise InputError(f"{whose}: not of version {VERSION}; pack the video again")
        size = size_of(told, whose)
        if size[0] * size[1] > MOST_PIXELS:
            raise InputError(
                f"{whose}: declares frames of {size[0]} x {size[1]} pixels, more than "
                f"{MOST_PIXELS}; check the shard"
            )
        names = tuple(
            checked(name, str, f'{whose}: "frames"')
            for name in told_field(told, "frames", list, whose)
        )
        annotated = _ascending(told, "annotated", len(names), whose)
        numbers = _numbers(told, "numbers", len(annotated), 2**53, whose)
        ids = _ascending(told, "ids", VOID, whose)
        starts = _numbers(told, "starts", len(ids), len(annotated), whose)
        ranges = None if told.get("ranges") is None else told_field(told, "ranges", list, whose)
        unseen = None if told.get("unseen") is None else _ascending(told, "unseen", VOID, whose)
        words = told_field(told, "captions", dict, whose)
        attributes = told_field(told, "attributes", list, whose)
        if not names or 0 in ids or (ranges is not None and len(ranges) != len(ids)):
            raise InputError(f"{whose}: its fields do not fit each other; pack the video again")
        return cls(
            source=told_field(told, "video", str, whose),
            first=told_field(told, "first", int, whose),
            size=size,
            frame_names=names,
            annotated=annotated,
            numbers=numbers,
            length=told_field(told, "length", int, whose),
            starts=dict(zip(ids, starts, strict=True)),
            ranges=None
            if ranges is None
            else {
                i: _ascending({"ranges": own}, "ranges", len(annotated), whose)
                for i, own in zip(ids, ranges, strict=True)
            },
            overlapping=told.get("overlapping") is True,
            void=told.get("void") is True,
            unseen=None if unseen is None else frozenset(unseen),
            attributes=frozenset(checked(a, str, f'{whose}: "attributes"') for a in attributes),
            captions={
                i: checked(words[str(i)], str, f'{whose}: "captions"')
                for i in ids
                if str(i) in words
            },
        )


def _numbers(
    told: Mapping[str, Any], name: str, count: int, below: int, whose: str
) -> tuple[int, ...]:
    values = told_field(told, name, list, whose)
    if len(values) != count or not all(type(n) is int and 0 <= n < below for n in values):
        raise InputError(
            f'{whose}: "{name}" are not {count} whole numbers from 0 to {below - 1}; pack the '
            "video again"
        )
    return tuple(values)


def _ascending(told: Mapping[str, Any], name: str, below: int, whose: str) -> tuple[int, ...]:
    values = _numbers(told, name, len(told_field(told, name, list, whose)), below, whose)
    if any(one >= other for one, other in pairwise(values)):
        raise InputError(f'{whose}: "{name}" do not ascend; pack the video again')
    return values
