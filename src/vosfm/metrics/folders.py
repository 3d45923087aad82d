"""Folders of annotations and of results: what is to be scored of them, checked before the work."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vosfm.data.formats.meta import META, Described, Meta, read_meta
from vosfm.data.masks import read_labels
from vosfm.errors import InputError
from vosfm.metrics.protocols import Protocol

FRAMES_A_TASK = 16

Names = str | os.PathLike[str] | Iterable[str]
"""A file with a name a line, or the names."""


@dataclass(frozen=True)
class Pairs:
    """A run of frames of one sequence: what one task reads and scores.

    Attributes:
        protocol: name of the rules.
        object_ids: the O objects of the sequence.
        annotations: T annotated masks.
        results: T masks to score.
    """

    protocol: str
    object_ids: tuple[int, ...]
    annotations: tuple[Path, ...]
    results: tuple[Path, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be scored of one sequence.

    Attributes:
        object_ids: the O objects.
        frames: how many frames count for any of them.
        counted: for each object, which of these frames count for it.
        unseen: the objects whose category training has not shown.
        tasks: that read and score the frames.
    """

    object_ids: tuple[int, ...]
    frames: int
    counted: tuple[list[int], ...]
    unseen: frozenset[int]
    tasks: tuple[Pairs, ...]


def plan(
    rules: Protocol,
    annotations: Path,
    results: Path,
    sequences: Names | None = None,
    unseen: Names | None = None,
) -> dict[str, Plan]:
    """Find what is to be scored, and that it is all there.

    Args:
        rules: of the benchmark.
        annotations: as `vosfm.evaluate.evaluate` takes them.
        results: a folder with a folder of index PNGs for each sequence.
        sequences: those to score; None: both folders must hold the same.
        unseen: the categories that training has not shown; None: all but those of YouTube-VOS.

    Returns:
        A plan for each sequence by its name.

    Raises:
        InputError: if a folder, sequence, frame or list is missing or left over, or meta.json is
            needed and missing, damaged or at odds with the annotations.
    """
    if unseen is not None and not rules.by_category:
        raise InputError(f"protocol {rules.name}: knows no unseen categories; name none")
    annotated = _annotation_folder(annotations, rules)
    if not results.is_dir():
        raise InputError(f"{results}: no such results folder; check the path")
    names = _chosen(annotated, results, sequences)
    told = _told(annotated.parent / META, names, unseen) if rules.by_category else {}
    return {
        name: _plan_one(rules, annotated / name, results / name, told.get(name, {}))
        for name in names
    }


def listed(items: Iterable[object], what: str) -> str:
    """Write ``sequences a, b``, cut short after five."""
    named = [str(item) for item in items]
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return f"{what}{'s' if len(named) > 1 else ''} {shown}"


def _annotation_folder(folder: Path, rules: Protocol) -> Path:
    if (folder / "Annotations" / "480p").is_dir():
        return folder / "Annotations" / "480p"
    if rules.by_category and (folder / "Annotations").is_dir():
        return folder / "Annotations"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such annotation folder; check the path")
    return folder


def _chosen(annotated: Path, resulting: Path, sequences: Names | None) -> list[str]:
    """Name the sequences to score, all of which both folders hold."""
    there, here = _folders(annotated), _folders(resulting)
    if sequences is None:
        names = there
        if extra := [name for name in here if name not in set(there)]:
            raise InputError(
                f"{resulting}: {listed(extra, 'sequence')} without annotation; remove, or name "
                "the sequences to score with --sequences"
            )
    else:
        names = _named(sequences, "sequence")
        if unknown := [name for name in names if name not in set(there)]:
            raise InputError(
                f"{annotated}: no annotation of {listed(unknown, 'sequence')}; correct --sequences"
            )
    if not names:
        raise InputError(f"{annotated}: no sequence folders; give the folder that holds them")
    if missing := [name for name in names if name not in set(here)]:
        raise InputError(
            f"{resulting}: {listed(missing, 'sequence')} missing; add, or name the sequences to "
            "score with --sequences"
        )
    return names


def _named(source: Names, what: str) -> list[str]:
    """Read a list file, or take the names as given; each once, in their order."""
    if not isinstance(source, str | os.PathLike):
        return list(dict.fromkeys(source))
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{source}: no readable list; give a file, a {what} a line") from None
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise InputError(f"{source}: names no {what}; write one a line")
    return names


def _told(path: Path, names: list[str], unseen: Names | None) -> Meta:
    """Read what meta.json tells of the sequences."""
    told = read_meta(path, None if unseen is None else _named(unseen, "category"))
    for name in names:
        if not told.get(name):
            raise InputError(
                f"{path}: tells of no object of {name}; leave the sequence out with --sequences"
            )
        if without := [i for i, told_of in told[name].items() if told_of.unseen is None]:
            raise InputError(
                f"{path}: no category of {listed(without, 'object')} of {name}; give the file of "
                "a release that tells it"
            )
    return told


def _plan_one(
    rules: Protocol,
    annotated: Path,
    resulting: Path,
    told: Mapping[int, Described],
) -> Plan:
    """Check the frames of a sequence and cut them into tasks."""
    truths, masks = _frames(annotated), _frames(resulting)
    if not truths:
        raise InputError(f"{annotated}: no PNG; give the folder whose folders are sequences")
    names = list(truths)
    if rules.object_ids is not None:
        given = dict.fromkeys(rules.object_ids(read_labels(truths[names[0]])), 0)
        if not given:
            raise InputError(
                f"{truths[names[0]]}: no object in the first annotation; leave the sequence out "
                "with --sequences"
            )
    else:
        if absent := [told_of.first for told_of in told.values() if told_of.first not in truths]:
            raise InputError(
                f"{annotated}: no annotation of {listed(absent, 'frame')}, where objects start by "
                f"{META}; unpack it again"
            )
        given = {object_id: names.index(told_of.first) for object_id, told_of in told.items()}
    counted = [rules.counted(range(start, len(names))) for start in given.values()]
    places = {index: place for place, index in enumerate(sorted(set().union(*counted)))}
    scored = [names[index] for index in places]
    if not scored:
        raise InputError(
            f"{annotated}: {len(names)} annotated frames, none of which {rules.name} counts; leave "
            "the sequence out with --sequences"
        )
    if missing := [name for name in scored if name not in masks]:
        raise InputError(f"{resulting}: {listed(missing, 'frame')} missing; write every frame")
    if extra := [name for name in masks if name not in truths]:
        raise InputError(f"{resulting}: {listed(extra, 'frame')} without annotation; remove")
    object_ids = tuple(given)
    unseen = frozenset(i for i, told_of in told.items() if told_of.unseen)
    runs = (scored[at : at + FRAMES_A_TASK] for at in range(0, len(scored), FRAMES_A_TASK))
    return Plan(
        object_ids,
        len(scored),
        tuple([places[index] for index in own] for own in counted),
        unseen,
        tuple(
            Pairs(
                rules.name,
                object_ids,
                tuple(truths[name] for name in run),
                tuple(masks[name] for name in run),
            )
            for run in runs
        ),
    )


def _folders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )


def _frames(folder: Path) -> dict[str, Path]:
    """Find the PNGs of a sequence by frame name, in the order of time."""
    paths = sorted(path for path in folder.glob("*.png") if path.name[0] != ".")
    return {path.stem: path for path in paths}
