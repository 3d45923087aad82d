"""How learning rate and averaging change over a training."""

from __future__ import annotations


def polynomial(
    step: int,
    steps: int,
    highest: float,
    lowest: float,
    power: float = 0.9,
    warm_up: float = 0.05,
) -> float:
    """Rise linearly, then fall polynomially.

    Args:
        step: number of the optimiser step, from 0.
        steps: of the whole training.
        highest: rate at the end of the warm-up.
        lowest: rate at the first and the last step.
        power: of the fall.
        warm_up: share of the training that the rise takes.

    Returns:
        The learning rate of this step.

    Source: AOT, section 5.1 and its released code.
    """
    rise = int(steps * warm_up)
    if step < rise:
        return lowest + (highest - lowest) * step / rise
    left = 1 - (step - rise) / (steps - rise + 1)
    return lowest + (highest - lowest) * max(left, 0.0) ** power


def ema_decay(update: int, highest: float) -> float:
    """Decay of an exponential moving average that forgets its start.

    Args:
        update: number of the update, from 1.
        highest: the decay of a long training.

    Returns:
        min(highest, (1 + n) / (10 + n)).

    Source: AOT's released code.
    """
    return min(highest, (1 + update) / (10 + update))
