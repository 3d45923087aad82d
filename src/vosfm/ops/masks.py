"""Masks between probabilities, one-hot maps and identity channels."""

from __future__ import annotations

import torch
from torch import Tensor

from vosfm.types import Objects


def harden(masks: Tensor, objects: Objects) -> Tensor:
    """Let every pixel belong to the most probable of background and objects.

    Where objects exclude each other, all of them compete; where they may overlap, only those of
    one identity group do, or (without groups) each object with the background alone.

    Args:
        masks: (B, O, H, W), probabilities in [0, 1] or bool. Objects that are not alive are 0.
        objects: whose masks they are.

    Returns:
        (B, O, H, W) bool.
    """
    if masks.shape[1] == 0:
        return masks.bool()
    masks = masks.float()
    if objects.exclusive:
        return _winners(masks)
    if objects.identities is None:
        return masks > 0.5
    hard = torch.zeros_like(masks, dtype=torch.bool)
    for g in range(objects.rows):
        columns, members = objects.members(g)
        if columns:
            inside = members.to(masks.device)[..., None, None]
            hard[:, columns] |= _winners(masks[:, columns] * inside) & inside
    return hard


def _winners(masks: Tensor) -> Tensor:
    """(B, O, H, W) bool: the largest share, where it is larger than what all of them leave."""
    best, winner = masks.max(1, keepdim=True)
    ahead = best > 1 - masks.sum(1, keepdim=True)
    index = torch.arange(masks.shape[1], device=masks.device)[:, None, None]
    return (index == winner) & ahead


def to_identities(masks: Tensor, objects: Objects, void: Tensor | None) -> Tensor:
    """Lay hard masks into the channels of their identity groups.

    Args:
        masks: (B, O, H, W) bool, at most one object of a group at each pixel.
        objects: whose masks they are, of a model with identities.
        void: (B, H, W) bool, pixels that are 0 in every channel, background too; or None.

    Returns:
        (B, G, 1 + n, H, W) float one-hot, background first.
    """
    batch, count, height, width = masks.shape
    identities = objects.identities or 1
    groups = max(1, objects.rows)
    channels = masks.new_zeros(batch, groups * identities, height, width, dtype=torch.float32)
    if count:
        alive = objects.alive.to(masks.device)[..., None, None]
        slot = objects.slot.to(masks.device)[..., None, None].expand_as(masks)
        channels.scatter_add_(1, slot, (masks & alive).float())
    channels = channels.unflatten(1, (groups, identities))
    background = 1 - channels.sum(2, keepdim=True)
    onehot = torch.cat((background, channels), 2)
    if void is not None:
        onehot = onehot * ~void[:, None, None]
    return onehot
