"""What every search promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from vosfm.prompts import Given
from vosfm.segmenter import Segmenter
from vosfm.types import Features, Objects, State


@dataclass(frozen=True)
class Beam:
    """The pathways that are alive.

    Attributes:
        state: of the stream, all pathways in it.
    """

    state: State


@dataclass(frozen=True)
class Final:
    """Masks of a frame that no later frame can change.

    Attributes:
        time: index of the frame.
        objects: whose masks they are, batch 1.
        masks: (O, H, W) bool at the source size.
        scores: (O,) confidence in [0, 1]: mean probability inside the mask, 0 where it is empty.
    """

    time: int
    objects: Objects
    masks: Tensor
    scores: Tensor


class Search(ABC):
    """Decides which candidates live on."""

    @abstractmethod
    def start(self, state: State) -> Beam:
        """A beam of one pathway."""

    @abstractmethod
    def step(
        self,
        segmenter: Segmenter,
        beam: Beam,
        features: Features,
        prompts: Mapping[int, Given] | None = None,
    ) -> tuple[Beam, list[Final]]:
        """Advance by one frame.

        Args:
            segmenter: the model.
            beam: before the frame.
            features: of the frame.
            prompts: what is given with the frame, by object id.

        Returns:
            The beam after the frame, and the frames that became final, oldest first.
        """

    @abstractmethod
    def flush(self, beam: Beam) -> list[Final]:
        """The frames that are still open when the video ends, oldest first."""
