"""From a frame to a pyramid of features."""

from vosfm.encoders.encoder import Encoder
from vosfm.encoders.timm_pyramid import TimmPyramid

__all__ = ["Encoder", "TimmPyramid"]
