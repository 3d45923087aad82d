"""Score the masks of a folder against annotations, as a benchmark does."""

import argparse
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from vosfm.data.formats.meta import META
from vosfm.data.masks import read_labels
from vosfm.errors import InputError
from vosfm.metrics import protocols
from vosfm.metrics.folders import Pairs, listed, plan
from vosfm.metrics.functional import region_and_boundary
from vosfm.metrics.scores import Scores


def evaluate(
    annotations: str | os.PathLike[str],
    results: str | os.PathLike[str],
    protocol: str = "davis2017",
    sequences: str | os.PathLike[str] | Iterable[str] | None = None,
    workers: int = 1,
    official: bool = False,
    unseen: str | os.PathLike[str] | Iterable[str] | None = None,
) -> Scores:
    """Score every sequence of a folder of results.

    Args:
        annotations: a folder with a folder of index PNGs for each sequence, such as a DAVIS
            root's ``Annotations/480p``; or that root itself; or a split of YouTube-VOS. Its
            ``meta.json`` lies beside the annotations.
        results: a folder of the same layout. Frames that the protocol does not count may be
            missing, and are not read.
        protocol: a name in `vosfm.metrics.protocols`.
        sequences: a file that names a sequence a line (``ImageSets/2017/val.txt``), or the names;
            others in either folder are then left alone. None: the folders must hold the same.
        workers: processes; the scores do not depend on it.
        official: repeat the official tool's errors, see `vosfm.metrics.functional.decay`.
        unseen: a file that names a category a line, or the names: those that training has not
            shown, for protocols that tell them apart. None: those of no training video of
            YouTube-VOS.

    Returns:
        The scores of every object, sequence and of the whole.

    Raises:
        InputError: if a folder, sequence, frame or list is missing or left over, a mask cannot be
            read, has colors instead of ids, another size than the annotation, or ids that the
            protocol does not allow; or if meta.json is missing where the protocol needs it, is
            damaged, or does not fit the annotations. Nothing is written.

    Source: DAVIS 2017 evaluation, semi-supervised; each protocol states its rules.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    rules = protocols.named(protocol)
    plans = plan(rules, Path(annotations), Path(results), sequences, unseen)
    scored = _scored([task for one in plans.values() for task in one.tasks], workers)
    rows: dict[tuple[str, int], protocols.Row] = {}
    for name, one in plans.items():
        j, f = np.concatenate([next(scored) for _ in one.tasks], axis=2)
        for index, (object_id, own) in enumerate(zip(one.object_ids, one.counted, strict=True)):
            if own:
                rows[name, object_id] = rules.statistics(j[index, own], f[index, own], official)
    return Scores(
        protocol=rules.name,
        overall=rules.overall(rows, {key for key in rows if key[1] in plans[key[0]].unseen}),
        sequences=protocols.mean_by_sequence(rows),
        objects=rows,
        frames={name: one.frames for name, one in plans.items()},
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
                f"{result}: holds {listed(foreign, 'id')}, but the objects are "
                f"{listed(pairs.object_ids, 'id')} by "
                f"{META if rules.by_category else 'the first annotation'}; keep to its ids"
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
        help="folder with a folder of index PNGs for each sequence, or a DAVIS root, or a split of "
        "YouTube-VOS",
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
        "--unseen",
        type=Path,
        metavar="FILE",
        help="list of the categories that training has not shown, one a line (default: those of "
        "no training video of YouTube-VOS)",
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
        unseen=args.unseen,
    )
    if args.out is not None:
        scores.to_csv(args.out)
    Console().print(scores.table())


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
