"""Truths beside folders of results: what is to be scored of them, checked before the work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import vosfm.data.formats  # noqa: F401  # all formats are registered
from vosfm.data.formats.format import format_named
from vosfm.data.formats.layout import read_list
from vosfm.data.index_truth import FolderTruth, IndexTruth, UnitedTruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.metrics.protocol import Protocol
from vosfm.metrics.results import FolderResults, IndexResults, Results, listed

FRAMES_A_TASK = 16

Names = str | os.PathLike[str] | Iterable[str]
"""A file with a name a line, or the names."""


@dataclass(frozen=True)
class Run:
    """A run of frames of one sequence: what one task reads and scores.

    Attributes:
        protocol: name of the rules.
        truth: of the sequence, with O objects.
        results: of the sequence.
        places: the T frames.
        rows: for each of them, which of the objects count there.
    """

    protocol: str
    truth: Truth
    results: Results
    places: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What is to be scored of one sequence.

    Attributes:
        truth: of the sequence, with O objects.
        frames: how many frames count for any of them.
        counted: for each object, which of these frames count for it.
        runs: that read and score the frames.
    """

    truth: Truth
    frames: int
    counted: tuple[tuple[int, ...], ...]
    runs: tuple[Run, ...]


def plan(
    rules: Protocol,
    annotations: Path,
    results: Path,
    split: str | None = None,
    sequences: Names | None = None,
    unseen: Names | None = None,
) -> dict[str, Plan]:
    """Find what is to be scored, and that it is all there.

    Args:
        rules: of the benchmark.
        annotations: as `vosfm.evaluate.evaluate` takes them.
        results: a folder with a folder for each sequence.
        split: of the benchmark; None for what its format reads then.
        sequences: those to score; None: of the whole split.
        unseen: what training has not shown, as the format names it; None as the format tells.

    Returns:
        A plan for each sequence by its name.

    Raises:
        InputError: if a folder, sequence, frame or list is missing or left over, or the annotations
            are damaged or not laid out as those of the benchmark.
    """
    truths = _truths(rules, annotations, split, sequences, unseen)
    if not results.is_dir():
        raise InputError(f"{results}: no such results folder; check the path")
    names = [truth.name for truth in truths]
    here = _folders(results)
    extra = [name for name in here if name not in set(names)]
    if extra and sequences is None and split is None:
        raise InputError(
            f"{results}: {listed(extra, 'sequence')} without annotation; remove, or name the "
            "sequences to score with --sequences"
        )
    if missing := [name for name in names if name not in set(here)]:
        raise InputError(
            f"{results}: {listed(missing, 'sequence')} missing; add, or name the sequences to "
            "score with --sequences"
        )
    return {truth.name: _plan_one(rules, truth, annotations, results) for truth in truths}


def read_names(source: Names, what: str) -> list[str]:
    """Read a list file, or take the names as given; each once, in their order.

    Args:
        source: the file, a name a line, or the names.
        what: it names, for messages.

    Raises:
        InputError: if the file cannot be read or names nothing.
    """
    if not isinstance(source, str | os.PathLike):
        return list(dict.fromkeys(source))
    return list(read_list(Path(source), what))


def _truths(
    rules: Protocol,
    annotations: Path,
    split: str | None,
    sequences: Names | None,
    unseen: Names | None,
) -> list[Truth]:
    """The truths to score, all of whose objects are told of as the protocol needs it."""
    entry = format_named(rules.format)
    names = None if sequences is None else read_names(sequences, "sequence")
    if unseen is None:
        truths = entry.truths(annotations, split, names)
    elif entry.unseen is None:
        raise InputError(f"protocol {rules.name}: knows no unseen categories; name none")
    else:
        truths = entry.unseen(annotations, split, names, read_names(unseen, "category or video"))
    if rules.by_category:
        for truth in truths:
            if truth.unseen is None:
                without = [i for i in truth.object_ids if i not in truth.captions]
                raise InputError(
                    f"{annotations}: {rules.told_by}: no category of "
                    f"{listed(without, 'object')} of {truth.name}; give the file of a release "
                    "that tells it"
                )
    if rules.union:
        return [UnitedTruth(truth) for truth in truths if isinstance(truth, IndexTruth)]
    return truths


def _plan_one(rules: Protocol, truth: Truth, annotations: Path, results: Path) -> Plan:
    """Check the frames of a sequence and cut them into runs."""
    where = f"{annotations}: {truth.name}"
    if not truth.object_ids:
        raise InputError(
            f"{where}: no object in {rules.told_by}; leave the sequence out with --sequences"
        )
    counted = {i: rules.counted(truth, i) for i in truth.object_ids}
    places = sorted(set().union(*counted.values()))
    if not places:
        raise InputError(
            f"{where}: {len(truth.frame_names)} annotated frames, none of which {rules.name} "
            "counts; leave the sequence out with --sequences"
        )
    found = _results(rules, truth, results / truth.name)
    _check_frames(rules, truth, found, counted)
    return Plan(truth, len(places), *_runs(rules.name, truth, found, places, counted))


def _results(rules: Protocol, truth: Truth, path: Path) -> Results:
    if truth.overlapping and not (rules.flat and any(path.glob("*.png"))):
        own = truth.folders if isinstance(truth, FolderTruth) else {}
        return FolderResults(path, truth.object_ids, rules.told_by, own)
    return IndexResults(path, truth.object_ids, rules.told_by, rules.union)


def _check_frames(
    rules: Protocol, truth: Truth, found: Results, counted: Mapping[int, Sequence[int]]
) -> None:
    names = truth.frame_names
    missing = dict.fromkeys(
        name
        for object_id, own in counted.items()
        for name in found.missing([names[place] for place in own], object_id)
    )
    if missing:
        raise InputError(
            f"{found.path}: {listed(sorted(missing), 'frame')} missing; write every frame"
        )
    if not rules.spare and (extra := sorted(found.frames() - set(names))):
        raise InputError(f"{found.path}: {listed(extra, 'frame')} without annotation; remove")


def _runs(
    protocol: str,
    truth: Truth,
    found: Results,
    places: Sequence[int],
    counted: Mapping[int, Sequence[int]],
) -> tuple[tuple[tuple[int, ...], ...], tuple[Run, ...]]:
    index = {place: at for at, place in enumerate(places)}
    rows: list[list[int]] = [[] for _ in places]
    for row, own in enumerate(counted.values()):
        for place in own:
            rows[index[place]].append(row)
    runs = tuple(
        Run(
            protocol,
            truth,
            found,
            tuple(places[at : at + FRAMES_A_TASK]),
            tuple(tuple(own) for own in rows[at : at + FRAMES_A_TASK]),
        )
        for at in range(0, len(places), FRAMES_A_TASK)
    )
    return tuple(tuple(index[place] for place in own) for own in counted.values()), runs


def _folders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
