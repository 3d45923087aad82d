"""Score the masks of a folder against annotations, as a benchmark does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vosfm.data import attributes
from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.metrics import protocols
from vosfm.metrics.folders import Run, plan
from vosfm.metrics.functional import region_and_boundary
from vosfm.metrics.scores import Scores
from vosfm.processes import each

J, F, SHOWN, FOUND = range(4)
"""What is found of an object in a frame: J, F, and whether truth and result have a pixel of it."""


def evaluate(
    annotations: str | os.PathLike[str],
    results: str | os.PathLike[str],
    protocol: str = "davis2017",
    sequences: str | os.PathLike[str] | Iterable[str] | None = None,
    workers: int = 1,
    official: bool = False,
    unseen: str | os.PathLike[str] | Iterable[str] | None = None,
    split: str | None = None,
    mask_attributes: bool = False,
) -> Scores:
    """Score every sequence of a folder of results.

    Args:
        annotations: the root of the benchmark, or one of its splits, or the folder of annotations
            in that; its lists and JSON files lie where the benchmark has them. For DAVIS also any
            folder with a folder of index PNGs for each sequence.
        results: a folder with a folder for each sequence: of index PNGs NAME.png, or, where objects
            may overlap, of folders ID/NAME.png. Frames that the protocol does not count may be
            missing, and are not read.
        protocol: a name in `vosfm.metrics.protocols`.
        sequences: a file that names a sequence a line (``ImageSets/2017/val.txt``), or the names;
            others in either folder are then left alone. None: the folders must hold the same.
        workers: processes; the scores do not depend on it.
        official: repeat the official tool's errors, see `vosfm.metrics.functional.decay` and
            `vosfm.metrics.functional.stability`.
        unseen: a file that names a category (YouTube-VOS) or a video (LVOS) a line, or the names:
            what training has not shown, for protocols that tell it apart. None: the categories of
            no training video of YouTube-VOS; the unseen_videos.txt beside LVOS, if there is one.
        split: of the benchmark; results of other sequences are then left alone. None: all that is
            in `annotations` if it is a split, else the one that its format reads then.
        mask_attributes: also find the attributes of sequences that follow from their masks, all of
            which are then read, see `vosfm.data.attributes`. One that the dataset itself names of
            any of the sequences is taken from it alone.

    Returns:
        The scores of every object, sequence and of the whole.

    Raises:
        InputError: if a folder, sequence, frame or list is missing or left over, a mask cannot be
            read, has colors instead of ids, another size than the annotation, or ids that the
            protocol does not allow; or if the annotations are not laid out as those of the
            benchmark, or its JSON files are missing, damaged, or do not fit the annotations.
            Nothing is written.

    Source: each protocol states its rules.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    rules = protocols.named(protocol)
    plans = plan(rules, Path(annotations), Path(results), split, sequences, unseen)
    scored = each(score_run, [run for one in plans.values() for run in one.runs], workers, __name__)
    rows: dict[tuple[str, int], protocols.Row] = {}
    for name, one in plans.items():
        found = np.concatenate([next(scored) for _ in one.runs], axis=2)
        for index, own in enumerate(one.counted):
            counts = found[:, index, own]
            row = rules.row(
                counts[J], counts[F], counts[SHOWN] > 0, counts[FOUND] > 0, official=official
            )
            if row is not None:
                rows[name, one.truth.object_ids[index]] = row
    truths = {name: one.truth for name, one in plans.items()}
    new = _unseen(truths)
    return Scores(
        protocol=rules.name,
        overall=rules.overall(rows, new),
        sequences=protocols.mean_by_sequence(rows),
        objects=rows,
        frames={name: one.frames for name, one in plans.items()},
        unseen=new,
        attributes=_attributes(truths, mask_attributes, workers),
    )


def score_run(run: Run) -> NDArray[np.float64]:
    """Read and score a run of frames.

    Args:
        run: T frames of a sequence of O objects.

    Returns:
        (4, O, T): J and F of every object in every frame in which it counts; and, where the
        protocol asks for it, whether truth and result have a pixel of it (1 or 0). NaN elsewhere.

    Raises:
        InputError: for a mask that cannot be read, of another size, or with foreign ids.
    """
    rules = protocols.named(run.protocol)
    ids = run.truth.object_ids
    scores = np.full((4, len(ids), len(run.places)), np.nan)
    for at, (place, rows) in enumerate(zip(run.places, run.rows, strict=True)):
        target = run.truth.masks(place)
        if len(rows) < len(ids):
            target = target[list(rows)]
        name = run.truth.frame_names[place]
        pred = run.results.masks(name, [ids[row] for row in rows], target.shape[1:])
        void = run.truth.void(place) if rules.void else None
        scores[:SHOWN, rows, at] = region_and_boundary(pred, target, void)
        if rules.first_seen:
            scores[SHOWN, rows, at] = target.any((1, 2))
            scores[FOUND, rows, at] = pred.any((1, 2))
        # The next frame's masks then take their memory: new memory would cost the tenth part more.
        del target, pred
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm evaluate`` understands."""
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="DIR",
        help="root of the benchmark, or one of its splits; for DAVIS also any folder with a folder "
        "of index PNGs for each sequence",
    )
    parser.add_argument(
        "--split", metavar="NAME", help="split of the benchmark, such as valid or 2017/val"
    )
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with a folder for each sequence: of index PNGs, or, where objects may "
        "overlap, of folders ID/NAME.png",
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
        "--unseen",
        type=Path,
        metavar="FILE",
        help="list of what training has not shown, one a line: categories of YouTube-VOS (default: "
        "those of no training video), videos of LVOS (default: the unseen_videos.txt beside it)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="repeat the official tools' errors in decay (DAVIS) and V (LVOS)",
    )
    parser.add_argument(
        "--by",
        choices=("attribute",),
        help="also tell the scores of the sequences with each attribute: those that the dataset "
        "names, and those that follow from the masks",
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
        unseen=args.unseen,
        split=args.split,
        mask_attributes=args.by == "attribute",
    )
    if args.out is not None:
        scores.to_csv(args.out)
    _print(scores.table())
    if args.by == "attribute":
        _print(scores.attribute_table())


def _print(table: Table) -> None:
    """Print a table with whole numbers, also where the terminal is too narrow for it."""
    console = Console()
    whole = console.measure(table, options=console.options.update(width=1000)).maximum
    Console(width=max(console.width, whole)).print(table)


def _unseen(truths: Mapping[str, Truth]) -> frozenset[tuple[str, int]] | None:
    told = {name: truth.unseen for name, truth in truths.items() if truth.unseen is not None}
    return frozenset((name, i) for name, ids in told.items() for i in ids) if told else None


def _attributes(
    truths: Mapping[str, Truth], computed: bool, workers: int
) -> dict[str, frozenset[str]]:
    told = {name: truth.attributes for name, truth in truths.items()}
    if not computed:
        return told
    named: frozenset[str] = frozenset().union(*told.values())
    found = each(attributes.mask_attributes, list(truths.values()), workers, __name__)
    return {name: told[name] | (own - named) for name, own in zip(truths, found, strict=True)}
