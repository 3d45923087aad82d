"""What decides what a corpus holds: the settings, the networks, the cutting and the seed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from vosfm.collect.cutting import Cutting
from vosfm.collect.grid import Grid
from vosfm.collect.oracle import Oracle
from vosfm.collect.prompting import PromptedSegmenter, Proposer
from vosfm.collect.settings import Settings
from vosfm.collect.tools import flow_named, prompted
from vosfm.errors import InputError
from vosfm.files import read_bytes
from vosfm.flow import Flow


@dataclass(frozen=True)
class GridBounds:
    """What a mask of the first frame must be, see `vosfm.collect.grid.Grid`.

    Attributes:
        quality: only masks that are believed to be better are kept.
        stability: masks that are less stable are not kept.
        overlap: of two masks whose boxes have a higher IoU, the worse is left out.
    """

    quality: float = 0.88
    stability: float = 0.95
    overlap: float = 0.7


@dataclass(frozen=True)
class Recipe:
    """All that two runs must agree in to write the same corpus; it can be sent anywhere.

    Attributes:
        settings: of the data engine.
        cutting: how videos become clips.
        seed: of all chance, at least 0.
        short_edge: frames whose shorter side is longer are shrunk to it, in pixels; None for none.
        segmenter: name of the promptable segmenter, see `vosfm.collect.tools.prompted`; None where
            the truth answers.
        checkpoint: its weights; None for those that its config names.
        proposer: "grid" asks the segmenter at every place of the first frame; "oracle" takes the
            true masks of datasets.
        bounds: of the masks that the grid keeps.
        flow: "dis" or "raft".
        flow_weights: of RAFT.
        device: where networks compute; not told in the corpus.

    Raises:
        InputError: if a value is out of its range, the grid has nobody to ask, or a file of
            weights cannot be read.
    """

    settings: Settings
    cutting: Cutting = field(default_factory=Cutting)
    seed: int = 0
    short_edge: int | None = None
    segmenter: str | None = None
    checkpoint: str | None = None
    proposer: Literal["grid", "oracle"] = "grid"
    bounds: GridBounds = field(default_factory=GridBounds)
    flow: str = "dis"
    flow_weights: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}: give at least 0")
        if self.short_edge is not None and self.short_edge < 16:
            raise InputError(f"short-edge is {self.short_edge}: give at least 16 pixels")
        if self.segmenter is None and self.proposer == "grid":
            raise InputError("the grid has no segmenter to ask; name one with --segmenter")

    @property
    def needs_truth(self) -> bool:
        """Whether clips without true masks are of no use."""
        return self.proposer == "oracle"

    def told(self) -> dict[str, Any]:
        """What a corpus says of it: plain values, weights by their sha256.

        Raises:
            InputError: if a file of weights cannot be read.
        """
        told = asdict(replace(self, checkpoint=None, flow_weights=None))
        del told["device"]
        return told | {
            "settings": self.settings.to_json(),
            "checkpoint": _digest(self.checkpoint),
            "flow_weights": _digest(self.flow_weights),
        }

    def seed_of(self, clip: str) -> int:
        """The seed of one clip, the same in whatever order clips are collected."""
        digest = hashlib.sha256(f"{self.seed} {clip}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Tools:
    """The networks of a recipe, built.

    Attributes:
        segmenter: None where the truth answers.
        flow: between neighbouring frames.
    """

    segmenter: PromptedSegmenter | None
    flow: Flow

    def of_clip(self, recipe: Recipe, oracle: Oracle | None) -> tuple[Proposer, PromptedSegmenter]:
        """Who proposes and who answers.

        Args:
            recipe: that these were built for.
            oracle: the truth of the clip, where the recipe needs it.
        """
        segmenter = oracle if self.segmenter is None else self.segmenter
        assert segmenter is not None
        if oracle is not None:
            return oracle, segmenter
        return Grid(
            segmenter,
            recipe.settings.points_per_side,
            recipe.bounds.quality,
            recipe.bounds.stability,
            recipe.settings.stability_offset,
            recipe.bounds.overlap,
        ), segmenter


@lru_cache(maxsize=1)
def tools_of(recipe: Recipe) -> Tools:
    """Build the networks of a recipe, once in every process.

    Raises:
        InputError: if there is no such network, or its weights are unusable.
    """
    segmenter = None
    if recipe.segmenter is not None:
        segmenter = prompted(
            recipe.segmenter, recipe.checkpoint, recipe.device, recipe.settings.chunk
        )
    return Tools(segmenter, flow_named(recipe.flow, recipe.flow_weights, recipe.device))


def _digest(path: str | None) -> str | None:
    if path is None:
        return None
    if not Path(path).is_file():
        read_bytes(path, "file of weights")
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
