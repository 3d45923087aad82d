"""Streams that part: columns of a state, of a proposal, taken again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vosfm.memory import Memory
from vosfm.types import Objects, Prompt, Proposal, State


def fork_objects(objects: Objects, columns: list[int]) -> Objects:
    """These columns of the objects, in this order; each becomes a memory row of its own.

    Args:
        objects: batch 1, without identity groups.
        columns: of them, some perhaps twice.
    """
    return replace(
        objects,
        ids=objects.ids[:, columns],
        alive=objects.alive[:, columns],
        slot=torch.arange(len(columns))[None],
        born=objects.born[:, columns],
    )


def fork_state(state: State, memory: Memory, columns: list[int]) -> State:
    """A state that goes on with these columns of its objects, some perhaps twice."""
    if columns == list(range(state.objects.count)):
        return state
    rows = state.objects.slot[0, columns].tolist()
    banks = memory.select(state.banks, rows) if rows else memory.start()
    return replace(state, objects=fork_objects(state.objects, columns), banks=banks)


def fork_proposal(
    proposal: Proposal, memory: Memory, columns: list[int], choice: list[int]
) -> Proposal:
    """The candidates that were chosen, of columns of a proposal that perhaps appear twice.

    Args:
        proposal: of a frame, batch 1.
        memory: that it was read from.
        columns: of its objects.
        choice: the candidate that speaks for each of them.

    Returns:
        A proposal of one candidate per column.
    """
    index = torch.tensor(choice, device=proposal.logits.device)

    def chosen(leaf: Tensor) -> Tensor:
        rows = leaf[0, columns]
        at = index.clamp(max=rows.shape[1] - 1)[(...,) + (None,) * (rows.dim() - 1)]
        return rows.take_along_dim(at, 1)[None]

    def picked(leaf: Tensor) -> Tensor:
        return leaf[:, columns]

    prompt, readout, pointed = proposal.prompt, proposal.readout, proposal.pointed
    return replace(
        proposal,
        objects=fork_objects(proposal.objects, columns),
        logits=chosen(proposal.logits),
        scores=None if proposal.scores is None else chosen(proposal.scores),
        candidates={name: chosen(leaf) for name, leaf in proposal.candidates.items()},
        presence=None if proposal.presence is None else picked(proposal.presence),
        carry={name: picked(leaf) for name, leaf in proposal.carry.items()},
        readout=None if readout is None else memory.reader.fork(readout, columns),
        prompt=None if prompt is None else Prompt(picked(prompt.masks), picked(prompt.given)),
        pointed=None if pointed is None else picked(pointed),
    )
