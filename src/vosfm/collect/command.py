"""``vosfm collect``: its options, and what it tells at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from docstring_parser import parse
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vosfm import zoo
from vosfm.collect.collecting import Collection, collect
from vosfm.collect.corpus import MANIFEST
from vosfm.collect.cutting import Cutting
from vosfm.collect.engines import Engine, Processes, Ray
from vosfm.collect.recipe import GridBounds, Recipe
from vosfm.collect.settings import PRESETS, Settings
from vosfm.collect.sources import list_sources
from vosfm.collect.tools import FLOWS, flow_named
from vosfm.data.formats.format import FORMATS
from vosfm.errors import InputError

_SHOWN = 5
"""Failures that are told at the end; the manifest has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vosfm collect`` understands."""
    parser.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="VIDEOS",
        help="video files, folders of frames, or folders of either; with --format the root of a "
        "dataset",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder, or that of a run to "
        "go on with"
    )  # fmt: skip
    parser.add_argument("--format", metavar="NAME", help=f"of a dataset: {', '.join(FORMATS)}")
    parser.add_argument("--split", help="of the dataset, such as train")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default: %(default)s)")
    _add_tools(parser.add_argument_group("who finds the masks"))
    _add_cutting(parser.add_argument_group("how videos are cut into clips"))
    _add_settings(parser.add_argument_group("the data engine"))
    _add_engine(parser.add_argument_group("where the work is done"))


def main(args: argparse.Namespace) -> None:
    """Run ``vosfm collect``; print Table 1 of what there is now, warnings to standard error.

    Raises:
        InputError: as `collect`, if options contradict each other, or nothing could be collected.
    """
    recipe = _recipe(args)
    sources = list_sources(args.videos, args.format, args.split)
    found = collect(sources, recipe, args.out, _engine(args, recipe))
    told = [f"{failure.name}: {failure.reason}" for failure in found.failures[:_SHOWN]]
    if found.failures:
        told.append(
            f"{len(found.failures)} failures, see {args.out / MANIFEST}; the next run tries again"
        )
    for line in told:
        print(f"vosfm: warning: {line}", file=sys.stderr)
    if not found.clips:
        first = found.failures[0]
        raise InputError(f"no clip could be collected; {first.name}: {first.reason}")
    Console().print(table(found))
    earlier = f", {found.resumed} of them by an earlier run" if found.resumed else ""
    print(f"{len(found.clips)} clips{earlier}, see {args.out}")


def table(found: Collection) -> Table:
    """The columns of Table 1 of MUG-VOS, clips and failures, for the terminal."""
    columns = found.summary()
    shown = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in columns:
        shown.add_column(name.replace("_", " "), justify="right")
    shown.add_row(*(f"{v:,}" if isinstance(v, int) else f"{v:.3f}" for v in columns.values()))
    return shown


def _add_tools(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--segmenter",
        metavar="NAME",
        help=f"what answers points: a prompter ({', '.join(zoo.prompter_names())}), a model that "
        "understands points, or the config of either",
    )
    group.add_argument("--checkpoint", type=Path, metavar="PATH", help="its weights")
    group.add_argument(
        "--proposer",
        choices=("grid", "oracle"),
        default="grid",
        help="masks of the first frame: asked for at the points of a grid, or the true ones of a "
        "dataset (default: %(default)s)",
    )
    group.add_argument(
        "--oracle",
        action="store_true",
        help="true masks with noise in place of the segmenter, too; videos without any fail",
    )
    group.add_argument(
        "--flow", choices=FLOWS, default="dis", help="optical flow (default: %(default)s)"
    )
    group.add_argument("--flow-weights", type=Path, metavar="PATH", help="those of RAFT")
    helps = _helps(GridBounds)
    for item in fields(GridBounds):
        group.add_argument(
            f"--grid-{item.name}",
            type=float,
            default=item.default,
            metavar="NUMBER",
            help=f"of the grid: {helps[item.name]} (default: %(default)s)",
        )


def _add_cutting(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--length", type=int, default=10, metavar="N", help="frames of a clip (default: 10)"
    )
    group.add_argument(
        "--min-length",
        type=int,
        metavar="N",
        help="of what is left at the end of a scene; shorter ones are left out (default: half the "
        "length)",
    )
    group.add_argument(
        "--fps",
        type=float,
        metavar="RATE",
        help="take frames of video files at this rate (default: all)",
    )
    group.add_argument(
        "--scene-threshold",
        type=_or_none(float),
        default=27.0,
        metavar="NUMBER",
        help="mean difference of neighbouring frames in hue, saturation and brightness by which a "
        "scene ends; none for one scene a video (default: %(default)s)",
    )
    group.add_argument(
        "--short-edge", type=int, metavar="PIXELS", help="shrink larger frames to this shorter side"
    )


def _add_settings(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="paper",
        help="as the paper says, or as the released code does (default: %(default)s); the options "
        "below change it",
    )
    hints, helps = get_type_hints(Settings), _helps(Settings)
    for item in fields(Settings):
        group.add_argument(
            f"--{item.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=helps[item.name],
            **_kind(hints[item.name]),
        )


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes, each of one thread, or tasks in flight on Ray (default: 1; on Ray twice "
        "what it can run)",
    )
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or Ray, whose machines must all see the videos and --out "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a cluster (default: a new one, here)"
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    changes = {f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)}
    try:
        settings = replace(PRESETS[args.preset], **changes)
    except ValueError as error:
        raise InputError(f"{error}; correct the option") from None
    if args.oracle and args.segmenter is not None:
        raise InputError("--oracle answers in place of --segmenter; give one of them")
    proposer: Literal["grid", "oracle"] = "oracle" if args.oracle else args.proposer
    if proposer == "oracle" and args.format is None:
        raise InputError(
            "an oracle needs the true masks of a dataset; name its layout with --format"
        )
    if args.checkpoint is not None and args.segmenter is None:
        raise InputError("--checkpoint: of what? Name its --segmenter")
    if args.segmenter is not None:
        zoo.is_prompter(args.segmenter)  # says early that there is none of that name
        if args.checkpoint is None:
            print(
                "vosfm: warning: no --checkpoint; unless its config names one, the segmenter's "
                "weights are random",
                file=sys.stderr,
            )
    if args.flow == "dis" or args.flow_weights is None:
        flow_named(args.flow, _text(args.flow_weights))
    cutting = Cutting(
        args.length,
        (args.length + 1) // 2 if args.min_length is None else args.min_length,
        args.fps,
        args.scene_threshold,
    )
    return Recipe(
        settings,
        cutting,
        seed=args.seed,
        short_edge=args.short_edge,
        segmenter=args.segmenter,
        checkpoint=_text(args.checkpoint),
        proposer=proposer,
        bounds=GridBounds(args.grid_quality, args.grid_stability, args.grid_overlap),
        flow=args.flow,
        flow_weights=_text(args.flow_weights),
        device=_device(args),
    )


def _engine(args: argparse.Namespace, recipe: Recipe) -> Engine:
    if args.engine == "ray":
        return Ray(args.workers, args.ray_address, gpu=recipe.device == "cuda")
    if args.ray_address is not None:
        raise InputError("--ray-address is of --engine ray; choose that one")
    return Processes(1 if args.workers is None else args.workers)


def _device(args: argparse.Namespace) -> str:
    usable = torch.cuda.is_available()
    if args.device == "auto":
        return "cuda" if usable else "cpu"
    if args.device == "cuda" and not usable and args.engine == "local":
        raise InputError("--device cuda: no CUDA device is usable here; choose cpu or auto")
    return str(args.device)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _helps(documented: type) -> dict[str, str]:
    """What the docstring says of each field, as argparse wants it."""
    told = parse(documented.__doc__ or "").params
    texts = {one.arg_name: " ".join((one.description or "").split()) for one in told}
    return {name: text.rstrip(".").replace("%", "%%") for name, text in texts.items()}


def _kind(hint: Any) -> dict[str, Any]:
    """How an option of a field's type is declared."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        kind = next(one for one in inner if one is not type(None))
        return {"type": _or_none(kind), "metavar": "NUMBER"}
    if origin is Literal:
        return {"choices": inner}
    if origin is tuple:
        return {"type": inner[0], "nargs": "*", "action": _Tuple, "metavar": "NUMBER"}
    return {"type": hint, "metavar": "NUMBER"}


class _Tuple(argparse.Action):
    """Several values as a tuple, as a frozen dataclass holds them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, tuple(values))


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else kind(text)

    read.__name__ = getattr(kind, "__name__", "value")  # argparse names it in its errors
    return read
