"""Video object segmentation, composed: an encoder, a memory and a decoder that advance a state."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vosfm import checkpoints, metrics
    from vosfm.augmentation import augment
    from vosfm.errors import InputError
    from vosfm.fusion import fuse
    from vosfm.oracle import inform
    from vosfm.pace import Pace
    from vosfm.segmenter import Segmenter
    from vosfm.tracker import Result, Tracker
    from vosfm.types import Box, Clip, Points, State
    from vosfm.zoo import build

__all__ = [
    "Box",
    "Clip",
    "InputError",
    "Pace",
    "Points",
    "Result",
    "Segmenter",
    "State",
    "Tracker",
    "augment",
    "build",
    "checkpoints",
    "fuse",
    "inform",
    "metrics",
]

_HOMES = {
    "Box": "types",
    "Clip": "types",
    "InputError": "errors",
    "Pace": "pace",
    "Points": "types",
    "Result": "tracker",
    "Segmenter": "segmenter",
    "State": "types",
    "Tracker": "tracker",
    "augment": "augmentation",
    "build": "zoo",
    "fuse": "fusion",
    "inform": "oracle",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `vosfm --help` needs none of them."""
    if name in ("checkpoints", "metrics"):
        return import_module(f"vosfm.{name}")
    if name in _HOMES:
        return getattr(import_module(f"vosfm.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vosfm' has no attribute {name!r}")
