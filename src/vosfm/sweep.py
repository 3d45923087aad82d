"""Run what a W&B sweep file asks for: every combination of its parameters, each with its seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from vosfm.errors import InputError
from vosfm.report.results import RESULTS
from vosfm.sweeping import command, online, sweep_file
from vosfm.sweeping.board import Board
from vosfm.sweeping.folder import SweepFolder
from vosfm.sweeping.launcher import Launcher
from vosfm.sweeping.local import Local
from vosfm.sweeping.runner import Runner
from vosfm.sweeping.slurm import Slurm
from vosfm.sweeping.sweep_file import Sweep
from vosfm.sweeping.trials import Trial, expand


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    # What stands behind -- is found only if options and the rest may stand in any order.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    parser.epilog = (
        "The same command goes on where it was stopped: finished trials are not run again, failed "
        "ones are. Paths are relative to where it is started; what a trial writes lies in its "
        "folder OUT/trials/ID, and a line of every finished one in OUT/results.jsonl (with --where "
        "wandb, agents write where they are started; the results are asked of W&B at the end)."
    )
    parser.add_argument("file", metavar="FILE", help="a W&B sweep file")
    parser.add_argument(
        "extra", metavar="ARGUMENT", nargs="*", help="behind --: further arguments of every trial"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the sweep (default runs/sweeps/SYSTEM/STUDY)"
    )
    parser.add_argument(
        "--where",
        choices=("local", "slurm", "wandb"),
        default="local",
        help="this machine, a SLURM cluster, or agents that W&B gives trials to (default local)",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="trials at once (default 1; with slurm, all)"
    )
    parser.add_argument(
        "--seeds", metavar="K", type=int, help="run with seed_everything from 0 to K-1"
    )
    parser.add_argument(
        "--trials", metavar="N", type=int, help="choices of a random sweep (default its run_cap)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of a random sweep's choices (default 0)"
    )
    parser.add_argument(
        "--slurm",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="of every job, such as partition=gpu, timeout_min=600, gpus_per_node=1",
    )


def main(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        InputError: if the sweep cannot be run as it is asked for; nothing has run then.
        SystemExit: with code 1 if trials failed.
        KeyboardInterrupt: after Ctrl-C, when the trials that ran have stopped.
    """
    sweep = sweep_file.read(args.file)
    command.check(sweep)
    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs {args.jobs}: give at least 1")
    if args.slurm and args.where != "slurm":
        raise InputError("--slurm is of --where slurm alone")
    if args.seeds is not None:
        sweep = sweep.with_seeds(args.seeds)
    out = Path(args.out or Path("runs", "sweeps", *_study(sweep.path)))
    options = {"arguments": args.extra}
    if args.where == "wandb":
        _online(sweep, out, options, args)
        return
    trials = expand(sweep, args.trials, args.seed)
    with SweepFolder(out, sweep, options) as folder:
        failed = _run(sweep, trials, folder, _launcher(args, len(trials), folder), args)
    if failed:
        raise SystemExit(1)


def _run(
    sweep: Sweep,
    trials: list[Trial],
    folder: SweepFolder,
    launcher: Launcher,
    args: argparse.Namespace,
) -> list[Trial]:
    console = Console()
    with Board(trials, sweep.metric, console) as board:
        failed = Runner(sweep, folder, launcher, args.extra, board).run(trials)
    done = len(trials) - len(failed)
    told = f"{done} of {len(trials)} trials are finished: {folder.path / RESULTS}"
    if failed:
        told += f"; {len(failed)} failed, the same command tries them again:"
    console.print(told, soft_wrap=True, markup=False, highlight=False)
    for trial in failed:
        record = folder.record(trial)
        assert record is not None
        line = f"  {folder.of(trial) / 'log.txt'}: {record.error}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return failed


def _launcher(args: argparse.Namespace, trials: int, folder: SweepFolder) -> Launcher:
    if args.where == "slurm":
        return Slurm(args.jobs or trials, folder.path, dict(map(_option, args.slurm)))
    return Local(args.jobs or 1, folder.lock)


def _online(sweep: Sweep, out: Path, options: dict[str, Any], args: argparse.Namespace) -> None:
    if args.trials is not None:
        raise InputError("--trials is of random sweeps offline; for W&B write run_cap in the file")
    with SweepFolder(out, sweep, options) as folder:
        place = online.register(sweep, args.extra, folder.path)
        print(f"sweep {place}: it goes on with `wandb agent {place}`, on any machine")
        broken = online.agents(place, args.jobs or 1, {"WANDB_RUN_GROUP": sweep.name})
        finished, failed = online.collect(place, folder.path)
        print(f"{finished} trials are finished: {folder.path / RESULTS}; {failed} failed")
        if broken or failed:
            raise SystemExit(1)


def _option(told: str) -> tuple[str, Any]:
    key, equals, value = told.partition("=")
    if not (key and equals):
        raise InputError(f"--slurm {told}: give KEY=VALUE")
    return key, yaml.safe_load(value)


def _study(path: Path) -> tuple[str, ...]:
    """What a sweep is called: its path below a folder `experiments`, else folder and file."""
    parts = path.resolve().with_suffix("").parts
    if "experiments" not in parts[:-1]:
        return parts[-2:]
    return parts[len(parts) - parts[::-1].index("experiments") :]
