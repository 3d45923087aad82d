"""A trained model beside what it must beat: trackers that learn nothing, and itself without memory.

python -m vosfm.compare DAVIS --model aot_s --checkpoint FILE

With --peers, other methods stand beside it too, which ask a SAM:

python -m vosfm.compare DAVIS --model aot_s --checkpoint FILE --peers persam sam_pt --sam sam_vit_b
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vosfm import zoo
from vosfm.baselines import Forgetful, carry, repeat
from vosfm.checkpoints.loading import load
from vosfm.data import Davis
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.flow import DIS
from vosfm.metrics import VideoSegmentation
from vosfm.peers import BASELINES, NAMES, Peer, build
from vosfm.task import score
from vosfm.tracker import Result, Tracker

SHOWN = ("J&F", "J", "F")

Method = Callable[[Video], Iterator[Result]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table for sequences in the layout of DAVIS; returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m vosfm.compare", description=__doc__)
    parser.add_argument("root", type=Path, help="folder with JPEGImages, Annotations, ImageSets")
    parser.add_argument("--model", required=True, help="a name under configs/model, or a file")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of the model")
    parser.add_argument("--split", default="2017/val", help="list of sequences, year/name")
    parser.add_argument("--sequences", nargs="*", help="only these of the split")
    parser.add_argument("--long-edge", type=int, help="larger frames are shrunk to this")
    asking = [name for name in NAMES if name not in BASELINES]  # which are shown in any case
    parser.add_argument("--peers", nargs="*", default=[], choices=asking, help="other methods")
    parser.add_argument("--sam", default="sam_vit_h", help="what they ask: a prompter, or a file")
    parser.add_argument("--sam-checkpoint", help="its weights")
    args = parser.parse_args(arguments)
    sizes = {} if args.long_edge is None else {"encoder": {"long_edge": args.long_edge}}
    try:
        videos = list(Davis(args.root, args.split, sequences=args.sequences))
        others = peers(args.peers, args.sam, args.sam_checkpoint, args.model, args.checkpoint)
        scores = compare(args.model, args.checkpoint, videos, others, **sizes)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    title = f"{len(videos)} sequences of {args.split}"
    Console().print(tabulate(scores, title), by_video(scores, [video.name for video in videos]))
    return 0


def peers(
    names: Sequence[str], sam: str, sam_checkpoint: str | None, model: str, checkpoint: Path
) -> dict[str, Peer]:
    """Build other methods.

    Args:
        names: of `vosfm.peers.NAMES`.
        sam: the prompter that all of them ask, as `vosfm.zoo.build_prompter` takes it.
        sam_checkpoint: its weights; None for those of its config.
        model: what DEVA propagates masks with, as `vosfm.build` takes it.
        checkpoint: its weights.

    Returns:
        Name -> method.

    Raises:
        InputError: if a model or its weights cannot be read.
    """
    if not names:
        return {}
    given = {} if sam_checkpoint is None else {"checkpoint": sam_checkpoint}
    prompter = zoo.build_prompter(sam, **given)
    segmenter = None
    if "deva" in names:
        segmenter = zoo.build(model)
        load(segmenter, checkpoint)
    return {name: build(name, prompter, segmenter) for name in names}


def compare(
    model: str,
    checkpoint: Path,
    videos: Sequence[Video],
    others: Mapping[str, Peer] | None = None,
    **overrides: object,
) -> dict[str, dict[str, float]]:
    """Measure a model and what it must beat.

    Args:
        model: its name, as `vosfm.build` takes it.
        checkpoint: its weights.
        videos: with masks.
        others: name -> method that is measured, too; None for none.
        overrides: of the model, as `vosfm.build` takes them.

    Returns:
        Method -> metric, and the J&F of each video by its name -> value in [0, 1]; the model first.

    Raises:
        InputError: if the model or a video cannot be read.
    """
    segmenter, search = zoo.build(model, **overrides), zoo.build_search(model)
    load(segmenter, checkpoint)

    def tracked(video: Video) -> Iterator[Result]:
        return Tracker(segmenter, search).track(video.frames(), video.prompts())

    def cleared(video: Video) -> Iterator[Result]:
        return Tracker(segmenter, Forgetful()).track(video.frames(), video.prompts())

    methods: dict[str, Method] = {
        f"{model}, trained": tracked,
        "the same, its memory cleared": cleared,
        "first mask repeated": lambda video: repeat(video.frames(), video.prompts()),
        "mask carried by DIS flow": lambda video: carry(video.frames(), video.prompts(), DIS()),
    }
    for name, peer in (others or {}).items():
        methods[name] = partial(_followed, peer)
    scores: dict[str, dict[str, float]] = {}
    for name, method in methods.items():
        metric = VideoSegmentation("davis2017")
        scores[name] = {}
        for video in videos:
            alone = VideoSegmentation("davis2017")
            score(alone, video, method(video))
            scores[name][video.name] = float(alone.compute()["J&F"])
            metric.merge_state(alone)
        scores[name] |= {key: float(value) for key, value in metric.compute().items()}
    return scores


def _followed(peer: Peer, video: Video) -> Iterator[Result]:
    return peer.track(video.frames(), video.prompts())


def tabulate(scores: dict[str, dict[str, float]], title: str) -> Table:
    """Set the first method beside the others, in percent.

    Args:
        scores: as `compare` gives them.
        title: of the table.
    """
    table = Table(title=f"{title}, in %")
    table.add_column("method", no_wrap=True)
    for name in (*SHOWN, "model ahead by"):
        table.add_column(name, justify="right")
    model = next(iter(scores.values()))["J&F"]
    for row, (name, values) in enumerate(scores.items()):
        shown = [f"{100 * values[key]:.1f}" for key in SHOWN]
        table.add_row(name, *shown, f"{100 * (model - values['J&F']):+.1f}" if row else "")
    return table


def by_video(scores: dict[str, dict[str, float]], names: Sequence[str]) -> Table:
    """J&F of every method on each video, in percent.

    Args:
        scores: as `compare` gives them.
        names: of the videos.
    """
    table = Table(title="J&F of each, in %")
    table.add_column("video", no_wrap=True)
    for method in scores:
        table.add_column(method, justify="right")
    for name in names:
        table.add_row(name, *(f"{100 * values[name]:.1f}" for values in scores.values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
