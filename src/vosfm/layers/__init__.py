"""Blocks that several parts are made of."""

from vosfm.layers.chunks import check_chunk
from vosfm.layers.feature_fusion import CBAM, FeatureFusion, ResidualBlock
from vosfm.layers.gated_update import GatedUpdate, HiddenUpdate
from vosfm.layers.shared_convolution import convolve_image, convolve_rows

__all__ = [
    "CBAM",
    "FeatureFusion",
    "GatedUpdate",
    "HiddenUpdate",
    "ResidualBlock",
    "check_chunk",
    "convolve_image",
    "convolve_rows",
]
