"""The command ``vosfm``: which module each subcommand lives in, and how errors are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from vosfm.errors import InputError

LIGHTNING = {
    "fit": "train a model on clips",
    "validate": "measure J&F on the validation videos",
    "test": "measure J&F on the test videos",
    "predict": "write the masks of many videos",
}
"""Commands that layered configs describe."""

COMMANDS = {
    "track": "track objects through one video",
    "evaluate": "score a folder of masks by the rules of a benchmark",
    "stats": "count what a dataset holds, and the challenges that its masks tell",
    "convert": "write annotations in the layout of another benchmark",
    "collect": "find and follow masks of all granularities in raw videos",
    "pack": "write a dataset as tar shards to stream from",
    "peers": "track a benchmark with other methods, which ask a SAM",
    "report": "tables and figures of sweeps, beside the published numbers",
    "sweep": "run the trials of an experiment, here, on SLURM or through W&B",
}
"""Commands that are modules of the same name, with `add_arguments` and `main`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: as on the command line, without the program's name; None for those.

    Returns:
        The exit code: 0, 2 for what the user can mend, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(arguments)
    except InputError as error:
        print(f"vosfm: error: {_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vosfm: interrupted", file=sys.stderr)
        return 130
    return 0


def _run(arguments: list[str]) -> None:
    # Nothing of a command is imported until it is chosen: help comes at once.
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_help())
    elif name in LIGHTNING:
        import_module("vosfm.lightning_cli").main(arguments)
    elif name in COMMANDS:
        module = import_module(f"vosfm.{name}")
        parser = argparse.ArgumentParser(prog=f"vosfm {name}", description=module.__doc__)
        module.add_arguments(parser)
        module.main(parser.parse_args(arguments[1:]))
    else:
        known = ", ".join((*LIGHTNING, *COMMANDS))
        raise InputError(f"no command {name!r}; there are: {known}")


def _help() -> str:
    commands = "\n".join(f"  {name:10}{line}" for name, line in (LIGHTNING | COMMANDS).items())
    return (
        "usage: vosfm COMMAND ...\n\n"
        "Video object segmentation: train, test and run models.\n\n"
        f"commands:\n{commands}\n\n"
        "vosfm COMMAND --help tells more of one; fit, validate, test and predict are described by\n"
        "configs: vosfm fit --config model/aot_t --config data/procedural --config trainer/default"
    )


def _line(error: InputError) -> str:
    """The message alone; a loader's worker sends its whole traceback along with it."""
    text = str(error)
    if "Original Traceback" in text:
        text = text.rpartition("InputError: ")[2]
    return " ".join(text.split())
