"""Which entries a row keeps, where every row decides for itself."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.memory.banks.contents import refuse_depth, validity
from vosfm.types import Contents, Entry, When


def trusted(quality: Tensor | None, presence: Tensor | None, threshold: float) -> Tensor:
    """Say which masks are worth remembering.

    Args:
        quality: predicted IoU of masks, of any shape; None if nobody says: then all are trusted.
        presence: logit that the object is in the frame, of the same shape; None if nobody says.
        threshold: delta_iou.

    Returns:
        bool on the CPU, True where the quality is above the threshold and the presence above 0; of
        shape () where nobody says anything.

    Source: SAM2Long, section 3.3 (object-aware memory bank).
    """
    if quality is None:
        return torch.ones((), dtype=torch.bool)
    # In double, so that a threshold is not rounded to the precision of what it is held against.
    good = quality.detach().cpu().double() > threshold
    return good if presence is None else good & (presence.detach().cpu() > 0)


def given_rows(when: When, batch: int, rows: int) -> Tensor:
    """(B, R) bool on the CPU: the rows that were given in a frame."""
    if when.rows is None:
        return torch.full((batch, rows), when.given)
    return when.rows


def all_given(when: When) -> bool:
    """Whether nothing but what was given is in a frame."""
    return when.given if when.rows is None else bool(when.rows.all())


def worthy(entry: Entry, when: When) -> Tensor | None:
    """(B, R) bool on the CPU: the rows whose new entry a search wants; None where it wants all."""
    threshold = None if when.guidance is None else when.guidance.iou_threshold
    if threshold is None or entry.quality is None:
        return None
    good = trusted(entry.quality, entry.presence, threshold)
    return given_rows(when, *good.shape) | good


def newest(entries: Tensor, count: int) -> Tensor:
    """Of entries (B, R, M) bool, oldest first, only the last `count` of each row."""
    behind = entries.flip(2).cumsum(2).flip(2)
    return entries & (behind <= count)


def first(entries: Tensor) -> Tensor:
    """Of entries (B, R, M) bool, oldest first, only the first of each row."""
    return entries & (entries.cumsum(2) == 1)


def select(contents: Contents, fresh: Tensor, entry: Entry, when: When, room: int) -> Tensor:
    """Choose the trusted entries that rows keep.

    Args:
        contents: of a bank, as wide as the rows.
        fresh: (B, R) bool on the CPU, the rows that the new entry is offered to.
        entry: of a frame.
        when: the circumstances, with an IoU threshold.
        room: N, how many entries a row keeps.

    Returns:
        (B, R, M + 1) bool on the CPU; the last is the new entry.

    Source: SAM2Long, section 3.3; the released code keeps the newest entry whatever it is, for as
        long as it is the newest.
    """
    assert when.guidance is not None
    assert when.guidance.iou_threshold is not None
    threshold, rows = when.guidance.iou_threshold, contents.rows
    held = held_by(contents, fresh)
    held = held & trusted(rows.get("quality"), rows.get("presence"), threshold)
    if bool(fresh.any()) and not when.guidance.official:
        fresh = fresh & trusted(entry.quality, entry.presence, threshold)
    return newest(torch.cat((held, fresh[..., None]), 2), room)


def held_by(contents: Contents, rows: Tensor) -> Tensor:
    """(B, R, M) bool on the CPU: the entries of rows (B, R), also of a bank that holds nothing."""
    return validity(contents) if contents.count else rows.new_zeros(*rows.shape, 0)


def leaves(
    entry: Entry, names: tuple[str, ...], dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """What a bank keeps of an entry: its rows by these names, and how far it can be trusted.

    Args:
        entry: of a frame.
        names: of its rows; those it lacks are left out.
        dtype: of its "value"; None for that it has.

    Returns:
        Named tensors, (B, R, ...) each.

    Raises:
        InputError: if the entry has none of these rows, or not all layers of them.
    """
    refuse_depth(entry, "a bank in which every row keeps entries of its own")
    kept = {name: entry.rows[name] for name in names if name in entry.rows}
    if not kept:
        raise InputError(
            f"a bank keeps rows {', '.join(names)} of every entry, this one has "
            f"{', '.join(sorted(entry.rows)) or 'none'}: leave out the bank, or use a reader whose "
            "entries have them"
        )
    if dtype is not None and "value" in kept:
        kept["value"] = kept["value"].to(dtype)
    said = {"quality": entry.quality, "presence": entry.presence}
    return kept | {name: leaf for name, leaf in said.items() if leaf is not None}
