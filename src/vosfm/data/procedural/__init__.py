"""Rendered multi-granularity scenes: endless, free, with true masks, deterministic by seed."""

from vosfm.data.procedural.datasets import ProceduralClips, ProceduralVideo, ProceduralVideos
from vosfm.data.procedural.difficulty import Difficulty

__all__ = ["Difficulty", "ProceduralClips", "ProceduralVideo", "ProceduralVideos"]
