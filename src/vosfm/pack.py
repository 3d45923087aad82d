"""Write a dataset as tar shards to stream from, and check shards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.formats.layout import read_list
from vosfm.data.shards.cutting import Cut, Pictures
from vosfm.data.shards.packing import Packing, check, pack
from vosfm.errors import InputError

__all__ = ["Cut", "Packing", "add_arguments", "check", "main", "pack"]

_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm pack`` understands."""
    parser.add_argument("root", type=Path, nargs="?", help="the folder of the dataset")
    parser.add_argument("--format", metavar="NAME", help=f"its layout: {', '.join(FORMATS)}")
    parser.add_argument("--split", help="of it, such as train or 2017/train")
    parser.add_argument(
        "--sequences", type=Path, metavar="FILE", help="only these, one a line (default: all)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder, or that of a run to go on with"
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="T",
        help="cut videos into clips of so many annotated frames (default: whole videos)",
    )
    parser.add_argument(
        "--pictures",
        default="annotated",
        choices=get_args(Pictures),
        help="of frames with masks, which training takes, or of all (default: %(default)s)",
    )
    parser.add_argument(
        "--short-edge",
        type=int,
        metavar="N",
        help="bring the shorter side of larger frames to N pixels (default: as they are)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        default=95,
        metavar="Q",
        help="of JPEGs that have to be encoded, 1 to 100; others are taken as they are "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--shard-size",
        type=int,
        default=256,
        metavar="MIB",
        help="of a shard at most, if it holds more than one clip (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--check",
        metavar="SHARDS",
        help="write nothing, but compare these shards with the checksums of their index",
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm pack``; warnings go to standard error.

    Raises:
        InputError: as `pack` and `check`, or if the root, the format or the folder is not named.
    """
    if args.check is not None:
        print(_told(Packing(check(args.check))))
        return
    for name, given in (("ROOT", args.root), ("--format", args.format), ("--out", args.out)):
        if given is None:
            raise InputError(f"{name} is missing: name the dataset, its --format and the --out")
    entry = format_named(args.format)
    origin = args.root.resolve()
    if args.out.resolve().is_relative_to(origin):
        raise InputError(f"{args.out}: lies in the dataset that is read; give another folder")
    done = pack(
        entry.videos(args.root, args.split),
        args.out,
        Cut(args.length, args.short_edge, args.quality, args.pictures),
        args.shard_size * _MIB,
        args.workers,
        source=args.format,
        origin=str(origin) if args.split is None else f"{origin}, {args.split}",
        sequences=None if args.sequences is None else read_list(args.sequences),
    )
    for line in done.warnings:
        print(f"vosfm: warning: {line}", file=sys.stderr)
    earlier = f" ({done.resumed} shards by an earlier run)" if done.resumed else ""
    print(f"{_told(done)}{earlier}, see {args.out}")


def _told(done: Packing) -> str:
    """The summary in one line."""
    row = done.summary()
    counts = ", ".join(
        f"{row[name]:,} {name}"
        for name in ("shards", "samples", "videos", "frames", "tracks", "masks", "bytes")
    )
    return f"{counts}, of which masks take {row['bytes_per_mask']:.0f} each"
