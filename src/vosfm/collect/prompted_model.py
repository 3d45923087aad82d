"""Models that understand points, SAM 2 among them, as the data engine asks them."""

from __future__ import annotations

from torch import Tensor

from vosfm.collect.prompted_network import PromptedNetwork
from vosfm.errors import InputError
from vosfm.segmenter import Segmenter
from vosfm.types import Features, Points

_NOWHERE = -1024.0  # logit of every pixel of a mask that nobody proposed


class PromptedModel(PromptedNetwork):
    """A model whose decoder takes points, in a stream that knows nothing yet.

    Each query is an object of its own, and given in the first frame. Where the model sees nothing,
    a mask is empty. So are those that it has no answer for, with a quality and a stability of 0: a
    SAM 2 answers prompts of more than `multimask_points` points with one mask in place of three.

    Args:
        segmenter: where it shall run; it is put into evaluation mode.
        batch: how many queries are decoded at once, as the objects of a stream; the `chunk` of the
            model's parts bounds the memory further.

    Raises:
        InputError: if its decoder does not understand points, or tells one candidate only.
        ValueError: if the batch is empty.
    """

    def __init__(self, segmenter: Segmenter, batch: int = 64) -> None:
        if not segmenter.understands:
            raise InputError(
                "the model takes masks, its decoder does not understand points: give one that "
                "does, such as sam2_1_tiny, or a prompter, such as sam_vit_b"
            )
        if segmenter.decoder.candidates < 2:
            raise InputError(
                f"{type(segmenter.decoder).__name__} tells one mask of the same points, there is "
                "nothing to choose from: give a model of several candidates, such as sam2_1_tiny"
            )
        super().__init__(segmenter.device, segmenter.decoder.candidates, batch)
        self._segmenter = segmenter.eval()

    def encode(self, images: Tensor) -> Features:
        return self._segmenter.encode(images)

    def decode(self, features: Features, points: Tensor) -> tuple[Tensor, Tensor]:
        state = self._segmenter.start(features.geometry.source, exclusive=False)
        given = {
            number: Points(tuple((x, y) for x, y in query), (1,) * len(query))
            for number, query in enumerate(points.tolist(), 1)
        }
        proposal = self._segmenter.propose(state, features, given)
        assert proposal.scores is not None  # there are several candidates
        quality = proposal.scores[0]
        logits = proposal.logits[0].masked_fill((quality < 0)[..., None, None], _NOWHERE)
        return logits, quality.clamp(min=0)
