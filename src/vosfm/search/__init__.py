"""Which of a segmenter's proposals become memory."""

from vosfm.search.greedy import Greedy
from vosfm.search.search import Beam, Final, Search
from vosfm.search.tree import MemoryTree

__all__ = ["Beam", "Final", "Greedy", "MemoryTree", "Search"]
