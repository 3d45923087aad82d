"""From masks to what a memory keeps of them."""

from vosfm.mask_encoders.identity_bank import IdentityBank
from vosfm.mask_encoders.mask_encoder import MaskEncoder
from vosfm.mask_encoders.memory_encoder import MemoryEncoder
from vosfm.mask_encoders.resnet_values import ResNetValues
from vosfm.mask_encoders.value_encoder import ValueEncoder
from vosfm.mask_encoders.vit_values import ViTValues

__all__ = [
    "IdentityBank",
    "MaskEncoder",
    "MemoryEncoder",
    "ResNetValues",
    "ValueEncoder",
    "ViTValues",
]
