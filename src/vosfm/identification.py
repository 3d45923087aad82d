"""Who is who: objects join, take an identity, leave, and give their place back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.types import Clip, Objects

_GRAZE = 0.05  # share of a new mask that tracked masks may cover without counting as overlap


def nobody(exclusive: bool, identities: int | None) -> Objects:
    """No objects yet, batch 1."""
    none = torch.zeros(1, 0, dtype=torch.int64)
    return Objects(none, none.bool(), none, none, exclusive, identities)


def join(
    objects: Objects,
    ids: list[int],
    masks: Mapping[int, Tensor] | None,
    time: int,
    tracked: Tensor | None = None,
) -> Objects:
    """Give a slot to every object that has none yet.

    A new object takes the first free identity of the first group whose objects its mask does not
    overlap; an identity is free if no object of that group, living or removed, has it: the group's
    memory may still show it to whoever comes after.

    Args:
        objects: of the stream, batch 1.
        ids: of the objects that are given.
        masks: id -> (H, W) bool; None if masks are not known yet.
        time: of the frame.
        tracked: (O, H, W) bool, where the objects of the stream are now; None if overlap with them
            does not matter.

    Returns:
        The objects with the new ones behind the old ones.

    Raises:
        InputError: if an id is not a positive integer.
    """
    size = objects.identities or 1
    known = objects.ids[0].tolist()
    alive = objects.alive[0].tolist()
    slots = objects.slot[0].tolist()
    present = {i for i, lives in zip(known, alive, strict=True) if lives}
    where: dict[int, list[Tensor]] = {}
    if masks is not None and not objects.exclusive:
        for column, slot in enumerate(slots):
            if known[column] in masks and alive[column]:
                where.setdefault(slot // size, []).append(masks[known[column]])
    fresh: list[tuple[int, int]] = []
    for object_id in ids:
        if isinstance(object_id, bool) or not isinstance(object_id, int) or object_id < 1:
            raise InputError(f"object id {object_id!r}: ids are integers from 1 on")
        if object_id in present:
            continue
        mask = None if masks is None else masks[object_id]
        group = 0
        while True:
            taken = {s % size for s in slots if s // size == group}
            if len(taken) < size and not _overlaps(
                mask, where.get(group, []), _members(tracked, slots, group, size)
            ):
                break
            group += 1
        slot = group * size + min(set(range(size)) - taken)
        slots.append(slot)
        fresh.append((object_id, slot))
        if mask is not None and not objects.exclusive:
            where.setdefault(group, []).append(mask)
    if not fresh:
        return objects
    ids_, slots_ = (
        torch.tensor([column], dtype=torch.int64) for column in zip(*fresh, strict=True)
    )
    return replace(
        objects,
        ids=torch.cat((objects.ids, ids_), 1),
        alive=torch.cat((objects.alive, torch.ones_like(ids_, dtype=torch.bool)), 1),
        slot=torch.cat((objects.slot, slots_), 1),
        born=torch.cat((objects.born, torch.full_like(ids_, time)), 1),
    )


def leave(objects: Objects, ids: list[int]) -> tuple[Objects, list[int]]:
    """Remove objects.

    Args:
        objects: of the stream, batch 1.
        ids: of those to remove.

    Returns:
        The remaining objects, and the memory rows that remain with them. A removed object keeps
        its slot, not alive, until nobody of its group lives.

    Raises:
        InputError: if an id is not that of a living object.
    """
    living = objects.ids[0][objects.alive[0]].tolist()
    strangers = [i for i in ids if i not in living]
    if strangers:
        raise InputError(f"object {strangers[0]} is not tracked: there are {living}")
    alive = objects.alive & ~torch.isin(objects.ids, torch.tensor(ids, dtype=torch.int64))
    size = objects.identities or 1
    row = objects.row[0]
    kept = sorted(set(row[alive[0]].tolist()))
    columns = [c for c, r in enumerate(row.tolist()) if r in kept]
    renumbered = {old: new for new, old in enumerate(kept)}
    slot = [renumbered[int(row[c])] * size + int(objects.slot[0, c]) % size for c in columns]
    remaining = replace(
        objects,
        ids=objects.ids[:, columns],
        alive=alive[:, columns],
        slot=torch.tensor([slot], dtype=torch.int64),
        born=objects.born[:, columns],
    )
    return remaining, kept


def enrol(clip: Clip, identities: int | None, shuffle: Sequence[int] | None = None) -> Objects:
    """Objects of a training clip, all of them given with its first frame.

    Args:
        clip: of B samples; objects of one group are assumed not to overlap unless the clip's
            masks do, in which case each object is placed as `join` would.
        identities: size of a group; None for models without groups.
        shuffle: B seeds, each of a random permutation of the identities in each group of a sample;
            None leaves them in order.

    Returns:
        (B, O) objects.
    """
    batch, count = clip.present.shape
    ids = torch.arange(1, count + 1).expand(batch, count)
    present = clip.present.cpu()
    first = clip.masks[:, 0]
    exclusive = bool((clip.masks.sum(2) <= 1).all())
    slots = torch.arange(count).repeat(batch, 1)
    if not exclusive and identities is not None:
        for b in range(batch):
            # Ever overlapping, not only in the first frame: the memory sees all of them.
            joined = join(
                nobody(False, identities),
                list(range(1, count + 1)),
                {o + 1: clip.masks[b, :, o].flatten(0, 1) for o in range(count)},
                0,
            )
            slots[b] = joined.slot[0]
    if shuffle is not None and identities is not None and first.numel():
        for b in range(batch):
            chance = torch.Generator().manual_seed(shuffle[b])
            groups = int(slots[b].max()) // identities + 1
            moved = torch.cat(
                [
                    g * identities + torch.randperm(identities, generator=chance)
                    for g in range(groups)
                ]
            )
            slots[b] = moved[slots[b]]
    return Objects(ids, present, slots, torch.zeros_like(slots), exclusive, identities)


def _members(
    tracked: Tensor | None, slots: list[int], group: int, identities: int
) -> Tensor | None:
    if tracked is None:
        return None
    columns = [c for c in range(tracked.shape[0]) if slots[c] // identities == group]
    return tracked[columns] if columns else None


def _overlaps(mask: Tensor | None, given: list[Tensor], tracked: Tensor | None) -> bool:
    if mask is None:
        return False
    if any(bool((mask & other).any()) for other in given):
        return True
    if tracked is None:
        return False
    return bool(((tracked & mask).flatten(1).sum(1) > _GRAZE * mask.sum()).any())
