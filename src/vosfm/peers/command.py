"""Track the videos of a benchmark with another method: write its masks, and measure J and F."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm import zoo
from vosfm.checkpoints.loading import load
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.results import ResultFolder
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.loggers import in_runs
from vosfm.metrics import VideoSegmentation
from vosfm.metrics.protocols import PROTOCOLS
from vosfm.peers.named import BASELINES, NAMES, build
from vosfm.peers.peer import Peer
from vosfm.task import score
from vosfm.tracker import Result

METRICS = "metrics.csv"
"""The file that `--out` gets beside the masks, as Lightning's CSVLogger writes it."""


def measure(
    peer: Peer, videos: Iterable[Video], protocol: str = "davis2017", out: Path | None = None
) -> dict[str, float]:
    """Track videos and score them.

    Args:
        peer: the method.
        videos: with the truth of their benchmark, or masks.
        protocol: a name of `vosfm.metrics.protocols`.
        out: folder for the masks, a folder for each video; None for none.

    Returns:
        The metrics of the protocol, in [0, 1]; "seconds" and "fps" of tracking, reading and
        scoring included.

    Raises:
        InputError: if a video cannot be read, or scored by the protocol.
    """
    metric = VideoSegmentation(protocol)
    begin, frames = perf_counter(), 0
    for video in videos:
        results = peer.track(video.frames(), video.prompts())
        if out is not None:
            folder = ResultFolder(out / video.name, video.frame_names, overlap=not peer.exclusive)
            results = _written(results, folder, frozenset(video.reported()))
        score(metric, video, results)
        frames += len(video)
    seconds = perf_counter() - begin
    found = {name: float(value) for name, value in metric.compute().items()}
    return {**found, "seconds": seconds, "fps": frames / seconds}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm peers`` understands."""
    parser.add_argument("root", type=Path, help="the folder of the benchmark")
    parser.add_argument("--peer", required=True, choices=NAMES, help="the method")
    parser.add_argument(
        "--sam",
        default="sam_vit_h",
        metavar="NAME",
        help=f"the SAM that it asks ({', '.join(zoo.prompter_names())}), or a config of one "
        "(default: %(default)s)",
    )
    parser.add_argument("--sam-checkpoint", metavar="PATH", help="its weights; else random ones")
    parser.add_argument("--model", metavar="NAME", help="of deva: the model that propagates masks")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="weights of the model")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the method, its value as JSON, such as positives=16 or "
        'inside="random"; may be given several times',
    )
    parser.add_argument(
        "--format", default="davis", choices=sorted(FORMATS), help="(default: %(default)s)"
    )
    parser.add_argument("--split", metavar="NAME", help="of the benchmark (default: its own)")
    parser.add_argument("--sequences", nargs="*", metavar="NAME", help="only these")
    parser.add_argument(
        "--protocol",
        default="davis2017",
        choices=sorted(PROTOCOLS),
        help="the benchmark's rules (default: %(default)s)",
    )
    parser.add_argument("--overlap", action="store_true", help="let objects overlap")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder for masks, and for {METRICS}"
    )
    parser.add_argument(
        "--stage",
        default="test",
        choices=("val", "test"),
        help=f"what metrics in {METRICS} are named by, as those of a model that is validated or "
        "tested on the same videos (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm peers``: print a table, and write masks and metrics if ``--out`` is given.

    Raises:
        InputError: if the benchmark, a model or its weights are unusable, or the method does not
            have an argument.
    """
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    entry = format_named(args.format)
    videos = list(_chosen(entry.videos(args.root, args.split), args.sequences))
    torch.manual_seed(0)  # of weights that nobody gave
    sam = None
    if args.peer not in BASELINES:
        given = {} if args.sam_checkpoint is None else {"checkpoint": args.sam_checkpoint}
        sam = zoo.build_prompter(args.sam, **given).to(device)
    segmenter = None
    if args.model is not None:
        segmenter = zoo.build(args.model)
        if args.checkpoint is not None:
            load(segmenter, args.checkpoint)
        segmenter = segmenter.to(device)
    changes = {"exclusive": not args.overlap, **_changes(args.set)}
    peer = build(args.peer, sam, segmenter, **changes)
    out = None if args.out is None else in_runs(args.out)
    found = measure(peer, videos, args.protocol, out)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with whole(out / METRICS) as path, path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *(f"{args.stage}/{name}" for name in found)])
            writer.writerow([0, *found.values()])
    table = Table("metric", "value", title=f"{args.peer}, {len(videos)} videos")
    for name, value in found.items():
        share = name not in ("seconds", "fps")
        table.add_row(name, f"{100 * value:.1f} %" if share else f"{value:.2f}")
    Console().print(table)


def _written(
    results: Iterable[Result], folder: ResultFolder, reported: frozenset[int]
) -> Iterator[Result]:
    for result in results:
        if result.frame in reported:
            folder.write(result)
        yield result


def _chosen(videos: Iterable[Video], names: list[str] | None) -> Iterator[Video]:
    """The videos of some names, or all.

    Raises:
        InputError: if there is none of a name.
    """
    wanted = None if names is None else set(names)
    for video in videos:
        if wanted is None:
            yield video
        elif video.name in wanted:
            wanted.remove(video.name)
            yield video
    if wanted:
        raise InputError(f"--sequences {sorted(wanted)[0]}: no such video in the split")


def _changes(given: Iterable[str]) -> dict[str, Any]:
    changes = {}
    for one in given:
        name, equals, value = one.partition("=")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            equals = ""
        if not equals or not name.isidentifier():
            raise InputError(f"--set {one}: give NAME=VALUE, the value as JSON")
    return changes
