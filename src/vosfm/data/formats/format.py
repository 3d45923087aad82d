"""The benchmarks that can be read, by name, and what a folder looks like."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vosfm.data.datasets import Videos
from vosfm.data.truth import Truth
from vosfm.errors import InputError


@dataclass(frozen=True)
class Format:
    """How a benchmark lies on disk.

    Attributes:
        name: as on the command line, such as "lvos".
        title: as people write it, such as "LVOS".
        layout: where frames, masks and lists lie, in one line.
        split: the split that is read if none is named; None for a benchmark without splits.
        videos: root and split -> its videos, to train and test on.
        truths: root, split and the sequences that are wanted (None for all) -> the annotations of
            its sequences, in its own order. Needs no pictures.
        looks: a folder -> what of this benchmark it looks like, such as "its split valid"; None if
            it does not. Reads names only, and few of them.
        unseen: as `truths`, and the names of what training has not shown, which are categories or
            sequences; None where a benchmark tells no such objects apart.
    """

    name: str
    title: str
    layout: str
    split: str | None
    videos: Callable[[Path, str | None], Videos]
    truths: Callable[[Path, str | None, Sequence[str] | None], list[Truth]]
    looks: Callable[[Path], str | None]
    unseen: (
        Callable[[Path, str | None, Sequence[str] | None, Collection[str]], list[Truth]] | None
    ) = None


FORMATS: dict[str, Format] = {}


def register(entry: Format) -> Format:
    """Add a format under its name.

    Raises:
        ValueError: if the name is taken.
    """
    if entry.name in FORMATS:
        raise ValueError(f"format {entry.name} is registered already")
    FORMATS[entry.name] = entry
    return entry


def format_named(name: str) -> Format:
    """Look a format up.

    Raises:
        InputError: for a name that is not registered; the message lists those that are.
    """
    if name not in FORMATS:
        raise InputError(f"format {name}: unknown; choose one of {', '.join(FORMATS)}")
    return FORMATS[name]


def mismatch(name: str, root: Path, missing: str) -> InputError:
    """The error for a folder that is not laid out as a format says.

    Args:
        name: of the format that it was taken for.
        root: the folder.
        missing: what is not there, such as "no folder valid/JPEGImages".

    Returns:
        The error; it says what is missing, how the format lies on disk, and which other format the
        folder looks like.
    """
    entry = FORMATS[name]
    if not root.is_dir():
        return InputError(f"{root}: no such folder; check the root of {entry.title}")
    text = f"{root}: not laid out as {entry.title}, it has {missing}; expected {entry.layout}"
    others = [
        f"{other.title} ({seen}; read it as {other.name})"
        for other in FORMATS.values()
        if other.name != name and (seen := other.looks(root)) is not None
    ]
    if others:
        text += f"; it looks like {' or '.join(others)}"
    return InputError(text)
