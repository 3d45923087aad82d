"""What a folder of results was made from, so that nothing else goes on in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vosfm.data.video import Video
from vosfm.errors import InputError
from vosfm.files import whole
from vosfm.prompts import Given
from vosfm.tracker import Prompts
from vosfm.types import Box, Points

RECORD = "track.json"
"""What a folder of results was made from, and which passes over the video are finished."""


def finished_passes(out: Path, stamp: Mapping[str, object], resume: bool) -> tuple[str, ...]:
    """The passes over the video that earlier runs finished.

    Args:
        out: folder of the results.
        stamp: what this run is made from.
        resume: whether the folder may hold results.

    Raises:
        InputError: if there is no place for the results here.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder for the results")
    if not (out.is_dir() and any(out.iterdir())):
        return ()
    if not resume:
        raise InputError(f"{out}: not empty; give another folder, or go on in it with --resume")
    try:
        record = json.loads((out / RECORD).read_text())
    except (OSError, ValueError):
        raise InputError(f"{out}: holds no results to go on with; give another folder") from None
    for key, value in stamp.items():
        if not isinstance(record, dict) or record.get(key) != value:
            raise InputError(
                f"{out}: was begun with another {key}; give the same one, or another folder"
            )
    return tuple(record["finished"])


def write_record(out: Path, stamp: Mapping[str, object], finished: Sequence[str]) -> None:
    """Write what a folder is made from, and which passes over the video are finished."""
    out.mkdir(parents=True, exist_ok=True)
    with whole(out / RECORD) as partial:
        partial.write_text(json.dumps({**stamp, "finished": list(finished)}, indent=1) + "\n")


def stamp_of(
    model: nn.Module, video: Video, prompts: Prompts, prompter: nn.Module | None
) -> dict[str, object]:
    """What two runs must agree in, beside their options, to write the same masks."""
    masks = hashlib.sha256()
    for frame, given in sorted(prompts.items()):
        for object_id, one in sorted(given.items()):
            masks.update(f"{frame} {object_id}".encode())
            masks.update(_bytes(one))
    return {
        "video": [video.name, len(video), *video.size],
        "model": _digest(model),
        "mask": masks.hexdigest(),
        "prompter": None if prompter is None else _digest(prompter),
    }


def _digest(model: nn.Module) -> str:
    """Of its weights and settings."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for name, module in model.named_modules():
        for key, setting in sorted(vars(module).items()):
            if key != "training" and isinstance(setting, str | int | float):
                digest.update(f"{name}.{key}={setting}".encode())
    return digest.hexdigest()


def _bytes(given: Given) -> bytes:
    if isinstance(given, Box | Points):
        return repr(given).encode()
    return np.packbits(np.asarray(given, dtype=bool)).tobytes()
