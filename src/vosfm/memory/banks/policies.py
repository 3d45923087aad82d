"""Which entry makes room in a full bank.

`keep_first`
    the oldest but the first leaves; where there is room for one entry alone, this one.
`keep_first_last`
    the first stays, and so does the newest; a random one of the others leaves (MMPM's default).
`fifo`
    the oldest leaves, the given frame before all others.
`random`
    any leaves, the newest included, which then was never in.
`none`
    nothing is filtered: the bank keeps what it got first, and the newest is turned away.

Source: MUG-VOS, Table 4 (memory filtering). In the code released with it, what is called
"random_except_first" is `none`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Policy = Literal["keep_first", "keep_first_last", "fifo", "random", "none"]


def check(policy: Policy, capacity: int | None) -> None:
    """Check that a policy can be kept within a capacity.

    Raises:
        ValueError: if there is no such policy, or the capacity cannot hold what it keeps.
    """
    if policy not in get_args(Policy):
        raise ValueError(f"policy is {policy!r}: give one of {', '.join(get_args(Policy))}")
    if policy == "keep_first_last" and capacity is not None and capacity < 2:
        raise ValueError(
            f"capacity is {capacity}: keep_first_last holds the first and the newest, give at "
            "least 2"
        )


def leaving(policy: Policy, count: int, seed: int, time: int) -> int:
    """Choose the entry that makes room.

    Args:
        policy: of the bank.
        count: N, how many entries the full bank holds.
        seed: of the stream; a random choice is a function of (seed, time).
        time: of the new entry.

    Returns:
        Its index, oldest first; `count` is the new entry itself.
    """
    if policy == "keep_first":
        return min(1, count - 1)
    if policy == "keep_first_last":
        return 1 + chance(count - 1, seed, time)
    if policy == "random":
        return chance(count + 1, seed, time)
    return 0 if policy == "fifo" else count


def chance(choices: int, seed: int, time: int) -> int:
    """A number below `choices`, the same for the same seed and time on every machine."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + time) % 2**63)
    # The first numbers of near seeds are alike; a permutation would be, too.
    torch.rand(16, generator=generator)
    return int(torch.randint(choices, (), generator=generator))
