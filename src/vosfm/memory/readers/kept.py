"""What a reader looks at, of all that banks hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.memory.readers.ages import Ages
from vosfm.ops.modulation import key_weights
from vosfm.types import Contents


@dataclass(frozen=True)
class Kept:
    """Entries of one kind, of several banks; those that no row looks at are left out.

    Attributes:
        tokens: (B, R, M, n, C), n of each entry.
        age: (B, R, M) int64, 1 for what is as recent as can be.
        seen: (B, R, M) bool, entries that a row looks at.
        presence: (B, R, M), logit that the object was there; None if nobody says.
    """

    tokens: Tensor
    age: Tensor
    seen: Tensor
    presence: Tensor | None = None

    def of(self, rows: Tensor, like: Tensor) -> Kept:
        """Only these rows (B, R) bool, A of them, on one axis, with device and type of `like`."""

        def pick(leaf: Tensor) -> Tensor:
            chosen = leaf.flatten(0, 1) if bool(rows.all()) else leaf[rows.to(leaf.device)]
            return chosen.to(like) if leaf.is_floating_point() else chosen.to(like.device)

        presence = None if self.presence is None else pick(self.presence)
        return Kept(pick(self.tokens), pick(self.age), pick(self.seen), presence)


def take(contents: Contents, name: str, ages: Ages, presence: float | None = None) -> Kept:
    """The entries that any row looks at.

    Args:
        contents: of a bank.
        name: of the tensors to look at: (B, R, M, n, C), or (B, R, M, C), single tokens.
        ages: of the entries.
        presence: of all entries; None for what the bank says of each.
    """
    age, seen = ages
    said = contents.rows.get("presence")
    if presence is not None:
        said = torch.full(age.shape, presence, device=contents.rows[name].device)
    tokens = contents.rows[name]
    kept = Kept(tokens.unsqueeze(3) if tokens.dim() == 4 else tokens, age, seen, said)
    columns = seen.flatten(0, 1).any(0)
    if bool(columns.all()):
        return kept
    (at,) = columns.nonzero(as_tuple=True)
    there = at.to(tokens.device)
    return Kept(
        kept.tokens[:, :, there],
        age[:, :, at],
        seen[:, :, at],
        None if said is None else said[:, :, there],
    )


def join(parts: Sequence[Kept]) -> Kept:
    """Entries of several banks in one row; of different number types, in the widest."""
    said = [part.presence for part in parts if part.presence is not None]
    return Kept(
        torch.cat([part.tokens for part in parts], 2),
        torch.cat([part.age for part in parts], 2),
        torch.cat([part.seen for part in parts], 2),
        torch.cat(said, 2) if len(said) == len(parts) else None,
    )


def empty(batch: int, rows: int, tokens: int, like: Tensor) -> Kept:
    """No entries, of so many tokens each with as many channels as the last axis of `like`."""
    nothing = torch.zeros(batch, rows, 0, dtype=torch.int64)
    return Kept(
        like.new_zeros(batch, rows, 0, tokens, like.shape[-1]),
        nothing,
        nothing.bool(),
        like.new_zeros(batch, rows, 0),
    )


def cut(pointers: Kept, channels: int) -> Kept:
    """Entries whose tokens are cut into several of so many channels."""
    tokens = pointers.tokens
    return replace(pointers, tokens=tokens.flatten(3).unflatten(3, (-1, channels)))


def weigh(frames: Kept, pointers: Kept, span: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Weights of the keys of each entry, by its presence; see `key_weights`.

    Raises:
        InputError: if nobody says how present the object was.
    """
    if frames.presence is None or pointers.presence is None:
        raise InputError(
            "modulation weighs what is remembered by the object's presence, and this model has "
            "no presence: leave modulation out"
        )
    return key_weights((frames.presence, frames.seen), (pointers.presence, pointers.seen), span)
