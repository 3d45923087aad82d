"""Video object segmentation, composed: an encoder, a memory and a decoder that advance a state."""

from vosfm import checkpoints
from vosfm.errors import InputError
from vosfm.segmenter import Segmenter
from vosfm.tracker import Result, Tracker
from vosfm.types import Box, Clip, Points, State
from vosfm.zoo import build

__all__ = [
    "Box",
    "Clip",
    "InputError",
    "Points",
    "Result",
    "Segmenter",
    "State",
    "Tracker",
    "build",
    "checkpoints",
]
