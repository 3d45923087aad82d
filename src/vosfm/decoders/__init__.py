"""From what the memory said to masks."""

from vosfm.decoders.decoder import Decoder
from vosfm.decoders.fpn import FPN
from vosfm.decoders.per_identity import PerIdentity
from vosfm.decoders.sam import SamDecoder
from vosfm.decoders.sam2 import Sam2Decoder
from vosfm.decoders.scalable_fpn import ScalableFPN
from vosfm.decoders.single_scale import SingleScale
from vosfm.decoders.upsampling import Upsampling

__all__ = [
    "FPN",
    "Decoder",
    "PerIdentity",
    "Sam2Decoder",
    "SamDecoder",
    "ScalableFPN",
    "SingleScale",
    "Upsampling",
]
