"""From masks to what a memory keeps of them."""

from vosfm.mask_encoders.identity_bank import IdentityBank
from vosfm.mask_encoders.mask_encoder import MaskEncoder

__all__ = ["IdentityBank", "MaskEncoder"]
