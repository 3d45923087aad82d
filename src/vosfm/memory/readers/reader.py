"""What every reader promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from vosfm.types import Contents, Encoding, Entry, Features, Readout


class Reader(nn.Module, ABC):
    """Looks at a frame through what was kept, and decides what of the frame is worth keeping.

    Attributes:
        reads: names of the banks it looks at.
        widths: channels of each map of its readout.
    """

    reads: tuple[str, ...]
    widths: tuple[int, ...]

    @abstractmethod
    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        encoding: Encoding | None = None,
    ) -> Readout:
        """Look at a frame.

        Args:
            features: of the frame.
            views: bank name -> contents, all of R rows.
            encoding: of masks that were given with this frame; it is then its own memory.

        Returns:
            Maps for the decoder, (B, R, C, h, w), and what `entry` will need.
        """

    @abstractmethod
    def entry(self, features: Features, readout: Readout, encoding: Encoding) -> Entry:
        """What is worth keeping of a frame, now that its masks are settled.

        Args:
            features: of the frame.
            readout: of the same frame.
            encoding: of its settled masks.

        Returns:
            Tensors of (B, R, ...).
        """
