"""What is said of a frame, put in order: who was given, in what circumstances, how sure it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm.ops.resizing import prepare
from vosfm.types import (
    Decoded,
    Encoding,
    Geometry,
    Objects,
    Prompt,
    Proposal,
    Readout,
    Size,
    State,
    When,
)

SURE = 10.0
"""Logit of what was given."""


def propose(
    objects: Objects,
    geometry: Geometry,
    readout: Readout,
    decoded: Decoded,
    encoding: Encoding | None = None,
    prompt: Prompt | None = None,
    pointed: Tensor | None = None,
) -> Proposal:
    """A proposal of what was decoded; arguments as its attributes."""
    return Proposal(
        objects,
        geometry,
        decoded.logits,
        readout,
        decoded.background,
        decoded.scores,
        decoded.carry,
        encoding,
        prompt,
        presence=decoded.presence,
        candidates=decoded.candidates,
        pointed=pointed,
    )


def certain(masks: Tensor, geometry: Geometry, stride: int) -> Tensor:
    """Logits (B, O, 1, h, w) that say what masks (B, O, H, W) of a frame say."""
    prepared = prepare(masks, geometry)
    height, width = prepared.shape[-2:]
    size = (-(-height // stride), -(-width // stride))
    return (F.adaptive_avg_pool2d(prepared.float(), size).unsqueeze(2) - 0.5) * (2 * SURE)


def circumstances(state: State, proposal: Proposal) -> When:
    """Those in which a proposal is committed."""
    objects, given = proposal.objects, proposal.given
    rows = given
    if objects.identities is not None:
        rows = torch.zeros(given.shape[0], objects.rows, dtype=torch.bool)
        rows = rows.scatter_reduce(1, objects.row, given, "amax")
    somebody = proposal.prompt is not None or proposal.pointed is not None
    return When(state.time, somebody, state.seed, rows, state.guidance)


def fill(told: Tensor, proposal: Proposal, given: float) -> Tensor:
    """Complete what is told of tracked objects.

    Args:
        told: (B, O') of the objects before some joined.
        proposal: of the frame.
        given: what is said of all that was given, and of those who joined.

    Returns:
        (B, O).
    """
    joined = proposal.objects.count - told.shape[1]
    told = F.pad(told, (0, joined), value=given)
    return told.masked_fill(proposal.given.to(told.device), given)


def lay(objects: Objects, masks: Mapping[int, Tensor], size: Size, device: torch.device) -> Prompt:
    """Masks (H, W) by object id, laid into the columns of the objects of a single stream."""
    stacked = torch.zeros(1, objects.count, *size, dtype=torch.bool, device=device)
    given = torch.zeros(1, objects.count, dtype=torch.bool)
    for column in objects.alive[0].nonzero()[:, 0].tolist():
        object_id = int(objects.ids[0, column])
        if object_id in masks:
            stacked[0, column] = masks[object_id]
            given[0, column] = True
    return Prompt(stacked, given)


def seen_before(state: State) -> frozenset[int]:
    """Ids of the living objects that were given before the next frame."""
    objects = state.objects
    return frozenset(objects.ids[0][objects.alive[0] & (objects.born[0] < state.time)].tolist())
