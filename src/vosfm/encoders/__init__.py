"""From a frame to a pyramid of features."""

from vosfm.encoders.encoder import Encoder
from vosfm.encoders.hiera import Hiera
from vosfm.encoders.sam_vit import SamViT
from vosfm.encoders.swin_pyramid import SwinPyramid
from vosfm.encoders.timm_pyramid import TimmPyramid

__all__ = ["Encoder", "Hiera", "SamViT", "SwinPyramid", "TimmPyramid"]
