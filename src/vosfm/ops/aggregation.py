"""From logits to masks: who owns a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.ops.resizing import restore
from vosfm.types import Geometry, Objects, Size

_NEVER = -1e10  # of identities that nobody has; as the released AOT does
_EDGE = 1e-5  # probabilities are kept this far from 0 and 1 when groups merge


def aggregate(
    logits: Tensor,
    background: Tensor | None,
    objects: Objects,
    geometry: Geometry,
    size: Size,
) -> Tensor:
    """Resize logits and turn them into probabilities.

    With learned backgrounds, every identity group is a softmax over its background and its
    objects; objects that exclude each other across groups are merged by multiplying the
    backgrounds. Without, every object is a sigmoid, and exclusive objects share what the product
    of their complements leaves (soft aggregation).

    Args:
        logits: (B, O, h, w).
        background: (B, G, h, w), or None.
        objects: whose logits they are.
        geometry: of the frame.
        size: of the result.

    Returns:
        (B, O, H, W) probabilities in [0, 1]; 0 for objects that are not alive.

    Source: AOT, the released multi-group inference; STM, soft aggregation.
    """
    alive = objects.alive.to(logits.device)[..., None, None]
    logits = restore(logits, geometry, size)
    if background is None:
        foreground = logits.sigmoid() * alive
        if not objects.exclusive:
            return foreground
        return _share(foreground, (1 - foreground).prod(1, keepdim=True)) * alive
    background = restore(background, geometry, size)
    logits = logits.masked_fill(~alive, _NEVER)
    groups = background.shape[1]
    if groups == 1:
        return torch.cat((background, logits), 1).softmax(1)[:, 1:]
    foreground = torch.zeros_like(logits)
    behind = torch.ones_like(background[:, :1])
    for g in range(groups):
        columns, inside = objects.members(g)
        # Members differ from sample to sample; those of other groups are masked, not moved.
        others = ~inside.to(logits.device)[..., None, None]
        members = logits[:, columns].masked_fill(others, _NEVER)
        shares = torch.cat((background[:, g : g + 1], members), 1).softmax(1)
        foreground[:, columns] += shares[:, 1:]
        behind = behind * shares[:, :1]
    if not objects.exclusive:
        return foreground
    return _share(foreground, behind) * alive


def _share(foreground: Tensor, background: Tensor) -> Tensor:
    """Normalise by odds: softmax over the logits of clamped probabilities."""
    both = torch.cat((background, foreground), 1).clamp(_EDGE, 1 - _EDGE)
    odds = both / (1 - both)
    return (odds / odds.sum(1, keepdim=True))[:, 1:]
