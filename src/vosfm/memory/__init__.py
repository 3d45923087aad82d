"""What of the past is kept (banks), and how it is looked at (readers)."""

from vosfm.memory.banks import (
    Bank,
    Global,
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
from vosfm.memory.readers import LSTT, Affinity, MemoryAttention, Reader, ScalableLSTT

__all__ = [
    "LSTT",
    "Affinity",
    "Bank",
    "Global",
    "Local",
    "LongTerm",
    "Memory",
    "MemoryAttention",
    "Pointers",
    "Prompted",
    "Reader",
    "Reference",
    "ScalableLSTT",
    "Selective",
    "Sensory",
    "Sequential",
    "Temporal",
    "Working",
]
