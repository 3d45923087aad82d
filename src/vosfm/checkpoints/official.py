"""Checkpoints of the original implementations, loaded into our models."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vosfm.checkpoints import aot
from vosfm.errors import InputError
from vosfm.segmenter import Segmenter

_SHOWN = 8  # key names listed in an error


def load_official(segmenter: Segmenter, source: str | Path | dict[str, Tensor]) -> None:
    """Load an original checkpoint, every key of it, into a model of ours.

    Args:
        segmenter: the model; filled in place, all or nothing.
        source: the file as its authors publish it (.pth, .pt or .safetensors), or its state dict.

    Raises:
        InputError: if the file cannot be read safely, is of another model, or its keys and ours
            do not match one to one; the message lists missing and left-over keys.
    """
    if isinstance(source, dict):
        name, state = "state dict", source
    else:
        name, state = str(source), read_weights(source)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if not aot.recognises(state):
        known = sorted(key for key in state)[:_SHOWN]
        raise InputError(f"{name}: not a checkpoint of AOT; its keys begin with {known}")
    translated, left_over = aot.translate(state)
    # Frozen normalisation, as released models have it, does not count batches.
    ours = {k: v for k, v in segmenter.state_dict().items() if not k.endswith("batches_tracked")}
    missing = sorted(set(ours) - set(translated))
    left_over += sorted(set(translated) - set(ours))
    if missing or left_over:
        raise InputError(
            f"{name}: does not fit the model: missing {_listed(missing)}; "
            f"left over {_listed(left_over)}"
        )
    for key, value in translated.items():
        if value.shape != ours[key].shape:
            raise InputError(
                f"{name}: {key} is {tuple(value.shape)}, the model's {tuple(ours[key].shape)}: "
                "a checkpoint of another variant"
            )
    segmenter.load_state_dict(translated, strict=False)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights, without running any code that it may hold.

    Args:
        path: of a .safetensors file, or of one written by `torch.save`. Weights under a
            `state_dict` or `model` key are found.

    Returns:
        Key -> tensor.

    Raises:
        InputError: if there is no such file, it is damaged, holds code, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds code or is no checkpoint; only plain tensors are loaded: "
            "export its state dict with torch.save or as .safetensors"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: damaged checkpoint ({reason}): fetch it again") from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path}: holds no state dict")
    return content


def _listed(keys: list[str]) -> str:
    if not keys:
        return "nothing"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
