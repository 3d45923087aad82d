"""Score the masks of a folder against annotations, as a benchmark does."""

import argparse
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from vosfm.data.masks import read_labels
from vosfm.errors import InputError
from vosfm.metrics import protocols
from vosfm.metrics.functional import region_and_boundary
from vosfm.metrics.scores import Scores

FRAMES_A_TASK = 16


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


def evaluate(
    annotations: str | os.PathLike[str],
    results: str | os.PathLike[str],
    protocol: str = "davis2017",
    sequences: str | os.PathLike[str] | Iterable[str] | None = None,
    workers: int = 1,
    official: bool = False,
) -> Scores:
    """Score every sequence of a folder of results.

    Args:
        annotations: a folder with a folder of index PNGs for each sequence, such as a DAVIS
            root's ``Annotations/480p``; or that root itself.
        results: a folder of the same layout. Frames that the protocol does not count may be
            missing, and are not read.
        protocol: a name in `vosfm.metrics.protocols`.
        sequences: a file that names a sequence a line (``ImageSets/2017/val.txt``), or the names;
            others in either folder are then left alone. None: the folders must hold the same.
        workers: processes; the scores do not depend on it.
        official: repeat the official tool's errors, see `vosfm.metrics.functional.decay`.

    Returns:
        The scores of every object, sequence and of the whole.

    Raises:
        InputError: if a folder, sequence, frame or list is missing or left over, a mask cannot be
            read, has colors instead of ids, another size than the annotation, or ids that the
            protocol does not allow. Nothing is written.

    Source: DAVIS 2017 evaluation, semi-supervised; each protocol states its rules.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    rules = protocols.named(protocol)
    annotated = _annotation_folder(Path(annotations))
    resulting = Path(results)
    if not resulting.is_dir():
        raise InputError(f"{resulting}: no such results folder; check the path")
    names = _chosen(annotated, resulting, sequences)
    tasks = {name: list(_tasks(rules, annotated / name, resulting / name)) for name in names}
    scored = _scored([task for name in names for task in tasks[name]], workers)
    rows: dict[tuple[str, int], protocols.Row] = {}
    frames: dict[str, int] = {}
    for name in names:
        parts = [next(scored) for _ in tasks[name]]
        j, f = np.concatenate(parts, axis=2)
        frames[name] = j.shape[1]
        for index, object_id in enumerate(tasks[name][0].object_ids):
            rows[name, object_id] = rules.statistics(j[index], f[index], official)
    return Scores(
        protocol=rules.name,
        overall=rules.overall(rows),
        sequences=protocols.mean_by_sequence(rows),
        objects=rows,
        frames=frames,
    )


def score_pairs(pairs: Pairs) -> NDArray[np.float64]:
    """Read and score a run of frames.

    Args:
        pairs: T annotations and results of O objects.

    Returns:
        (2, O, T): J and F of every object in every frame.

    Raises:
        InputError: for a mask that cannot be read, of another size, or with foreign ids.
    """
    rules = protocols.named(pairs.protocol)
    scores = np.empty((2, len(pairs.object_ids), len(pairs.results)))
    for at, (truth, result) in enumerate(zip(pairs.annotations, pairs.results, strict=True)):
        target, pred = read_labels(truth), read_labels(result)
        if pred.shape != target.shape:
            raise InputError(
                f"{result}: {pred.shape[1]}x{pred.shape[0]} pixels, but its annotation has "
                f"{target.shape[1]}x{target.shape[0]}; save results at the annotation's size"
            )
        if foreign := rules.foreign(pred, pairs.object_ids):
            raise InputError(
                f"{result}: holds {_listed(foreign, 'id')}, but the objects are "
                f"{_listed(pairs.object_ids, 'id')} by the first annotation; keep to its ids"
            )
        scores[:, :, at] = region_and_boundary(
            rules.masks(pred, pairs.object_ids), rules.masks(target, pairs.object_ids)
        )
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm evaluate`` understands."""
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with a folder of index PNGs for each sequence, or a DAVIS root",
    )
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="folder of the same layout"
    )
    parser.add_argument(
        "--protocol",
        default="davis2017",
        choices=sorted(protocols.PROTOCOLS),
        help="the benchmark's rules (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="CSV", help="write all scores to this file")
    parser.add_argument(
        "--sequences",
        type=Path,
        metavar="FILE",
        help="list of the sequences to score, one a line; others are left alone",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--official", action="store_true", help="repeat the official tool's errors in decay"
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm evaluate``: print a table, and write the scores if ``--out`` is given.

    Raises:
        InputError: as `evaluate`, or if ``--out`` cannot be written.
    """
    if args.out is not None and (args.out.is_dir() or not args.out.parent.is_dir()):
        raise InputError(f"{args.out}: cannot be written; give a file in an existing folder")
    scores = evaluate(
        args.annotations,
        args.results,
        protocol=args.protocol,
        sequences=args.sequences,
        workers=args.workers,
        official=args.official,
    )
    if args.out is not None:
        scores.to_csv(args.out)
    Console().print(scores.table())


def _annotation_folder(folder: Path) -> Path:
    if (folder / "Annotations" / "480p").is_dir():
        return folder / "Annotations" / "480p"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such annotation folder; check the path")
    return folder


def _chosen(
    annotated: Path, resulting: Path, sequences: str | os.PathLike[str] | Iterable[str] | None
) -> list[str]:
    """Name the sequences to score, all of which both folders hold."""
    there, here = _folders(annotated), _folders(resulting)
    if sequences is None:
        names = there
        if extra := [name for name in here if name not in set(there)]:
            raise InputError(
                f"{resulting}: {_listed(extra, 'sequence')} without annotation; remove, or name "
                "the sequences to score with --sequences"
            )
    else:
        names = _listed_sequences(sequences)
        if unknown := [name for name in names if name not in set(there)]:
            raise InputError(
                f"{annotated}: no annotation of {_listed(unknown, 'sequence')}; correct --sequences"
            )
    if not names:
        raise InputError(f"{annotated}: no sequence folders; give the folder that holds them")
    if missing := [name for name in names if name not in set(here)]:
        raise InputError(
            f"{resulting}: {_listed(missing, 'sequence')} missing; add, or name the sequences to "
            "score with --sequences"
        )
    return names


def _listed_sequences(sequences: str | os.PathLike[str] | Iterable[str]) -> list[str]:
    """Read a list file, or take the names as given; each once, in their order."""
    if not isinstance(sequences, str | os.PathLike):
        return list(dict.fromkeys(sequences))
    try:
        lines = Path(sequences).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{sequences}: no readable list; give a file, a sequence a line") from None
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise InputError(f"{sequences}: names no sequence; write one a line")
    return names


def _tasks(rules: protocols.Protocol, annotated: Path, resulting: Path) -> Iterator[Pairs]:
    """Check the frames of a sequence and cut them into tasks."""
    truths, masks = _frames(annotated), _frames(resulting)
    if not truths:
        raise InputError(f"{annotated}: no PNG; give the folder whose folders are sequences")
    names = list(truths)
    counted = [names[at] for at in rules.counted(range(len(names)))]
    if not counted:
        raise InputError(
            f"{annotated}: {len(names)} annotated frames, none of which {rules.name} counts; leave "
            "the sequence out with --sequences"
        )
    if missing := [name for name in counted if name not in masks]:
        raise InputError(f"{resulting}: {_listed(missing, 'frame')} missing; write every frame")
    if extra := [name for name in masks if name not in truths]:
        raise InputError(f"{resulting}: {_listed(extra, 'frame')} without annotation; remove")
    first = truths[names[0]]
    object_ids = rules.object_ids(read_labels(first))
    if not object_ids:
        raise InputError(
            f"{first}: no object in the first annotation; leave the sequence out with --sequences"
        )
    for start in range(0, len(counted), FRAMES_A_TASK):
        run = counted[start : start + FRAMES_A_TASK]
        yield Pairs(
            rules.name,
            object_ids,
            tuple(truths[name] for name in run),
            tuple(masks[name] for name in run),
        )


def _scored(tasks: list[Pairs], workers: int) -> Iterator[NDArray[np.float64]]:
    """Score tasks in their order, so that the first error is the same for any workers."""
    if workers == 1:
        yield from map(score_pairs, tasks)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context)
    try:
        yield from pool.map(score_pairs, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _folders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )


def _frames(folder: Path) -> dict[str, Path]:
    """Find the PNGs of a sequence by frame name, in the order of time."""
    paths = sorted(path for path in folder.glob("*.png") if path.name[0] != ".")
    return {path.stem: path for path in paths}


def _listed(items: Iterable[object], what: str) -> str:
    """Write ``sequences a, b``, cut short after five."""
    named = [str(item) for item in items]
    shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return f"{what}{'s' if len(named) > 1 else ''} {shown}"
