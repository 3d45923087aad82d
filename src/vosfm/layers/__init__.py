"""Blocks that several parts are made of."""

from vosfm.layers.attention import Attention
from vosfm.layers.chunks import check_chunk
from vosfm.layers.conv_gru import ConvGRU
from vosfm.layers.feature_fusion import CBAM, FeatureFusion, ResidualBlock
from vosfm.layers.gated_update import GatedUpdate, HiddenUpdate
from vosfm.layers.mlp import MLP
from vosfm.layers.shared_convolution import convolve_image, convolve_rows
from vosfm.layers.two_way import TwoWayTransformer

__all__ = [
    "CBAM",
    "MLP",
    "Attention",
    "ConvGRU",
    "FeatureFusion",
    "GatedUpdate",
    "HiddenUpdate",
    "ResidualBlock",
    "TwoWayTransformer",
    "check_chunk",
    "convolve_image",
    "convolve_rows",
]
