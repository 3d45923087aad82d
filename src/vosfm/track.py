"""Track objects through one video, from files to files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar, get_args

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vosfm import zoo
from vosfm.augmentation import augment
from vosfm.both_ways import Pass, backward_pass, first_masks, forward_pass
from vosfm.checkpoints.loading import load
from vosfm.data.drawing import overlay
from vosfm.data.file import VideoWriter
from vosfm.data.open import open_video
from vosfm.data.results import ResultFolder
from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.fusion import fuse
from vosfm.pace import DepthRule, FixedDepth, Pace
from vosfm.prompters import Prompter
from vosfm.prompts import check_drawn, drawn_prompts, merge_prompts, read_prompts
from vosfm.provenance import finished_passes, stamp_of, write_record
from vosfm.search import Search
from vosfm.segmenter import Segmenter
from vosfm.tracker import Precision, Prompts, Tracker

OVERLAY = "overlay.mp4"

_Item = TypeVar("_Item")


def track(
    segmenter: Segmenter,
    video: Video,
    out: str | os.PathLike[str],
    exclusive: bool = True,
    resume: bool = False,
    save_every: int = 50,
    rate: float | None = 25.0,
    progress: Progress | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    precision: Precision = "32",
    prompts: Prompts | None = None,
    prompter: Prompter | None = None,
    memory_limit: int | None = None,
    backward: bool = False,
    search: Search | None = None,
    depth: int | DepthRule | None = None,
) -> int:
    """Track a video and write its masks, a state to go on from, and an overlay video.

    Whatever stops it, the PNGs are whole, and `resume` continues to those that an uninterrupted
    run would have written, bit by bit. The overlay video is drawn from the PNGs at the end, so
    that it does not depend on where a run was stopped.

    Args:
        segmenter: the model, where it shall run.
        video: with the masks that are given, unless `prompts` are.
        out: folder of the results, as `vosfm.data.results.ResultFolder` lays them out; empty or
            not there yet, unless `resume`.
        exclusive: whether a pixel belongs to one object at most.
        resume: go on in a folder that an earlier run left; from the first frame if there is none.
        save_every: frames between two saved states; one is also saved when it is stopped.
        rate: frames per second of the overlay video; None for no video.
        progress: where to show how far it is; started with the first frame.
        scales: of the frame, at which it is seen; the masks are the mean over them.
        flip: look at every scale mirrored, too.
        precision: in which it is computed, see `vosfm.Tracker`.
        prompts: what is given, by frame and object; None for the masks of the video.
        prompter: what makes masks of boxes and points, see `vosfm.Tracker`.
        memory_limit: bytes that the memory may take, see `vosfm.Tracker`.
        backward: also track every object from the frame in which it is first given back to the
            beginning. Where objects exclude each other, a pixel that both directions claim stays
            with the object that was tracked forward.
        search: which proposals become memory; None for `Greedy`.
        depth: of a model with several depths, see `vosfm.Tracker`. With a `vosfm.pace.Pace`, which
            goes by the clock, no two runs need write the same masks.

    Returns:
        The number of frames tracked by this run; those that were seen both ways count twice.

    Raises:
        InputError: if a frame, a prompt or a scale is unusable, the model does not have the depth,
            `out` is not empty, or it holds results of another video, model, prompter or prompt.
    """
    if save_every < 1:
        raise InputError(f"save_every is {save_every}: give at least 1")
    augmented = augment(fuse(segmenter), scales, flip)
    if prompts is None:
        prompts = video.prompts()
    check_drawn(prompts, len(video), video.size)
    out = Path(out)
    rule = FixedDepth(depth) if isinstance(depth, int) else depth
    stamp = stamp_of(segmenter, video, prompts, prompter)
    stamp["choice of --overlap"] = not exclusive
    stamp["choice of --scales or --flip"] = [*map(float, scales), flip]
    stamp["choice of --precision"] = precision
    stamp["choice of --backward"] = backward
    stamp["choice of --depth or --target-fps"] = _depth_stamp(rule)
    stamp["search"] = None if search is None else repr(search)
    finished = finished_passes(out, stamp, resume)
    results = ResultFolder(out, video.frame_names, overlap=not exclusive)
    passes = [forward_pass(video, prompts, results)]
    if backward and (before := backward_pass(video, prompts, results)) is not None:
        passes.append(before)
    tracked = 0
    for one in passes:
        if one.name not in finished:
            tracker = Tracker(
                augmented,
                search,
                exclusive,
                precision=precision,
                prompter=prompter,
                memory_limit=memory_limit,
                depth=rule,
            )
            if (out / one.stream).is_file():
                tracker.resume(out / one.stream)
            tracked += len(one.video) - tracker.time
            begin = partial(write_record, out, stamp, finished)
            _track(tracker, one, begin, save_every, progress)
            finished = (*finished, one.name)
            write_record(out, stamp, finished)
        (out / one.stream).unlink(missing_ok=True)
    if rate is not None and not (out / OVERLAY).is_file():
        seen = 0 if backward else min(prompts)
        _draw(video, results, seen, out / OVERLAY, rate, progress)
    return tracked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm track`` understands."""
    parser.add_argument("video", type=Path, help="a video file, or a folder of frames")
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="PNG",
        help="index mask of the first frame, or a folder of masks named like their frames: "
        "objects of a later mask join there; with --overlap also a folder ID/NAME.png per object",
    )
    _add_drawn(parser)
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help=f"a model ({', '.join(zoo.names())}), or the config.yaml of a run",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="PATH", help="its weights"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the masks, a PNG a frame"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier run in --out was stopped"
    )
    parser.add_argument(
        "--overlap",
        action="store_true",
        help="let objects overlap; the masks then lie in one folder per object",
    )
    parser.add_argument(
        "--backward",
        action="store_true",
        help="also track every object from the frame in which it is first given back to the "
        "beginning; a pixel that both directions claim stays with the object that was tracked "
        "forward, with --overlap with both. The first mask may then be of any frame",
    )
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="SCALE",
        help="of the frame, at which it is seen, within the model's long_edge; the masks are the "
        "mean over them (default: 1)",
    )
    parser.add_argument("--flip", action="store_true", help="look at every scale mirrored, too")
    parser.add_argument(
        "--precision",
        default="32",
        choices=get_args(Precision),
        help="bf16 halves the memory per frame; faster on most GPUs, far slower on CPUs without "
        "bfloat16 instructions (default: %(default)s)",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        metavar="MIB",
        help="stop as objects join if the memory of all of them would take more once it is full; "
        "decoding takes more besides, bounded by `chunk` of the model's parts",
    )
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help="of a model with several depths (aost): read frames with N layers, all but those that "
        "something is given with (default: all layers)",
    )
    depth.add_argument(
        "--target-fps",
        type=float,
        metavar="F",
        help="the same, as deep as goes with F frames per second of tracking, reading and writing "
        "of files not counted; masks then depend on how fast the machine is",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    parser.add_argument("--no-overlay", action="store_true", help=f"do not draw {OVERLAY}")
    parser.add_argument(
        "--fps", type=float, metavar="RATE", help="of the overlay (default: the video's, or 25)"
    )
    parser.add_argument(
        "--save-every",
        type=int,
        default=50,
        metavar="N",
        help="frames between two saved states (default: %(default)s)",
    )


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm track``.

    Raises:
        InputError: as `track`, or if the model or its weights are unusable.
    """
    device = _device(args.device)
    rate = args.fps
    if rate is not None and not rate > 0:
        raise InputError(f"--fps is {rate}: give a number above 0")
    video = open_video(args.video, args.masks)
    prompts = _prompts(args, video)
    prompter = _prompter(args)
    rule = _depth_rule(args)
    segmenter = zoo.build(args.model)
    load(segmenter, args.checkpoint)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _FramesPerSecond(),
        TimeRemainingColumn(),
    )
    begin = perf_counter()
    progress = Progress(*columns, console=console)
    try:
        tracked = track(
            segmenter.to(device),
            video,
            args.out,
            exclusive=not args.overlap,
            resume=args.resume,
            save_every=args.save_every,
            rate=None if args.no_overlay else rate or getattr(video, "rate", 25.0),
            progress=progress,
            scales=args.scales,
            flip=args.flip,
            precision=args.precision,
            prompts=prompts,
            prompter=None if prompter is None else prompter.to(device),
            memory_limit=None if args.memory_limit is None else int(args.memory_limit * 2**20),
            backward=args.backward,
            search=zoo.build_search(args.model),
            depth=rule,
        )
    finally:
        if progress.live.is_started:
            progress.stop()
    seconds = perf_counter() - begin
    print(f"{video.name}: {tracked} frames in {seconds:.1f} s, see {args.out}")
    if rule is not None:
        print(rule.summary())


def _add_drawn(parser: argparse.ArgumentParser) -> None:
    """Declare what can be given in place of masks."""
    parser.add_argument(
        "--box",
        type=float,
        nargs=5,
        action="append",
        default=[],
        metavar=("ID", "X0", "Y0", "X1", "Y1"),
        help="an object of the first frame, by its left, top, right and bottom in pixels; points "
        "of the same ID go with it",
    )
    parser.add_argument(
        "--point",
        type=float,
        nargs=4,
        action="append",
        default=[],
        metavar=("ID", "X", "Y", "LABEL"),
        help="a point inside (label 1) or outside (0) of an object of the first frame; "
        "several of one ID describe it together",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="JSON",
        help='boxes and points of any frame: {"FRAME": {"ID": {"box": [X0, Y0, X1, Y1]}, '
        '"ID": {"points": [[X, Y, LABEL], ...]}}}, or both for one ID; frames counted from 0. What '
        "is given of an object again, in a later frame, corrects it",
    )
    parser.add_argument(
        "--prompter",
        metavar="NAME",
        help=f"what makes masks of boxes and points ({', '.join(zoo.prompter_names())}), or a "
        "config of one; for models that take masks alone",
    )
    parser.add_argument(
        "--prompter-checkpoint", metavar="PATH", help="its weights, such as a released SAM"
    )


def _prompts(args: argparse.Namespace, video: Video) -> Prompts:
    sources: list[Prompts] = []
    if args.masks is not None:
        sources.append(first_masks(video) if args.backward else video.prompts())
    if args.prompts is not None:
        sources.append(read_prompts(args.prompts))
    if args.box or args.point:
        sources.append({0: drawn_prompts(args.box, args.point)})
    if not sources:
        raise InputError("nothing to track: give --masks, --box, --point or --prompts")
    return merge_prompts(sources)


def _depth_rule(args: argparse.Namespace) -> DepthRule | None:
    if args.target_fps is not None:
        return Pace(args.target_fps)
    return None if args.depth is None else FixedDepth(args.depth)


def _depth_stamp(rule: DepthRule | None) -> int | str | None:
    """What a folder is made from; how fast a machine was is not told."""
    if rule is None:
        return None
    return rule.depth if isinstance(rule, FixedDepth) else "by the clock"


def _prompter(args: argparse.Namespace) -> Prompter | None:
    if (args.prompter is None) != (args.prompter_checkpoint is None):
        raise InputError("--prompter and --prompter-checkpoint go together: give both or none")
    if args.prompter is None:
        return None
    return zoo.build_prompter(args.prompter, checkpoint=args.prompter_checkpoint)


def _track(
    tracker: Tracker,
    one: Pass,
    begin: Callable[[], None],
    save_every: int,
    progress: Progress | None,
) -> None:
    written = saved = tracker.reported
    kept = tracker.beam  # when the masks of all frames that were final then are written
    stream = one.masks.path / one.stream
    frames = tracker.track(one.video.frames(tracker.time), one.prompts)
    what = f"{one.video.name}, {one.name}"
    try:
        for result in _shown(frames, what, progress, written, len(one.video)):
            if result.frame == 0:  # not before: a run that fails at once leaves nothing behind
                begin()
            one.masks.write(result)
            written = result.frame + 1
            if tracker.beam is None or tracker.reported > written:
                continue
            kept = tracker.beam
            if written - saved >= save_every:
                tracker.save(stream)
                saved = written
    except BaseException:
        if kept is not None and written:
            tracker.save(stream, kept)
        raise


def _draw(
    video: Video,
    results: ResultFolder,
    seen: int,
    path: Path,
    rate: float,
    progress: Progress | None,
) -> None:
    """Draw the overlay video; no object is seen before frame `seen`."""
    frames = _shown(video.frames(), "overlay", progress, 0, len(video))
    with VideoWriter(path, rate) as writer:
        for index, frame in enumerate(frames):
            if index >= seen:
                annotation = results.read(index)
                frame = overlay(frame, annotation.masks, annotation.object_ids)
            writer.write(frame)


def _shown(
    items: Iterable[_Item], what: str, progress: Progress | None, done: int, total: int
) -> Iterator[_Item]:
    if progress is None:
        yield from items
        return
    progress.start()
    task = progress.add_task(what, total=total, completed=done)
    for item in items:
        yield item
        progress.advance(task)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is usable here; choose cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")
