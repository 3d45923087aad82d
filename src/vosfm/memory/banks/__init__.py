"""What of the past is kept."""

from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.global_map import Global
from vosfm.memory.banks.local import Local
from vosfm.memory.banks.long_term import LongTerm
from vosfm.memory.banks.pointers import Pointers
from vosfm.memory.banks.prompted import Prompted
from vosfm.memory.banks.recurrent import Sensory, Sequential
from vosfm.memory.banks.reference import Reference
from vosfm.memory.banks.selective import Selective
from vosfm.memory.banks.temporal import Temporal
from vosfm.memory.banks.working import Working

__all__ = [
    "Bank",
    "Global",
    "Local",
    "LongTerm",
    "Pointers",
    "Prompted",
    "Reference",
    "Selective",
    "Sensory",
    "Sequential",
    "Temporal",
    "Working",
]
