"""One pathway: what looks best now is remembered."""

from __future__ import annotations

from collections.abc import Mapping

from vosfm.ops.masks import harden
from vosfm.prompts import Given
from vosfm.search.search import Beam, Final, Search
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
        probabilities = segmenter.aggregate(proposal)
        masks = harden(probabilities, proposal.objects)
        # A frame with given masks was encoded when it was proposed.
        known = proposal.encoding is not None or segmenter.mask_encoder.soft
        remembered = None if known else masks
        state = segmenter.commit(beam.state, features, proposal, remembered)
        area = masks.flatten(2).sum(2)[0]
        scores = (probabilities * masks).flatten(2).sum(2)[0] / area.clamp(min=1)
        final = Final(beam.state.time, proposal.objects, masks[0], scores)
        return Beam(state), [final]

    def flush(self, beam: Beam) -> list[Final]:
        return []
