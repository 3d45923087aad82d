"""How many frames a memory gives up to hold others: whether its size mattered at all."""

from __future__ import annotations

from collections.abc import Mapping

from vosfm.memory.banks.contents import validity
from vosfm.memory.banks.temporal import Temporal
from vosfm.memory.memory import Memory
from vosfm.types import Contents, When


def evictions(
    memory: Memory, before: Mapping[str, Contents], after: Mapping[str, Contents], when: When
) -> int:
    """Count the frames that banks with a capacity gave up in one step.

    A frame that was held and is held no longer counts, and so does one that a full bank turned
    away although its turn had come: whichever of them a policy chooses, the bank had one too many.
    Banks that replace what they hold with every frame have no capacity, and never count. Of several
    pathways or objects, a frame counts when the last that held it lets go.

    Args:
        memory: whose banks they are.
        before: what they held before a frame.
        after: what they hold after it.
        when: the frame's circumstances.
    """
    count = 0
    counted = set()
    for name, held in before.items():
        own = name.rpartition("/")[2]  # a view of an augmented model goes before; all do the same
        bank = memory.banks[own]
        if getattr(bank, "capacity", None) is None or own in counted:
            continue
        counted.add(own)
        now = after.get(name, Contents())
        if now.time is not held.time:
            count += len(_frames(held) - _frames(now))
        if isinstance(bank, Temporal) and bank.wanted(held, when):
            count += not bank.due(held, when)
    return count


def _frames(contents: Contents) -> set[int]:
    return set(contents.time[validity(contents)].tolist())
