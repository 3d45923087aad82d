"""Write the annotations of a dataset, and its frames if asked, in the layout of another."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data.claim import claim, write_json
from vosfm.data.formats.format import FORMATS, Format, format_named
from vosfm.data.formats.layout import read_list
from vosfm.data.truth import Truth
from vosfm.data.writers import WRITERS, Plan, Writer
from vosfm.data.writers.losses import losses
from vosfm.errors import InputError
from vosfm.processes import each
from vosfm.progress import shown

RECORD, MAPPING = "conversion.json", "mapping.json"
"""What was converted, by which an interrupted run goes on; and what has another name now."""

Frames = Literal["link", "copy", "none"]


@dataclass(frozen=True)
class Conversion:
    """What became of a dataset.

    Attributes:
        sequences: names of those that lie in the new layout.
        resumed: how many of them an earlier run had finished.
        renamed: how many of them have objects or frames of another name, see `MAPPING`.
        warnings: what the new layout does not tell any more, a line each.
    """

    sequences: tuple[str, ...]
    resumed: int
    renamed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One sequence to write.

    Attributes:
        writer: of the layout.
        truth: of the sequence.
        plan: what it is called there.
        files: its pictures; None if none are written.
        frames: how.
    """

    writer: Writer
    truth: Truth
    plan: Plan
    files: tuple[Path, ...] | None
    frames: Frames


def convert(
    source: str | os.PathLike[str],
    source_format: str,
    out: str | os.PathLike[str],
    target_format: str,
    split: str | None = None,
    target_split: str | None = None,
    sequences: Sequence[str] | None = None,
    frames: Frames = "none",
    workers: int = 1,
) -> Conversion:
    """Write a dataset in another layout, so that reading it back gives the same truths.

    Every sequence is written under a temporary name and gets its own when it is whole. A run that
    was interrupted goes on where it was; what it then leaves is the same, byte for byte. What has
    to be renamed (objects, frames) is told by `MAPPING`, if there is anything.

    Args:
        source: the folder of the dataset.
        source_format: its layout, a name in `vosfm.data.formats.format.FORMATS`.
        out: the folder to write into: a new one, an empty one, or that of the same conversion.
        target_format: the new layout, a name in `vosfm.data.writers.WRITERS`.
        split: of the source; None for what its format reads then.
        target_split: what the split is called in the new layout; None for its format's own.
        sequences: only these; None for all.
        frames: whether pictures are hard links to those of the source, copies of them, or left out.
        workers: processes; what is written does not depend on it.

    Raises:
        InputError: if the source cannot be read, the new layout cannot hold it (objects that
            overlap in one index PNG, too many of them, objects that start later than it allows),
            or `out` lies in the source or holds anything else.
    """
    if target_format not in WRITERS:
        raise InputError(
            f"format {target_format}: cannot be written; choose one of {', '.join(WRITERS)}"
        )
    if frames not in get_args(Frames):
        raise InputError(f"frames is {frames!r}: choose one of {', '.join(get_args(Frames))}")
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    reading, target = format_named(source_format), format_named(target_format)
    root, out = Path(source), Path(out)
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out}: lies in the dataset that is read, {root}; give another folder")
    writer = WRITERS[target_format](out, target.split if target_split is None else target_split)
    truths = reading.truths(root, split, sequences)
    if not truths:
        raise InputError(f"{root}: no sequence; check the root and the split")
    files = {} if frames == "none" else _pictures(reading, root, split, truths)
    jobs = [_job(writer, truth, files.get(truth.name), frames) for truth in truths]
    plans = [job.plan for job in jobs]
    record = {
        "from": source_format,
        "source": str(root.resolve()),
        "split": split,
        "to": target_format,
        "as": writer.split,
        "frames": frames,
        "sequences": [plan.name for plan in plans],
    }
    claim(out, RECORD, record, "conversion")
    for folder in (writer.masks, writer.frames) if files else (writer.masks,):
        folder.mkdir(parents=True, exist_ok=True)
    left = [job for job in jobs if not (writer.masks / job.plan.name).is_dir()]
    warnings = [line for lines in _written(left, workers) for line in lines]
    writer.finish(truths, plans)
    renames = {job.plan.name: _renamed(job) for job in jobs}
    renamed = {name: told for name, told in renames.items() if told}
    if renamed:
        write_json(out / MAPPING, {"sequences": renamed})
    names = tuple(plan.name for plan in plans)
    back = {one.name: one for one in target.truths(out, writer.split, names)}
    warnings += losses(truths, plans, [back[name] for name in names])
    return Conversion(names, len(jobs) - len(left), len(renamed), tuple(warnings))


