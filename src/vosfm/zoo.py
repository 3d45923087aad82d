"""Models and prompters by name: the files under configs/model and configs/prompter."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from vosfm.errors import InputError
from vosfm.prompters import Prompter
from vosfm.search import Search
from vosfm.segmenter import Segmenter

_HERE = Path(__file__).parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parents[1] / "configs"
"""Where configs lie: inside an installed package, at the root of a checkout otherwise."""


def names() -> list[str]:
    """The models that `build` knows."""
    return _names("model")


def prompter_names() -> list[str]:
    """The prompters that `build_prompter` knows."""
    return _names("prompter")


def is_prompter(name: str) -> bool:
    """Whether a name means a prompter; False for a model.

    Args:
        name: of a file under configs/prompter or configs/model, without its suffix, or the path of
            such a file.

    Raises:
        InputError: if it means neither.
    """
    if name.endswith((".yaml", ".yml")):
        path, config = _read("prompter or model", name)
        kinds = {"prompter", "model"} & set(config if isinstance(config, dict) else ())
        if len(kinds) != 1:
            raise InputError(f"{path}: neither a prompter config nor a model config")
        return kinds == {"prompter"}
    if name not in names() + prompter_names():
        raise InputError(
            f"no prompter and no model {name!r}: there are the prompters "
            f"{', '.join(prompter_names())}, and the models {', '.join(names())}"
        )
    return name in prompter_names()


def build(name: str, **overrides: Any) -> Segmenter:
    """Build a model.

    Args:
        name: of a file under configs/model, without its suffix, or the path of such a file.
        overrides: a part of the segmenter (encoder, mask_encoder, memory, decoder) -> arguments
            to change in it, nested as in the file, or {class_path, init_args} to swap it.

    Returns:
        The model, with fresh weights unless its config loads some.

    Raises:
        InputError: if there is no such model, or an override does not fit it.

    Example:
        >>> import vosfm
        >>> model = vosfm.build("aot_t", encoder={"long_edge": 640})
        >>> model.encoder.long_edge
        640
    """
    path, config = _read("model", name)
    try:
        config = config["model"]["segmenter"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a model config, has no model.segmenter ({error})") from None
    segmenter: Segmenter = _instantiate(path, config, Segmenter, overrides)
    return segmenter


def build_search(name: str, **changes: Any) -> Search | None:
    """Build the search that a model is tracked with, for `Tracker(search=...)`.

    Args:
        name: as of `build`.
        changes: arguments to change in it, such as `pathways`.

    Returns:
        The search of the config; None if it names none, and `Greedy` is meant.

    Raises:
        InputError: if there is no such model, or a change does not fit its search.

    Example:
        >>> from vosfm import zoo
        >>> zoo.build_search("sam2_1_tiny_long", pathways=2).pathways
        2
    """
    path, config = _read("model", name)
    config = config["model"].get("search") if isinstance(config, dict) else None
    if config is None:
        if changes:
            raise InputError(f"{path}: names no search, of which {sorted(changes)[0]} could change")
        return None
    config = {"class_path": config["class_path"], "init_args": dict(config.get("init_args", {}))}
    search: Search = _instantiate(path, config, Search, changes)
    return search


def build_prompter(name: str, **overrides: Any) -> Prompter:
    """Build what makes masks of boxes and points, for `Tracker(prompter=...)`.

    Args:
        name: of a file under configs/prompter, without its suffix, or the path of such a file.
        overrides: arguments to change in it, such as `checkpoint`, nested as in the file.

    Returns:
        The prompter; with fresh weights, of no use, unless a checkpoint is named.

    Raises:
        InputError: if there is no such prompter, or an override does not fit it.
    """
    path, config = _read("prompter", name)
    try:
        config = config["prompter"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a prompter config, has no prompter ({error})") from None
    prompter: Prompter = _instantiate(path, config, Prompter, overrides)
    return prompter


def _names(kind: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def _read(kind: str, name: str) -> tuple[Path, Any]:
    """A config and where it lies."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / kind / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"no {kind} {name!r}: there are {', '.join(_names(kind))}")
    try:
        return path, yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not a {kind} config ({error})") from None


def _instantiate(path: Path, config: Any, kind: type, overrides: dict[str, Any]) -> Any:
    config = deepcopy(config)
    for part, change in overrides.items():
        config["init_args"][part] = _merge(config["init_args"].get(part, {}), change)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=kind)
    try:
        parsed = parser.parse_object({"object": config})
    except Exception as error:  # jsonargparse raises several kinds, all about the config
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {reason[:400]}") from None
    return parser.instantiate(parsed).object


def _merge(config: Any, change: Any) -> Any:
    """Change arguments, deep down; a class_path in the change swaps the whole part."""
    if not isinstance(change, dict) or "class_path" in change or not isinstance(config, dict):
        return change
    if "class_path" in config:
        arguments = config.get("init_args", {})
        return {**config, "init_args": _merge(arguments, change.get("init_args", change))}
    return {**config, **{key: _merge(config.get(key, {}), value) for key, value in change.items()}}
