"""What every search promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from vosfm.errors import InputError
from vosfm.ops.masks import harden
from vosfm.prompts import Given
from vosfm.segmenter import Segmenter
from vosfm.types import Features, Objects, Proposal, State


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
    """Decides which candidates live on.

    Attributes:
        pathways: how many memories of its own an object may come to have.
    """

    pathways: int = 1

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
    def flush(self, segmenter: Segmenter, beam: Beam) -> tuple[Beam, list[Final]]:
        """End a video.

        Args:
            segmenter: the model.
            beam: after the last frame.

        Returns:
            The beam without open frames, and the frames that were open, oldest first.
        """

    def remove(
        self, segmenter: Segmenter, beam: Beam, object_ids: list[int] | tuple[int, ...]
    ) -> Beam:
        """Forget objects, see `Segmenter.remove`."""
        return replace(beam, state=segmenter.remove(beam.state, object_ids))

    def reported(self, beam: Beam) -> int:
        """Index of the first frame that is not final."""
        return beam.state.time

    def pack(self, beam: Beam) -> dict[str, Tensor]:
        """What must be saved of a beam beside its state."""
        return {}

    def unpack(self, state: State, packed: Mapping[str, Tensor]) -> Beam:
        """The beam that was saved.

        Args:
            state: as it was saved.
            packed: what `pack` made.

        Raises:
            InputError: if it was saved by another search.
        """
        if packed:
            raise InputError(
                f"the stream was tracked by a search that keeps {sorted(packed)[0]!r}, not by "
                f"{type(self).__name__}: go on with the search that saved it"
            )
        return self.start(state)


def settle(time: int, proposal: Proposal, probabilities: Tensor) -> Final:
    """Make final masks of a proposal.

    Args:
        time: index of the frame.
        proposal: of it, batch 1.
        probabilities: (1, O, H, W), what the segmenter makes of it.
    """
    masks = harden(probabilities, proposal.objects)
    area = masks.flatten(2).sum(2)[0]
    scores = (probabilities * masks).flatten(2).sum(2)[0] / area.clamp(min=1)
    return Final(time, proposal.objects, masks[0], scores)
