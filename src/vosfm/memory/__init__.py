"""What of the past is kept (banks), and how it is looked at (readers)."""

from vosfm.memory.banks import Bank, Local, Reference, Temporal
from vosfm.memory.memory import Memory
from vosfm.memory.readers import LSTT, Reader

__all__ = ["LSTT", "Bank", "Local", "Memory", "Reader", "Reference", "Temporal"]
