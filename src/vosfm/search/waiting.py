"""Frames that pathways do not agree on yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vosfm.types import Geometry, Objects, Prompt, Proposal


@dataclass(frozen=True)
class Waiting:
    """A frame whose masks are not final.

    Attributes:
        time: index of the frame.
        picks: object id -> the column of `believed` that each of its pathways comes from.
        believed: logits of every distinct pathway, one candidate each, and what was given.
    """

    time: int
    picks: Mapping[int, tuple[int, ...]]
    believed: Proposal

    @property
    def agreed(self) -> bool:
        """Whether all pathways of every object come from the same column."""
        return all(len(set(columns)) == 1 for columns in self.picks.values())

    def follow(self, parents: Mapping[int, list[int]]) -> Waiting:
        """The same frame a step later, when pathways have parted or ended.

        Args:
            parents: object id -> for each of its pathways, the one it comes from.
        """
        picks = {
            object_id: tuple(columns[slot] for slot in parents.get(object_id, range(len(columns))))
            for object_id, columns in self.picks.items()
        }
        return replace(self, picks=picks)


def pack_waiting(waiting: tuple[Waiting, ...]) -> dict[str, Tensor]:
    """Tensors that `unpack_waiting` makes the frames of again."""
    packed: dict[str, Tensor] = {}
    for frame in waiting:
        believed, geometry = frame.believed, frame.believed.geometry
        objects, prompt = believed.objects, believed.prompt
        leaves = {
            "geometry": torch.tensor(
                [
                    *geometry.source,
                    *geometry.content,
                    *geometry.prepared,
                    *geometry.offset,
                    geometry.align_corners,
                ]
            ),
            "ids": objects.ids,
            "born": objects.born,
            "alive": objects.alive,
            "logits": believed.logits,
            "picked_ids": torch.tensor(list(frame.picks)),
            "picks": torch.tensor(list(frame.picks.values())),
        }
        if prompt is not None:
            leaves |= {"masks": prompt.masks, "given": prompt.given}
        packed |= {f"waiting.{frame.time}.{name}": leaf for name, leaf in leaves.items()}
    return packed


def unpack_waiting(packed: Mapping[str, Tensor], exclusive: bool) -> tuple[Waiting, ...]:
    """The frames that `pack_waiting` packed, the oldest first."""
    times = sorted({int(name.split(".")[1]) for name in packed if name.startswith("waiting.")})
    return tuple(_unpack(packed, time, exclusive) for time in times)


def _unpack(packed: Mapping[str, Tensor], time: int, exclusive: bool) -> Waiting:
    prefix = f"waiting.{time}."
    leaves = {
        name.removeprefix(prefix): leaf for name, leaf in packed.items() if name.startswith(prefix)
    }
    numbers = leaves["geometry"].tolist()
    sides = [(numbers[i], numbers[i + 1]) for i in (0, 2, 4, 6)]
    geometry = Geometry(sides[0], sides[1], sides[2], bool(numbers[8]), sides[3])
    ids = leaves["ids"].cpu()
    objects = Objects(
        ids,
        leaves["alive"].cpu(),
        torch.arange(ids.shape[1])[None],
        leaves["born"].cpu(),
        exclusive,
    )
    prompt = None
    if "masks" in leaves:
        prompt = Prompt(leaves["masks"], leaves["given"].cpu())
    picks = {
        object_id: tuple(columns)
        for object_id, columns in zip(
            leaves["picked_ids"].tolist(), leaves["picks"].tolist(), strict=True
        )
    }
    return Waiting(time, picks, Proposal(objects, geometry, leaves["logits"], None, prompt=prompt))
