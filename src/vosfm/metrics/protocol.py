"""What a protocol is: the rules of one benchmark, and where all of them are listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.metrics.averages import Frames, Row


@dataclass(frozen=True)
class Protocol:
    """The rules of a benchmark.

    Attributes:
        name: as given to ``vosfm evaluate --protocol``.
        rules: the rules in words: how it averages, the frames at both ends, void, absent objects,
            and what was ours to decide.
        format: name of the format whose truths it scores, see `vosfm.data.formats`.
        told_by: what tells the objects of a sequence, for messages, such as "meta.json".
        counted: a truth and an object of it -> the places in which it is scored, ascending.
        statistics: (T,) J and F of one object, and whether to repeat the official tool's errors
            -> its row.
        overall: rows by (sequence, object id), and those of them that count as unseen (None if it
            is not known) -> the row of the whole benchmark.
        union: whether the objects of a frame are scored as one, as object 1.
        by_category: whether it cannot average without knowing which objects are unseen.
        void: whether pixels without a truth count for nothing; else they are background.
        first_seen: whether an object counts only from the frame on that first shows it, in the
            truth or in the result, and not at all if no counted frame of the truth shows it.
        spare: whether results of frames that have no annotation are left alone; else they are an
            error.
        flat: whether results may lie in index PNGs even though masks of the truth may overlap.
    """

    name: str
    rules: str
    format: str
    told_by: str
    counted: Callable[[Truth, int], Sequence[int]]
    statistics: Callable[[Frames, Frames, bool], Row]
    overall: Callable[[Mapping[tuple[Any, int], Row], Collection[tuple[Any, int]] | None], Row]
    union: bool = False
    by_category: bool = False
    void: bool = False
    first_seen: bool = False
    spare: bool = False
    flat: bool = False

    def row(
        self,
        j: Frames,
        f: Frames,
        shown: NDArray[np.bool_],
        found: NDArray[np.bool_],
        official: bool = False,
    ) -> Row | None:
        """Tell of one object what the benchmark tells.

        Args:
            j: (T,) of its counted frames, in the order of time.
            f: (T,) of the same.
            shown: (T,) whether the truth has a pixel of it; looked at with `first_seen` alone.
            found: (T,) whether the result has.
            official: repeat the official tool's errors.

        Returns:
            Its row; None if it does not count at all.
        """
        if not j.size:
            return None
        if self.first_seen:
            if not shown.any():
                return None
            first = int(np.argmax(shown | found))
            j, f = j[first:], f[first:]
        return self.statistics(j, f, official)


PROTOCOLS: dict[str, Protocol] = {}


def register(entry: Protocol) -> Protocol:
    """Add a protocol under its name.

    Raises:
        ValueError: if the name is taken.
    """
    if entry.name in PROTOCOLS:
        raise ValueError(f"protocol {entry.name} is registered already")
    PROTOCOLS[entry.name] = entry
    return entry


def named(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        InputError: for a name that is not registered; the message lists those that are.
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name}: unknown; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
