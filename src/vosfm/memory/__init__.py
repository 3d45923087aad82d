"""What of the past is kept (banks), and how it is looked at (readers)."""

from vosfm.memory.banks import (
    Bank,
    Local,
    LongTerm,
    Pointers,
    Prompted,
    Reference,
    Selective,
    Sensory,
    Sequential,
    Temporal,
    Working,
)
from vosfm.memory.memory import Memory
from vosfm.memory.readers import LSTT, Affinity, MemoryAttention, Reader

__all__ = [
    "LSTT",
    "Affinity",
    "Bank",
    "Local",
    "LongTerm",
    "Memory",
    "MemoryAttention",
    "Pointers",
    "Prompted",
    "Reader",
    "Reference",
    "Selective",
    "Sensory",
    "Sequential",
    "Temporal",
    "Working",
]