def write_sequence(job: Job) -> list[str]:
    """Write one sequence; its masks get their name last, when all of it is there.

    Returns:
        What the layout cannot hold of it and can do without, a line each.

    Raises:
        InputError: if the layout cannot hold it, a mask cannot be read, or a picture not be linked.
    """
    name = job.plan.name
    masks = job.writer.masks / f".{name}.partial"
    pictures = job.writer.frames / f".{name}.partial"
    try:
        _empty(masks)
        lines = job.writer.write(job.truth, job.plan, masks)
        if job.files is not None and not (job.writer.frames / name).is_dir():
            _empty(pictures)
            for file, stem in zip(job.files, job.plan.pictures or (), strict=True):
                _put(file, pictures / f"{stem}{file.suffix}", job.frames)
            pictures.replace(job.writer.frames / name)
        masks.replace(job.writer.masks / name)
    finally:
        for folder in (masks, pictures):
            shutil.rmtree(folder, ignore_errors=True)
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm convert`` understands."""
    parser.add_argument("source", type=Path, help="the folder of the dataset")
    parser.add_argument(
        "--from",
        dest="source_format",
        required=True,
        metavar="NAME",
        help=f"its layout: {', '.join(FORMATS)}",
    )
    parser.add_argument("--split", help="of it, such as valid or 2017/val")
    parser.add_argument(
        "--to",
        dest="target_format",
        required=True,
        metavar="NAME",
        help=f"the layout to write: {', '.join(WRITERS)}",
    )
    parser.add_argument(
        "--as",
        dest="target_split",
        metavar="SPLIT",
        help="what the split is called there (default: the format's own)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder, or that of a run to "
        "go on with"
    )  # fmt: skip
    parser.add_argument(
        "--sequences", type=Path, metavar="FILE", help="only these, one a line (default: all)"
    )
    parser.add_argument(
        "--frames",
        default="none",
        choices=get_args(Frames),
        help="hard links to the pictures, copies of them, or masks alone (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm convert``; warnings go to standard error.

    Raises:
        InputError: as `convert`.
    """
    done = convert(
        args.source,
        args.source_format,
        args.out,
        args.target_format,
        split=args.split,
        target_split=args.target_split,
        sequences=None if args.sequences is None else read_list(args.sequences),
        frames=args.frames,
        workers=args.workers,
    )
    for line in done.warnings:
        print(f"vosfm: warning: {line}", file=sys.stderr)
    earlier = f", {done.resumed} of them by an earlier run" if done.resumed else ""
    print(f"{len(done.sequences)} sequences{earlier}, see {args.out}")
    if done.renamed:
        print(f"{done.renamed} have other ids or frame names now, see {args.out / MAPPING}")


def _pictures(
    reading: Format, root: Path, split: str | None, truths: Sequence[Truth]
) -> dict[str, tuple[Path, ...]]:
    """The pictures of each sequence, in the order of time."""
    videos = reading.videos(root, split)
    at = {name: index for index, name in enumerate(videos.names)}
    pictures: dict[str, tuple[Path, ...]] = {}
    for truth in truths:
        if truth.name not in at:
            raise InputError(
                f"{root}: has masks of {truth.name}, but lists no such video to take frames from; "
                "name the split with --split"
            )
        files = videos[at[truth.name]].files
        if files is None:
            raise InputError(
                f"{root}: the frames of {truth.name} are not files of their own; write masks alone "
                "with --frames none"
            )
        pictures[truth.name] = files
    return pictures


def _job(writer: Writer, truth: Truth, files: tuple[Path, ...] | None, frames: Frames) -> Job:
    plan = writer.plan(truth, None if files is None else [file.stem for file in files])
    return Job(writer, truth, plan, files, frames)


def _written(jobs: Sequence[Job], workers: int) -> Iterator[list[str]]:
    """Write sequences, and show how far it is."""
    return shown(each(write_sequence, jobs, workers, __name__), "converting", len(jobs))


def _renamed(job: Job) -> dict[str, dict[str, Any]]:
    """What of a sequence has another name than in the source: old name -> new one."""
    pictures = [file.stem for file in job.files or ()]
    names = dict(zip(pictures, job.plan.pictures or (), strict=True)) | dict(
        zip(job.truth.frame_names, job.plan.frame_names, strict=True)
    )
    told: dict[str, dict[str, Any]] = {
        "objects": {str(old): new for old, new in job.plan.object_ids.items() if old != new},
        "frames": {old: new for old, new in names.items() if old != new},
    }
    return {what: changes for what, changes in told.items() if changes}


def _empty(folder: Path) -> None:
    """Make a folder, without what a killed run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _put(file: Path, target: Path, frames: Frames) -> None:
    try:
        if frames == "link":
            os.link(file.resolve(), target)
        else:
            shutil.copyfile(file, target)
    except OSError as error:
        remedy = "copy them with --frames copy" if frames == "link" else "check the file"
        raise InputError(f"{file}: no {frames} can be made ({error.strerror}); {remedy}") from None
