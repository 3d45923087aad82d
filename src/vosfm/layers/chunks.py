"""Objects that are computed a few at a time."""

from __future__ import annotations

from vosfm.errors import InputError


def check_chunk(chunk: int | None) -> None:
    """Check how many objects are to be computed at once.

    Raises:
        InputError: if it is not at least 1, or None for all.
    """
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk is {chunk}: give at least 1, or null for all objects at once")
