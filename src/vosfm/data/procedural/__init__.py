"""Rendered multi-granularity scenes: endless, free, with true masks, deterministic by seed."""

from vosfm.data.procedural.datasets import ProceduralClips, ProceduralVideo, ProceduralVideos
from vosfm.data.procedural.difficulty import Absence, Difficulty

__all__ = ["Absence", "Difficulty", "ProceduralClips", "ProceduralVideo", "ProceduralVideos"]
