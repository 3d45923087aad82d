"""How much a memory will hold before it holds it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vosfm.memory.memory import Memory
from vosfm.types import Contents


def footprint(memory: Memory, banks: Mapping[str, Contents]) -> int:
    """Bytes that the banks take once they are full.

    Args:
        memory: whose banks they are.
        banks: what they hold, of all objects; a bank that holds nothing yet counts as nothing.

    Returns:
        Bytes of their tensors at their capacity; of banks without one, what they hold now.
    """
    total = 0
    for name, contents in banks.items():
        if not contents.count:
            continue
        bank = memory.banks[name.rpartition("/")[2]]  # a view of an augmented model goes before
        entries = getattr(bank, "capacity", None) or contents.count
        held = [*contents.rows.values(), *contents.shared.values()]
        total += sum(map(_bytes, held)) * entries // contents.count
    return total


def _bytes(leaf: Tensor) -> int:
    return leaf.numel() * leaf.element_size()
