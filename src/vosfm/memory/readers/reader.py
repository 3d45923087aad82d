"""What every reader promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from vosfm.types import Contents, Encoding, Entry, Features, Readout, When


class Reader(nn.Module, ABC):
    """Looks at a frame through what was kept, and decides what of the frame is worth keeping.

    Attributes:
        reads: names of the banks it looks at.
        widths: channels of each map of its readout.
        embedding: channels of the encoder's embedding that it takes.
        encoding: channels of the encoded masks that it takes.
        rereads: whether a frame whose masks are given is read as its own memory (True), or not at
            all (False).
        modulates: whether it can look at entries with different weights, `Guidance.modulation`.
    """

    reads: tuple[str, ...]
    widths: tuple[int, ...]
    embedding: int
    encoding: int
    rereads: bool = True
    modulates: bool = False

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths it can read at, ascending; the last is that of all its layers.

        At depth n its readout has n maps, and its entry the tensors of n layers. It must not look
        at a layer of kept entries whose `Contents.depth` is not above that layer's index. Readers
        with several depths override this.
        """
        return (len(self.widths),)

    @abstractmethod
    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        """Look at a frame.

        Args:
            features: of the frame.
            views: bank name -> contents, all of R rows.
            rows: R.
            when: the circumstances; the frame's time and what a search asks for.
            encoding: of masks that were given with this frame; it is then its own memory.

        Returns:
            Maps for the decoder, (B, R, C, h, w), and what `entry` will need.
        """

    @abstractmethod
    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, Tensor],
    ) -> Entry:
        """What is worth keeping of a frame, now that its masks are settled.

        Args:
            features: of the frame.
            readout: of the same frame; None if it was not read.
            encoding: of its settled masks; None if no bank asked for it.
            carry: what the decoder says of it.

        Returns:
            The entry, without rows if there is no encoding.
        """

    def fork(self, readout: Readout, rows: list[int]) -> Readout:
        """The readout of these rows, in this order, some of them perhaps twice.

        What a reader carries of single rows is its own to pick; by default there is no such thing.
        """
        return replace(
            readout, maps=tuple(m if m.shape[1] == 1 else m[:, rows] for m in readout.maps)
        )
