"""SAM, and any other prompter with an encoder of its own, as the data engine asks it."""

from __future__ import annotations

from torch import Tensor

from vosfm.collect.prompted_network import PromptedNetwork
from vosfm.errors import InputError
from vosfm.prompters import Prompter
from vosfm.types import Features


class PromptedSam(PromptedNetwork):
    """A prompter with an encoder of its own; it works where its weights are.

    The released data engine measures the stability of SAM's masks as they are decoded, at a
    quarter of the prepared size, what was padded included; so does this one.

    Args:
        prompter: such as `vosfm.prompters.SamPrompter`; it is put into evaluation mode.
        batch: how many queries are decoded at once. SAM at its 1024 pixels takes some 40 MB for
            each.

    Raises:
        InputError: if the prompter has no encoder, or one candidate only.
        ValueError: if the batch is empty.
    """

    def __init__(self, prompter: Prompter, batch: int = 64) -> None:
        if prompter.encoder is None:
            raise InputError(
                "the prompter has no encoder, and there is no model whose features it could read: "
                "give it an encoder of its own, as configs/prompter do"
            )
        if prompter.candidates < 2:
            raise InputError(
                f"{type(prompter).__name__} tells one mask of the same points, there is nothing "
                "to choose from: give a prompter of several candidates, such as SamPrompter"
            )
        super().__init__(prompter.encoder.mean.device, prompter.candidates, batch)
        self._encoder = prompter.encoder
        self._prompter = prompter.eval()

    def encode(self, images: Tensor) -> Features:
        features: Features = self._encoder(images)
        return features

    def decode(self, features: Features, points: Tensor) -> tuple[Tensor, Tensor]:
        return self._prompter.every(features, points)
