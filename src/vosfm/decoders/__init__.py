"""From what the memory said to masks."""

from vosfm.decoders.decoder import Decoder
from vosfm.decoders.fpn import FPN

__all__ = ["FPN", "Decoder"]
