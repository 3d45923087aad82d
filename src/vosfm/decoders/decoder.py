"""What every decoder promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from vosfm.types import Box, Decoded, Features, Objects, Points, Prompt, Readout


class Decoder(nn.Module, ABC):
    """Turns a readout into mask logits.

    Attributes:
        embedding: channels of the encoder's embedding that it takes.
        readouts: channels of each map of the readout that it takes.
        skips: stride -> channels, the levels of the encoder's pyramid that it takes.
        stride: of the logits.
        identities: how many objects of a row it tells apart; None if a row is one object.
        updates: whether it moves a hidden state on, `Decoded.carry["hidden"]`.
        candidates: K, how many masks it makes of each object; with scores if more than one.
        presence: whether it says if an object is in the frame at all, `Decoded.presence`.
        prompted: whether it understands boxes and points, and masks as a prompt; it then has
            `prompt`.
        depths: how many maps of the readout it can be given, ascending; None for all of them alone.
    """

    embedding: int
    readouts: tuple[int, ...]
    skips: Mapping[int, int]
    stride: int
    identities: int | None = None
    updates: bool = False
    candidates: int = 1
    presence: bool = False
    prompted: bool = False
    depths: tuple[int, ...] | None = None

    @abstractmethod
    def forward(self, features: Features, readout: Readout, objects: Objects) -> Decoded:
        """Decode.

        Args:
            features: of the frame.
            readout: of the frame.
            objects: the objects spoken of.

        Returns:
            Logits (B, O, K, h, w), and what else the decoder knows.
        """

    def prompt(
        self,
        features: Features,
        readout: Readout,
        objects: Objects,
        prompt: Prompt,
        drawn: Mapping[int, Box | Points],
        tracked: Decoded | None,
        fresh: Tensor,
    ) -> Decoded:
        """Decode a frame that something is given with.

        Args:
            features: of the frame.
            readout: of the frame; of rows that know nothing yet, what the memory makes of nothing.
            objects: the objects spoken of.
            prompt: the masks that are given.
            drawn: column -> box or points, of a single stream.
            tracked: what was decoded of the same frame without what is given; None if all objects
                are new.
            fresh: (B, O) bool on the CPU, objects that were never seen before.

        Returns:
            As `forward`; of objects that nothing is given of, what `tracked` says. Where a mask is
            given, the first candidate is that mask, with a score of 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not understand prompts")
