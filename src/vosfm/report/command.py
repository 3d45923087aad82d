"""The command ``vosfm report``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.report.figures import plot_study
from vosfm.report.online import read_wandb
from vosfm.report.rendering import csv_text, latex, markdown, terminal
from vosfm.report.results import find_sweeps, read_results
from vosfm.report.study import Study, studies
from vosfm.report.table import tabulate

_WIDEST = 1000  # letters of a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm report`` understands."""
    parser.epilog = (
        "Sweeps of one name are one study. Published numbers come from the papers that the tables "
        "name, and stand in the columns that are marked so."
    )
    parser.add_argument(
        "folders",
        metavar="DIR",
        nargs="*",
        help="a folder that vosfm sweep wrote, or one that holds such folders",
    )
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT/SWEEP",
        action="append",
        default=[],
        help="a sweep that W&B has; may be given more than once",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="a folder, which gets each study as STUDY.md, .csv, .tex and .png",
    )
    parser.add_argument(
        "--study",
        metavar="NAME",
        help="the published study to stand beside, system/study (default: as the sweep is called)",
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm report``: print the tables, and write them if ``--out`` is given.

    Raises:
        InputError: if a sweep cannot be read, or ``--out`` cannot be written.
    """
    if not args.folders and not args.wandb:
        raise InputError("nothing to report: give the folder of a sweep, or --wandb")
    folders = [one for folder in args.folders for one in find_sweeps(folder) or [folder]]
    results = [*map(read_results, folders), *map(read_wandb, args.wandb)]
    found = studies(results, args.study)
    console = Console()
    for study in found:
        table = terminal(tabulate(study))
        if not console.is_terminal:  # a file takes lines of any length
            console.width = console.measure(
                table, options=console.options.update(width=_WIDEST)
            ).maximum
        console.print(table)
    if args.out is not None:
        for path in write(found, args.out):
            console.print(f"  {path}", soft_wrap=True, markup=False, highlight=False)


def write(found: Sequence[Study], out: Path) -> list[Path]:
    """Write studies to files.

    Args:
        found: the studies.
        out: folder; made if there is none.

    Returns:
        The files: of each study a table as .md, .csv and .tex, and a figure as .png.

    Raises:
        InputError: if the folder cannot be made, or two studies would have the same files.
    """
    names = [file_name(study.name) for study in found]
    if len(set(names)) < len(names):
        raise InputError(f"{out}: two studies would be called the same; report them one by one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: no such folder can be made ({error.strerror})") from None
    files = []
    for name, study in zip(names, found, strict=True):
        table = tabulate(study)
        for suffix, text in (
            (".md", markdown(table)),
            (".csv", csv_text(table)),
            (".tex", latex(table)),
        ):
            files.append(out / f"{name}{suffix}")
            with whole(files[-1]) as partial:
                partial.write_text(text, encoding="utf-8")
        files.append(out / f"{name}.png")
        with whole(files[-1]) as partial:
            plot_study(study).savefig(partial, format="png", dpi=120)
    return files


def file_name(study: str) -> str:
    """A study's name as that of a file: nothing in it leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", study).strip("_") or "study"
