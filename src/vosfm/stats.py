"""Count what a dataset holds: videos, tracks, masks, their sizes and lengths, and challenges."""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.table import Table

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data.attributes import DEFAULT, Rules
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.formats.layout import read_list
from vosfm.data.statistics import (
    AREA_EDGES,
    LENGTH_EDGES,
    DatasetStatistics,
    SequenceStatistics,
    bins,
    describe,
)
from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.processes import each
from vosfm.progress import shown

DATASET, SEQUENCES, OBJECTS = "dataset.json", "sequences.csv", "objects.csv"
"""The files that `--out` gets."""

_BAR = 40


def statistics(
    truths: Sequence[Truth], workers: int = 1, rules: Rules = DEFAULT
) -> Iterator[SequenceStatistics]:
    """Describe every sequence of a dataset, in its order.

    Args:
        truths: its annotations, such as `format_named("lvos").truths(root, "valid", None)`.
        workers: processes, each of which has one frame in memory; the numbers do not depend on it.
        rules: the constants of the challenges.

    Yields:
        The statistics of one sequence after the other.

    Raises:
        InputError: if a mask cannot be read, naming its file; or workers is below 1.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    task = partial(describe, rules=rules)
    yield from each(task, truths, workers, "vosfm.data.statistics")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm stats`` understands."""
    parser.add_argument("root", type=Path, help="the folder of the dataset")
    parser.add_argument(
        "--format", required=True, metavar="NAME", help=f"its layout: {', '.join(FORMATS)}"
    )
    parser.add_argument("--split", help="of it, such as valid or 2017/val")
    parser.add_argument(
        "--sequences", type=Path, metavar="FILE", help="only these, one a line (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help=f"a folder, which gets {DATASET}, {SEQUENCES} and {OBJECTS}; or a file for the first "
        "(.json) or the second (.csv) alone",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm stats``: print the tables, and write them if ``--out`` is given.

    Raises:
        InputError: as `statistics`, if the root is not laid out as the format says, or ``--out``
            cannot be written.
    """
    entry = format_named(args.format)
    wanted = None if args.sequences is None else read_list(args.sequences)
    truths = entry.truths(args.root, args.split, wanted)
    if not truths:
        raise InputError(f"{args.root}: no sequence; check the root and the split")
    dataset = DatasetStatistics()
    found = shown(statistics(truths, args.workers), "counting", len(truths))
    with _files(args.out) as files:
        for sequence in found:
            dataset.add(sequence)
            files.add(sequence)
        files.end(dataset)
    title = entry.title if args.split is None else f"{entry.title}, {args.split}"
    Console().print(tables(dataset, title))


def tables(dataset: DatasetStatistics, title: str) -> Group:
    """Lay a dataset out for the terminal: its numbers, its challenges, and two histograms.

    Args:
        dataset: what was counted.
        title: of the first table.
    """
    numbers = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), show_header=False)
    numbers.add_column(no_wrap=True)
    numbers.add_column(justify="right")
    for name, value in dataset.summary().items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
        numbers.add_row(name.replace("_", " "), shown)
    challenges = Table(title="challenges", box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("", "sequences", "objects", "sequences by the dataset"):
        challenges.add_column(column, justify="right" if column else "left")
    for name in (*dataset.attributes, *sorted(dataset.named.keys() - dataset.attributes.keys())):
        counted = dataset.attributes.get(name, ("", ""))
        named = dataset.named[name] if dataset.named else ""
        challenges.add_row(name, *map(str, counted), str(named))
    return Group(
        numbers,
        challenges,
        _histogram("mask area, share of the frame", dataset.areas, AREA_EDGES, "{:.1e}"),
        _histogram("track length, frames of the video", dataset.spans, LENGTH_EDGES, "{:.0f}"),
    )


def _histogram(title: str, counts: Any, edges: Any, form: str) -> Table:
    """Bars from the first to the last bin that is not empty."""
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right")
    table.add_column()
    filled = [index for index, count in enumerate(counts) if count]
    for index in range(filled[0], filled[-1] + 1) if filled else ():
        low, high = bins(edges)[index]
        name = f"from {form.format(low)}" if math.isinf(high) else f"below {form.format(high)}"
        bar = "█" * math.ceil(_BAR * int(counts[index]) / int(max(counts)))
        table.add_row(name, f"{int(counts[index]):,}", bar)
    return table


_SEQUENCE = (
    "name",
    "length",
    "frames",
    "height",
    "width",
    "tracks",
    "masks",
    "density",
    "attributes",
    "named",
)
_OBJECT = ("object_id", "masks", "frames", "length", "area", "absences", "attributes")


@dataclass(frozen=True)
class _Files:
    """What is written of a dataset as its sequences are counted; None for what is not asked for."""

    dataset: Path | None = None
    sequences: Any = None
    objects: Any = None

    def add(self, sequence: SequenceStatistics) -> None:
        if self.sequences is not None:
            row = vars(sequence) | {
                "height": sequence.size[0],
                "width": sequence.size[1],
                "tracks": len(sequence.objects),
                "attributes": _listed(sequence.attributes),
                "named": _listed(sequence.named),
            }
            self.sequences.writerow([row[name] for name in _SEQUENCE])
        if self.objects is not None:
            for one in sequence.objects:
                row = vars(one) | {"attributes": _listed(one.attributes)}
                self.objects.writerow([sequence.name, *(row[name] for name in _OBJECT)])

    def end(self, dataset: DatasetStatistics) -> None:
        if self.dataset is not None:
            self.dataset.write_text(json.dumps(_content(dataset), indent=1) + "\n")


@contextmanager
def _files(out: Path | None) -> Iterator[_Files]:
    """The files of `--out`, under temporary names until the block ends without an error."""
    if out is None:
        yield _Files()
        return
    alone = out.suffix in (".csv", ".json")
    if alone and (out.is_dir() or not out.parent.is_dir()):
        raise InputError(f"{out}: cannot be written; give a file in an existing folder")
    made = not alone and not out.exists()
    if not alone:
        try:
            out.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{out}: no such folder can be made ({error.strerror}); give one that lies in an "
                "existing folder"
            ) from None
    try:
        with ExitStack() as stack:
            if alone and out.suffix == ".json":
                yield _Files(dataset=stack.enter_context(whole(out)))
            elif alone:
                yield _Files(sequences=_csv(stack, out, _SEQUENCE))
            else:
                yield _Files(
                    stack.enter_context(whole(out / DATASET)),
                    _csv(stack, out / SEQUENCES, _SEQUENCE),
                    _csv(stack, out / OBJECTS, ("sequence", *_OBJECT)),
                )
    except BaseException:
        if made and not any(out.iterdir()):
            out.rmdir()
        raise


def _csv(stack: ExitStack, path: Path, columns: Sequence[str]) -> Any:
    partial_path = stack.enter_context(whole(path))
    file = stack.enter_context(partial_path.open("w", newline="", encoding="utf-8"))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    return writer


def _content(dataset: DatasetStatistics) -> dict[str, Any]:
    """A dataset as JSON; what is not a number is null."""
    summary = {
        name: None if math.isnan(value) else value for name, value in dataset.summary().items()
    }
    return summary | {
        "attributes": {
            name: {"sequences": sequences, "objects": objects}
            for name, (sequences, objects) in dataset.attributes.items()
        },
        "named": dict(sorted(dataset.named.items())),
        "mask_area": {"edges": AREA_EDGES.tolist(), "counts": dataset.areas.tolist()},
        "track_length": {"edges": LENGTH_EDGES.tolist(), "counts": dataset.spans.tolist()},
    }


def _listed(names: frozenset[str]) -> str:
    return " ".join(sorted(names))
