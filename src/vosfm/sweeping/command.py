"""The command of a trial: the macros of a sweep file, expanded as W&B's agents do."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vosfm.errors import InputError
from vosfm.sweeping.sweep_file import Sweep
from vosfm.sweeping.trials import Trial

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
"""How W&B calls a program if the file does not say."""

_MACRO = re.compile(r"\$\{(.*)\}", re.DOTALL)
_ENVIRONMENT = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_OF_ARGUMENTS = frozenset(
    {
        "args",
        "args_no_equals",
        "args_no_hyphens",
        "args_no_boolean_flags",
        "args_json",
        "args_json_file",
        "args_append_hydra",
        "args_override_hydra",
    }
)
_MACROS = frozenset({"env", "interpreter", "program"}) | _OF_ARGUMENTS

ARGUMENTS = "arguments.json"
"""The file in a trial's folder that ``${args_json_file}`` stands for."""


def check(sweep: Sweep) -> None:
    """Check that every macro of a command is known, and that it hands the parameters over.

    Raises:
        InputError: if not.
    """
    words = sweep.command or DEFAULT
    if sweep.command is None and sweep.program == "vosfm":
        raise InputError(
            f"{sweep.path}: has no command, and W&B would start vosfm as a Python file: give "
            'command: ["${program}", fit, --config, ..., "${args}"]'
        )
    macros = {match[1] for word in words if (match := _MACRO.fullmatch(word))}
    for macro in sorted(macros):
        if macro not in _MACROS and not macro.startswith("envvar:"):
            known = ", ".join(sorted(_MACROS))
            raise InputError(f"{sweep.path}: command: no macro {macro!r}; there are: {known}")
    if not macros & _OF_ARGUMENTS:
        raise InputError(f"{sweep.path}: command: the parameters go nowhere: add ${{args}}")
    for word in words:
        for name in _ENVIRONMENT.findall(word):
            if name not in os.environ:
                raise InputError(f"{sweep.path}: command: {name} is not set in the environment")


def words(sweep: Sweep, trial: Trial, extra: Sequence[str], folder: Path) -> list[str]:
    """The command of a trial as a user would give it.

    Args:
        sweep: checked by `check`.
        trial: of it.
        extra: arguments behind all others.
        folder: of the trial.

    Source: the W&B documentation, "Sweep configuration options", command macros.
    """
    given = _grouped(sweep, trial)
    told = {
        "env": ["/usr/bin/env"],
        "interpreter": ["python"],
        "program": [sweep.program],
        "args": [f"--{name}={value}" for name, value in given.items()],
        "args_no_equals": [w for name, value in given.items() for w in (f"--{name}", str(value))],
        "args_no_hyphens": [f"{name}={value}" for name, value in given.items()],
        "args_no_boolean_flags": [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in given.items()
            if value is not False
        ],
        "args_json": [json.dumps(given)],
        "args_json_file": [str(folder / ARGUMENTS)],
        "args_append_hydra": [f"+{name}={value}" for name, value in given.items()],
        "args_override_hydra": [f"++{name}={value}" for name, value in given.items()],
    }
    expanded: list[str] = []
    for word in sweep.command or DEFAULT:
        word = _ENVIRONMENT.sub(lambda match: os.environ[match[1]], word)
        macro = _MACRO.fullmatch(word)
        expanded += told[macro[1]] if macro else [word]
    return [*expanded, *extra]


def executable(command: Sequence[str]) -> list[str]:
    """The words of a command with our own program as this interpreter knows it."""
    if command[0] == "vosfm":
        return [sys.executable, "-m", "vosfm", *command[1:]]
    return list(command)


def search_path() -> str:
    """The PATH of a trial: its python, and our program, are this one's, as in an active venv."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, os.environ.get("PATH", os.defpath)])


def arguments_file(sweep: Sweep, trial: Trial) -> str | None:
    """What `ARGUMENTS` holds; None if the command does not ask for it."""
    if "${args_json_file}" not in (sweep.command or ()):
        return None
    return json.dumps(_grouped(sweep, trial))


def _grouped(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """Parameters as W&B hands them over: those within another one as one mapping."""
    told = sweep.config["parameters"]
    return {name: _of(name, one, trial.parameters) for name, one in told.items()}


def _of(name: str, told: Any, parameters: Mapping[str, Any]) -> Any:
    if "parameters" not in told:
        return parameters[name]
    return {key: _of(f"{name}.{key}", one, parameters) for key, one in told["parameters"].items()}
