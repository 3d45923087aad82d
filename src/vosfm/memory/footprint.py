"""How much a memory will hold before it holds it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from vosfm.memory.memory import Memory
from vosfm.types import Contents


def footprint(memory: Memory, banks: Mapping[str, Contents]) -> int:
    """Bytes that the banks take once they are full.

    Args:
        memory: whose banks they are.
        banks: what they hold, of all objects; a bank that holds nothing yet counts as nothing,
            unless another holds entries of the same kind.

    Returns:
        Bytes of their tensors at their capacity; of banks without one, what they hold now.
    """
    total = 0
    for name, contents in banks.items():
        bank = memory.banks[name.rpartition("/")[2]]  # a view of an augmented model goes before
        one = _entry(contents) if contents.count else _foreseen(bank, banks)
        entries = getattr(bank, "capacity", None) or contents.count
        total += sum(one.values()) * entries
    return total


def _entry(contents: Contents) -> dict[str, int]:
    """Bytes that an entry takes, by the names of its tensors."""
    held = {**contents.shared, **contents.rows}
    return {
        name: leaf.numel() * leaf.element_size() // contents.count for name, leaf in held.items()
    }


def _foreseen(bank: nn.Module, banks: Mapping[str, Contents]) -> dict[str, int]:
    """Bytes that an entry of a bank will take, by what others hold of it."""
    keeps: tuple[str, ...] = getattr(bank, "keeps", ())
    if not keeps:
        return {}
    known = {n: s for other in banks.values() if other.count for n, s in _entry(other).items()}
    return {name: known[name] for name in (*keeps, "quality", "presence") if name in known}
