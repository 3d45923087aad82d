"""How learning rate and averaging change over a training."""

from __future__ import annotations

from abc import ABC, abstractmethod


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


class Schedule(ABC):
    """Where the learning rate stands between its lowest and its highest value."""

    @abstractmethod
    def __call__(self, step: int, steps: int) -> float:
        """How far up the learning rate is.

        Args:
            step: number of the optimiser step, from 0.
            steps: of the whole training.

        Returns:
            A number in [0, 1].
        """


class Polynomial(Schedule):
    """Rises linearly, then falls polynomially: see `polynomial`.

    Args:
        power: of the fall.
        warm_up: share of the training that the rise takes.
    """

    def __init__(self, power: float = 0.9, warm_up: float = 0.05) -> None:
        self.power = power
        self.warm_up = warm_up

    def __call__(self, step: int, steps: int) -> float:
        return polynomial(step, steps, 1.0, 0.0, self.power, self.warm_up)


class Steps(Schedule):
    """Stays as it is, but falls at some points of the training.

    Args:
        milestones: shares of the training, in [0, 1], after which the learning rate falls; none
            for a constant one.
        factor: of every fall, in [0, 1].

    Raises:
        ValueError: if an argument is out of range.

    Source: the released STCN and XMem, which fall once, after 0.8 of their last stage.
    """

    def __init__(self, milestones: tuple[float, ...] = (0.8,), factor: float = 0.1) -> None:
        if not all(0 <= milestone <= 1 for milestone in milestones):
            raise ValueError(f"milestones are shares of the training, in [0, 1], not {milestones}")
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must lie in [0, 1], not {factor}")
        self.milestones = milestones
        self.factor = factor

    def __call__(self, step: int, steps: int) -> float:
        return self.factor ** sum(step >= round(m * steps) for m in self.milestones)
