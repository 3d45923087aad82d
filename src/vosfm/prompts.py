"""What a user gives of objects, checked before a model sees it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vosfm.errors import InputError
from vosfm.types import Box, Points, Size

Given = Tensor | NDArray[np.bool_] | Box | Points
"""What can be given of an object: its mask (H, W), a box, or points."""


def to_masks(
    prompts: Mapping[int, Given], size: Size, time: int, exclusive: bool, device: torch.device
) -> dict[int, Tensor]:
    """Check the masks that are given with a frame.

    Args:
        prompts: object id -> what is given of it.
        size: (H, W) of the frame.
        time: its index, for messages.
        exclusive: whether a pixel belongs to one object at most.
        device: of the result.

    Returns:
        Object id -> (H, W) bool, each with at least one pixel.

    Raises:
        InputError: if something other than a mask is given, a mask is empty or of another size, or
            masks overlap that must not.
    """
    masks: dict[int, Tensor] = {}
    for object_id, given in prompts.items():
        where = f"frame {time}, object {object_id}"
        if isinstance(given, Box | Points):
            raise InputError(
                f"{where}: this model takes masks, not {type(given).__name__.lower()}: "
                "it has no prompt encoder"
            )
        mask = torch.as_tensor(given, device=device).bool()
        if tuple(mask.shape) != size:
            raise InputError(
                f"{where}: mask of {tuple(mask.shape)}, frames of {size}: resize the mask"
            )
        if not mask.any():
            raise InputError(f"{where}: the mask is empty: leave the object out of this frame")
        masks[object_id] = mask
    if exclusive:
        covered = torch.stack(list(masks.values())).sum(0)
        if int(covered.max()) > 1:
            raise InputError(
                f"frame {time}: masks overlap on {int((covered > 1).sum())} pixels: allow it with "
                "exclusive=False (--overlap on the command line)"
            )
    return masks
