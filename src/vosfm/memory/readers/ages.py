"""How long ago what is kept was seen, in the eyes of a reader, and whether it still looks at it."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.memory.banks.contents import validity
from vosfm.types import Contents, When

Ages = tuple[Tensor, Tensor]
"""(B, R, M) int64, 1 for what is as recent as can be, and (B, R, M) bool, what is looked at."""


def prompted_ages(contents: Contents, when: When) -> Ages:
    """Frames since each entry; all are looked at, however old."""
    return when.time - contents.time, validity(contents)


def frame_ages(contents: Contents, when: When, limit: int) -> Ages:
    """Ages of remembered frames.

    Args:
        contents: of a bank, oldest entry first.
        when: the circumstances.
        limit: greatest age that is looked at.

    Returns:
        Frames since each entry; where a search selects what is kept, ranks instead, 1 for the most
        recent entry of a row.

    Source: SAM 2, section 4 (memory bank); SAM2Long, section 3.3 and the released code.
    """
    if when.guidance is None or not when.guidance.selects:
        age, valid = prompted_ages(contents, when)
        return age, valid & (age >= 1) & (age <= limit)
    valid = validity(contents)
    age = _ranks(valid)
    return age, valid & (age <= limit)


def pointer_ages(contents: Contents, when: When, limit: int) -> Ages:
    """Ages of object pointers: as `frame_ages`, but for an oddity of the released code.

    That looks back until it has `limit` entries that pass its test, adds the frame before this one
    if it did not pass, and then leaves out the oldest. `Guidance.official` asks for the same; it
    needs the quality and presence of the entries.

    Source: the released code of SAM2Long.
    """
    guidance = when.guidance
    if guidance is None or guidance.iou_threshold is None or not guidance.official:
        return frame_ages(contents, when, limit)
    valid = validity(contents)
    age = _ranks(valid)
    quality, presence = (contents.rows[name].cpu() for name in ("quality", "presence"))
    # In double precision, as the released code compares.
    passes = (quality.double() > guidance.iou_threshold) & (presence > 0)
    just_now = valid & (contents.time == when.time - 1)
    passed = (just_now & passes).any(2, keepdim=True)
    found = valid.sum(2, keepdim=True).minimum(torch.where(passed, limit, limit + 1))
    return age, valid & (age < found)


def _ranks(valid: Tensor) -> Tensor:
    """1 for the last valid entry of each row, 2 for the one before, and so on."""
    return valid.flip(2).cumsum(2).flip(2)
