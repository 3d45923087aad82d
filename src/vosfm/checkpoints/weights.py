"""Weights as files hold them, and into the model that they fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vosfm.errors import InputError

_SHOWN = 6  # key names listed in an error


def read_checkpoint(path: str | Path) -> Any:
    """Read a checkpoint, without running any code that it may hold.

    Args:
        path: of a .safetensors file, or of one written by `torch.save`.

    Returns:
        What it holds, weights among it.

    Raises:
        InputError: if there is no such file, it is damaged, or holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds code or is no checkpoint; only plain tensors are loaded: "
            "export its state dict with torch.save or as .safetensors"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: damaged checkpoint ({reason}): fetch it again") from None


def weights_in(content: Any, origin: str | Path) -> dict[str, Tensor]:
    """Find the weights in a checkpoint.

    Args:
        content: as `read_checkpoint` gives it; weights under a `state_dict` or `model` key are
            found.
        origin: of it, for messages.

    Returns:
        Key -> tensor.

    Raises:
        InputError: if it holds no weights.
    """
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{origin}: holds no state dict")
    return content


def fill(model: nn.Module, weights: dict[str, Tensor], origin: str | Path) -> None:
    """Put weights into a model, every one of them, all or nothing.

    Args:
        model: a segmenter, or a part of one; filled in place.
        weights: by our key names. How many batches a normalisation has counted may be missing.
        origin: of the weights, for messages.

    Raises:
        InputError: if keys are missing or left over, or a shape differs.
    """
    ours = model.state_dict()
    # Frozen normalisation, as released models have it, does not count batches.
    missing = [k for k in ours if k not in weights and not k.endswith("batches_tracked")]
    left_over = [k for k in weights if k not in ours]
    if missing or left_over:
        raise InputError(
            f"{origin}: a checkpoint of another model: missing {_listed(missing)}; left over "
            f"{_listed(left_over)}; give the model that it was trained with"
        )
    for key, value in weights.items():
        if value.shape != ours[key].shape:
            raise InputError(
                f"{origin}: a checkpoint of another model: {key} is {tuple(value.shape)}, the "
                f"model's {tuple(ours[key].shape)}; give the model that it was trained with"
            )
    model.load_state_dict(weights, strict=False)


def _listed(keys: list[str]) -> str:
    if not keys:
        return "nothing"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(sorted(keys)[:_SHOWN]) + more
