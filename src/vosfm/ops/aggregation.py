"""From logits to masks: who owns a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.ops.resizing import restore
from vosfm.types import Geometry, Objects, Size

_NEVER = -1e10  # of identities that nobody has; as the released AOT does
_GROUP_EDGE = 1e-5  # probabilities are kept this far from 0 and 1 when groups merge
_EDGE = 1e-7  # and this far when objects that know nothing of each other do; as XMem does


def aggregate(
    logits: Tensor,
    background: Tensor | None,
    objects: Objects,
    geometry: Geometry,
    size: Size,
    within: Tensor | None = None,
) -> Tensor:
    """Resize logits and turn them into probabilities.

    With learned backgrounds, every identity group is a softmax over its background and its
    objects; objects that exclude each other across groups are merged by multiplying the
    backgrounds. Without, every object was seen by itself: exclusive objects share the pixels by
    soft aggregation, and one that may overlap others does so with its background alone.

    Args:
        logits: (B, O, h, w).
        background: (B, G, h, w), or None.
        objects: whose logits they are.
        geometry: of the frame.
        size: of the result.
        within: (B, O, H, W) bool, where each object can be; None for everywhere. What it is kept
            from goes to background and other objects.

    Returns:
        (B, O, H, W) probabilities in [0, 1]; 0 for objects that are not alive.

    Source: AOT, the released multi-group inference; STM, soft aggregation.
    """
    alive = objects.alive.to(logits.device)[..., None, None]
    alive = alive if within is None else alive & within
    logits = restore(logits, geometry, size)
    if background is None:
        logits = logits.float()
        if not objects.exclusive:
            # What soft aggregation comes to with one object: odds p / (1 - p) against (1 - p) / p.
            return (2 * logits).sigmoid() * alive
        return share(logits.sigmoid() * alive) * alive
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
    return log_odds(foreground, behind, _GROUP_EDGE).softmax(1)[:, 1:] * alive


def compete(
    logits: Tensor,
    objects: Objects,
    geometry: Geometry,
    size: Size,
    within: Tensor | None = None,
) -> Tensor:
    """Resize logits of objects that were seen one by one, and turn them into probabilities.

    An object is in a pixel or not, whatever the others are: where objects exclude each other, only
    the one with the highest logit keeps the pixel, with the probability that it had alone.

    Args:
        logits: (B, O, h, w).
        objects: whose logits they are.
        geometry: of the frame.
        size: of the result.
        within: (B, O, H, W) bool, where each object can be; None for everywhere. What it is kept
            from goes to background and other objects.

    Returns:
        (B, O, H, W) probabilities in [0, 1]; 0 for objects that are not alive.

    Source: SAM 2, the released predictor (non-overlapping constraints on its output).
    """
    alive = objects.alive.to(logits.device)[..., None, None]
    alive = alive if within is None else alive & within
    logits = restore(logits, geometry, size).float()
    masks = logits.sigmoid() * alive
    if not objects.exclusive or objects.count < 2:
        return masks
    winner = logits.masked_fill(~alive, -torch.inf).argmax(1, keepdim=True)
    index = torch.arange(objects.count, device=logits.device)[:, None, None]
    return masks * (index == winner)


def share(foreground: Tensor) -> Tensor:
    """Let objects that were seen one by one share the pixels (soft aggregation).

    Args:
        foreground: (B, O, H, W) probabilities, each against everything else.

    Returns:
        (B, O, H, W) probabilities whose sum is at most 1.

    Source: STM, section 3.3 (soft aggregation).
    """
    return log_odds(foreground).softmax(1)[:, 1:]


def log_odds(foreground: Tensor, background: Tensor | None = None, edge: float = _EDGE) -> Tensor:
    """Logits of a classification into background and objects.

    Args:
        foreground: (B, O, H, W) probabilities of the objects, each against everything else.
        background: (B, 1, H, W) probability of none of them; None for the product of the objects'
            complements.
        edge: how far probabilities are kept from 0 and 1.

    Returns:
        (B, 1 + O, H, W) float32, the background first.
    """
    foreground = foreground.float()  # in half precision, 1 - 1e-7 is 1
    if background is None:
        background = (1 - foreground).prod(1, keepdim=True)
    both = torch.cat((background, foreground), 1).clamp(edge, 1 - edge)
    return (both / (1 - both)).log()
