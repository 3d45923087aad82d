"""One pathway: what looks best now is remembered."""

from __future__ import annotations

from collections.abc import Mapping

from vosfm.prompts import Given
from vosfm.search.search import Beam, Final, Search, settle
from vosfm.segmenter import Segmenter
from vosfm.types import Features, State


class Greedy(Search):
    """Remembers every frame as it was proposed. Every frame is final at once."""

    def start(self, state: State) -> Beam:
        return Beam(state)

    def step(
        self,
        segmenter: Segmenter,
        beam: Beam,
        features: Features,
        prompts: Mapping[int, Given] | None = None,
    ) -> tuple[Beam, list[Final]]:
        proposal = segmenter.propose(beam.state, features, prompts)
        final = settle(beam.state.time, proposal, segmenter.aggregate(proposal))
        # A frame with given masks was encoded when it was proposed.
        known = proposal.encoding is not None or segmenter.mask_encoder.soft
        remembered = None if known else final.masks[None]
        state = segmenter.commit(beam.state, features, proposal, remembered)
        return Beam(state), [final]

    def flush(self, segmenter: Segmenter, beam: Beam) -> tuple[Beam, list[Final]]:
        return beam, []
