"""How the past is looked at."""

from vosfm.memory.readers.affinity import Affinity
from vosfm.memory.readers.lstt import LSTT
from vosfm.memory.readers.memory_attention import MemoryAttention
from vosfm.memory.readers.reader import Reader
from vosfm.memory.readers.scalable_lstt import ScalableLSTT

__all__ = ["LSTT", "Affinity", "MemoryAttention", "Reader", "ScalableLSTT"]
