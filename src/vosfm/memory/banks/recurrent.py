"""Hidden states: the past in one map per row, moved on by a gated update."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.layers import GatedUpdate
from vosfm.memory.banks.bank import Bank
from vosfm.memory.banks.contents import append, widen, with_rows
from vosfm.memory.banks.policies import chance
from vosfm.types import Contents, Entry, When

_SHARES = 2**24  # in how many steps a probability is drawn


class Sequential(Bank):
    """A hidden state that the values of every r-th frame move on.

    Args:
        value: channels of the values.
        hidden: channels of the state.
        interval: r, frames between two updates.
        training_interval: the same in training; None for no difference.

    Raises:
        ValueError: if an interval is less than 1.

    Source: MUG-VOS, section 4 (sequential memory).
    """

    def __init__(
        self,
        value: int = 512,
        hidden: int = 64,
        interval: int = 5,
        training_interval: int | None = None,
    ) -> None:
        super().__init__()
        for name, given in (("interval", interval), ("training_interval", training_interval)):
            if given is not None and given < 1:
                raise ValueError(f"{name} must be at least 1, not {given}")
        self.value = value
        self.hidden = hidden
        self.interval = interval
        self.training_interval = training_interval
        self.update = GatedUpdate(value, hidden)

    def due(self, contents: Contents, when: When) -> bool:
        return when.given or _since(contents, "selected", when.time) >= self._interval

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        if not self.due(contents, when):
            return contents, None
        value = entry.state["value"]
        hidden = self.update(value, self._previous(contents, value))
        return _hold(hidden, when.time, selected=when.time), None

    @property
    def _interval(self) -> int:
        return (self.training and self.training_interval) or self.interval

    def _previous(self, contents: Contents, value: Tensor) -> Tensor:
        """The state before this frame (B, R, C, h, w), zeros for rows that have none."""
        if not contents.count:
            batch, rows, _, *size = value.shape
            return value.new_zeros(batch, rows, self.hidden, *size)
        return widen(contents, value.shape[1]).rows["hidden"][:, :, -1]


class Sensory(Sequential):
    """A hidden state that the decoder moves on in every frame, and values in some (deep update).

    Args:
        value: channels of the values.
        hidden: channels of the state.
        interval: r, frames between two whose values are known.
        training_interval: the same in training; None for no difference.
        deep_interval: least frames between two deep updates; None to update deeply with all values.
        follows: whether a deep update moves on what the decoder made (True) or takes its place
            (False).
        training_follows: the same in training; None for no difference.
        probability: of a deep update where one is due; given frames always have it.
        training_probability: the same in training; None for no difference.

    Raises:
        ValueError: if an interval is less than 1 or a probability lies outside of [0, 1].

    Source: XMem, section 3.4 (sensory memory): the released code replaces in test and follows in
        training, there with probability 0.2; the code released with MUG-VOS follows with
        probability 0.2 in both.
    """

    def __init__(
        self,
        value: int = 512,
        hidden: int = 64,
        interval: int = 5,
        training_interval: int | None = None,
        deep_interval: int | None = None,
        follows: bool = False,
        training_follows: bool | None = None,
        probability: float = 1.0,
        training_probability: float | None = None,
    ) -> None:
        super().__init__(value, hidden, interval, training_interval)
        if deep_interval is not None and deep_interval < 1:
            raise ValueError(f"deep_interval must be at least 1 or None, not {deep_interval}")
        for share in (probability, training_probability):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"a probability is {share}: give one in [0, 1]")
        self.deep_interval = deep_interval
        self.follows = (follows, follows if training_follows is None else training_follows)
        self.probability = (
            probability,
            probability if training_probability is None else training_probability,
        )

    def due(self, contents: Contents, when: When) -> bool:
        return super().due(contents, when) and (when.given or self._deep(contents, when))

    def write(
        self, contents: Contents, entry: Entry, when: When
    ) -> tuple[Contents, Contents | None]:
        known = entry.state.get("hidden")
        if not self.due(contents, when):
            assert known is not None, "a decoder that moves the hidden state on is needed"
            events = {"selected": when.time} if super().due(contents, when) else {}
            return _hold(known, when.time, contents, **events), None
        value = entry.state["value"]
        previous = self._previous(contents, value)
        moved = previous if known is None else with_rows(known, value.shape[1])
        if not self._deep(contents, when):
            return _hold(moved, when.time, contents, selected=when.time), None
        base = moved if self.follows[self.training] else previous
        moved = self.update(value, base)
        return _hold(moved, when.time, selected=when.time, deepened=when.time), None

    def _deep(self, contents: Contents, when: When) -> bool:
        if self.deep_interval is not None:
            return _since(contents, "deepened", when.time) >= self.deep_interval
        share = self.probability[self.training]
        return when.given or chance(_SHARES, when.seed, when.time) < share * _SHARES


def _since(contents: Contents, event: str, time: int) -> float:
    """Frames since the last such event; infinitely many if there was none."""
    if event not in contents.shared:
        return float("inf")
    return time - int(contents.shared[event].max())


def _hold(hidden: Tensor, time: int, contents: Contents | None = None, **events: int) -> Contents:
    """Contents of one state; events that are not new stay those of the old contents."""
    batch = hidden.shape[0]
    shared = {name: torch.full((batch,), at, dtype=torch.int64) for name, at in events.items()}
    held, _ = append(Contents(), Entry({"hidden": hidden}, shared), time)
    if contents is None:
        return held
    return Contents(held.rows, {**contents.shared, **held.shared}, held.time)
