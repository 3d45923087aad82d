"""How much each token of a bank is looked at."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from vosfm.types import Contents, Entry

_UNREAD = 1e-7  # life of a token that was never read, so that its rate is 0 and not undefined


def uncounted(entry: Entry) -> Entry:
    """An entry with counters of its tokens at their start."""
    key = entry.shared["key"]
    counters = {
        "usage": key.new_zeros(key.shape[:-1]),
        "life": key.new_full(key.shape[:-1], _UNREAD),
    }
    return replace(entry, shared={**entry.shared, **counters})


def counted(contents: Contents, usage: Tensor) -> Contents:
    """Contents whose counters know of one more frame; usage is (B, tokens)."""
    before = contents.shared["usage"]
    counters = {
        "usage": before + usage.view_as(before),
        "life": contents.shared["life"] + 1,
    }
    return replace(contents, shared={**contents.shared, **counters})


def rate(contents: Contents) -> Tensor:
    """(B, M, ...) how much each token was looked at in a frame, on average."""
    return contents.shared["usage"] / contents.shared["life"]
