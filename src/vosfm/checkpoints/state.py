"""A stream's state as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.types import Contents, Guidance, Objects, State

_FORMAT = "vosfm.state/1"


def save_state(state: State, path: str | Path, beside: Mapping[str, Tensor] | None = None) -> None:
    """Write a state; the file appears whole or not at all.

    Args:
        state: of a stream, on any device.
        path: of the file.
        beside: what a search knows of the stream.
    """
    objects = state.objects
    tensors = {
        f"objects.{name}": getattr(objects, name) for name in ("ids", "alive", "slot", "born")
    }
    for name, contents in state.banks.items():
        tensors[f"banks.{name}.time"] = contents.time
        if contents.valid is not None:
            tensors[f"banks.{name}.valid"] = contents.valid
        if contents.depth is not None:
            tensors[f"banks.{name}.depth"] = contents.depth
        for kind, named in (("rows", contents.rows), ("shared", contents.shared)):
            for leaf, value in named.items():
                tensors[f"banks.{name}.{kind}.{leaf}"] = value
    tensors |= {f"beside.{name}": value for name, value in (beside or {}).items()}
    guidance = state.guidance
    header = {
        "size": state.size,
        "time": state.time,
        "seed": state.seed,
        "exclusive": objects.exclusive,
        "identities": objects.identities,
        "banks": sorted(state.banks),
        "guidance": None if guidance is None else asdict(guidance),
        "depth": state.depth,
    }
    # Banks may share memory after a first frame, which the format does not allow.
    apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with whole(path) as partial:
        save_file(apart, partial, {"format": _FORMAT, "state": json.dumps(header)})


def load_state(path: str | Path, device: torch.device | str = "cpu") -> State:
    """Read a state that `save_state` wrote.

    Args:
        path: of the file.
        device: for the banks; bookkeeping stays on the CPU.

    Returns:
        The state, bit by bit as it was saved.

    Raises:
        InputError: if there is no such file or it holds something else.
    """
    return load_stream(path, device)[0]


def load_stream(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[State, dict[str, Tensor]]:
    """Read a state, and what a search knew of the stream; as `load_state`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file: give one that Tracker.save wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"{path}: not a stream state: give one that Tracker.save wrote")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error}): save the stream again") from None
    header = json.loads(metadata["state"])
    objects = Objects(
        tensors["objects.ids"],
        tensors["objects.alive"],
        tensors["objects.slot"],
        tensors["objects.born"],
        header["exclusive"],
        header["identities"],
    )
    banks = {name: _contents(tensors, name, device) for name in header["banks"]}
    height, width = header["size"]
    state = State(
        (height, width),
        header["time"],
        objects,
        banks,
        header["seed"],
        _guidance(header),
        header.get("depth"),
    )
    beside = {
        name.removeprefix("beside."): value.to(device)
        for name, value in tensors.items()
        if name.startswith("beside.")
    }
    return state, beside


def _guidance(header: dict[str, Any]) -> Guidance | None:
    known = header.get("guidance")
    if known is None:
        return None
    modulation = None if known["modulation"] is None else tuple(known["modulation"])
    return Guidance(known["iou_threshold"], modulation, known["official"])


def _contents(tensors: dict[str, Tensor], name: str, device: torch.device | str) -> Contents:
    def leaves(kind: str) -> dict[str, Tensor]:
        prefix = f"banks.{name}.{kind}."
        return {
            key.removeprefix(prefix): value.to(device)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }

    return Contents(
        leaves("rows"),
        leaves("shared"),
        tensors[f"banks.{name}.time"],
        tensors.get(f"banks.{name}.valid"),
        tensors.get(f"banks.{name}.depth"),
    )
