"""A W&B sweep file, read and checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from vosfm.errors import InputError
from vosfm.files import read_bytes
from vosfm.report.results import SEED
from vosfm.sweeping.parameters import Parameter, parameter

KEYS: Mapping[str, type | tuple[type, ...]] = {
    "apiVersion": str,
    "command": list,
    "controller": dict,
    "description": str,
    "early_terminate": dict,
    "entity": str,
    "kind": str,
    "method": str,
    "metric": dict,
    "name": str,
    "parameters": dict,
    "program": str,
    "project": str,
    "run_cap": int,
}
"""Keys of a sweep file that W&B takes of programs that it does not itself package.

Source: the W&B documentation, "Sweep configuration options".
"""

_METRIC = frozenset({"name", "goal", "target", "impute", "impute_while_running"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for.

    Attributes:
        path: of the file.
        text: of the file, as it was read.
        config: all of it, as W&B takes it.
        program: what is run.
        command: how it is called, with macros; None as W&B calls programs by default.
        method: grid, random or bayes.
        metric: name of what the trials are compared by; None if the file names none.
        maximize: whether more of it is better.
        parameters: by their dotted names, in the order of the file.
    """

    path: Path
    text: bytes
    config: Mapping[str, Any]
    program: str
    command: tuple[str, ...] | None
    method: str
    metric: str | None
    maximize: bool
    parameters: Mapping[str, Parameter]

    @property
    def name(self) -> str:
        """By which its runs are grouped: what the file says, or the names of file and folder."""
        told: str = self.config.get("name") or f"{self.path.resolve().parent.name}/{self.path.stem}"
        return told

    def with_seeds(self, seeds: int) -> Sweep:
        """The same sweep with seeds from 0 to `seeds` - 1.

        Raises:
            InputError: if there is not at least one.
        """
        if seeds < 1:
            raise InputError(f"--seeds {seeds}: give at least 1")
        told = {"values": list(range(seeds))}
        parameters = {**self.parameters, SEED: Parameter("categorical", told)}
        config = {**self.config, "parameters": {**self.config["parameters"], SEED: told}}
        return replace(self, parameters=parameters, config=config)


def read(path: str | Path) -> Sweep:
    """Read a sweep file.

    Args:
        path: of a YAML file.

    Raises:
        InputError: if W&B would not take it, or something cannot be what was meant; it names the
            key. Nothing has run then.
    """
    path = Path(path)
    text = read_bytes(path, "sweep file")
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds no keys; see the W&B documentation of sweep files")
    _check_keys(path, config)
    program, metric = config["program"], config.get("metric", {})
    parameters = dict(_parameters(path, "parameters", config["parameters"]))
    for key, one in parameters.items():
        if program == "vosfm" and one.listed() and _holds_none(one.listed()):
            raise InputError(
                f"{path}: parameters: {key}: null is handed over as the word None, which vosfm "
                'does not take for null; write "null", in quotes'
            )
    command = config.get("command")
    return Sweep(
        path,
        text,
        config,
        program,
        None if command is None else tuple(str(word) for word in command),
        config["method"],
        metric.get("name"),
        metric.get("goal", "minimize") == "maximize",
        parameters,
    )


def _check_keys(path: Path, config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(KEYS)}"
            raise InputError(f"{path}: no key {key!r} in a sweep file; {hint}")
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise InputError(f"{path}: {key} is {value!r}; give a {_kind(KEYS[key])}")
    for key in ("program", "method", "parameters"):
        if not config.get(key):
            raise InputError(f"{path}: has no {key}; a sweep needs program, method and parameters")
    if config["method"] not in ("grid", "random", "bayes"):
        raise InputError(f"{path}: method is {config['method']!r}; give grid, random or bayes")
    if config.get("run_cap", 1) < 1:
        raise InputError(f"{path}: run_cap is {config['run_cap']}; give at least 1")
    if not all(isinstance(word, str | int | float) for word in config.get("command", [])):
        raise InputError(f"{path}: command: give a list of words")
    metric = config.get("metric")
    if metric is None:
        if config["method"] == "bayes":
            raise InputError(f"{path}: has no metric; bayes needs its name and goal")
        return
    if strange := sorted(str(key) for key in set(metric) - _METRIC):
        raise InputError(f"{path}: metric: no key {strange[0]!r}; give name and goal")
    if not isinstance(metric.get("name"), str):
        raise InputError(f"{path}: metric: name is {metric.get('name')!r}; give that of a metric")
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise InputError(f"{path}: metric: goal is {metric['goal']!r}; give minimize or maximize")


def _parameters(path: Path, at: str, told: Any) -> Iterator[tuple[str, Parameter]]:
    """Parameters by their dotted names, those within others too."""
    for key, value in told.items():
        where = f"{path}: {at}: {key}"
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise InputError(f"{where}: give a name of letters, digits, and any of _ . -")
        if isinstance(value, Mapping) and "parameters" in value:
            inner = value["parameters"]
            if len(value) > 1 or not isinstance(inner, Mapping) or not inner:
                raise InputError(f"{where}: parameters within it stand alone, and are at least one")
            for name, one in _parameters(path, f"{at}: {key}: parameters", inner):
                yield f"{key}.{name}", one
        else:
            yield key, parameter(where, value)


def _holds_none(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_none, value.values()))
    return value is None or (isinstance(value, list) and any(map(_holds_none, value)))


def _kind(kind: type | tuple[type, ...]) -> str:
    names = {str: "word", list: "list", dict: "mapping", int: "whole number"}
    assert isinstance(kind, type)
    return names[kind]
