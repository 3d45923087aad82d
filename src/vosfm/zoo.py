"""Models by name: the files under configs/model."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from vosfm.errors import InputError
from vosfm.segmenter import Segmenter

_HERE = Path(__file__).parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parents[1] / "configs"
"""Where configs lie: inside an installed package, at the root of a checkout otherwise."""


def names() -> list[str]:
    """The models that `build` knows."""
    return sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))


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
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / "model" / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"no model {name!r}: there are {', '.join(names())}")
    try:
        config = yaml.safe_load(path.read_text())["model"]["segmenter"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a model config, has no model.segmenter ({error})") from None
    config = deepcopy(config)
    for part, change in overrides.items():
        config["init_args"][part] = _merge(config["init_args"].get(part, {}), change)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--segmenter", type=Segmenter)
    try:
        parsed = parser.parse_object({"segmenter": config})
    except Exception as error:  # jsonargparse raises several kinds, all about the config
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {reason[:400]}") from None
    segmenter: Segmenter = parser.instantiate(parsed).segmenter
    return segmenter


def _merge(config: Any, change: Any) -> Any:
    """Change arguments, deep down; a class_path in the change swaps the whole part."""
    if not isinstance(change, dict) or "class_path" in change or not isinstance(config, dict):
        return change
    if "class_path" in config:
        arguments = config.get("init_args", {})
        return {**config, "init_args": _merge(arguments, change.get("init_args", change))}
    return {**config, **{key: _merge(config.get(key, {}), value) for key, value in change.items()}}
