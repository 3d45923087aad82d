"""Weights and states on disk: official key names to ours, and streams to resume."""

from vosfm.checkpoints.backbones import load_backbone
from vosfm.checkpoints.loading import load
from vosfm.checkpoints.official import load_official
from vosfm.checkpoints.state import load_state, save_state

__all__ = ["load", "load_backbone", "load_official", "load_state", "save_state"]
