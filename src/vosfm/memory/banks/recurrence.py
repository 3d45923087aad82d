"""What a recurrent memory follows: each layer's keys and values, or maps from before the layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.layers import ConvGRU
from vosfm.types import Entry, Size

Follows = Literal["key", "value", "both"]
Leaves = Mapping[str, Tensor]
"""Tokens (B, R, N, C) by name."""


class Recurrence(nn.Module, ABC):
    """Named maps, the units that move some of them on, and what layers see of them.

    Maps without a unit are those of the newest frame.
    """

    units: nn.ModuleDict

    @abstractmethod
    def taken(self, entry: Entry) -> dict[str, Tensor]:
        """The maps of a frame.

        Raises:
            InputError: if the frame's entry lacks them.
        """

    @abstractmethod
    def unit_of(self, name: str) -> str:
        """The name of the unit that a map belongs to."""

    def seen(self, leaves: Leaves) -> dict[str, Tensor]:
        """Keys and values of the layers, unless the maps are these."""
        return {}

    def forward(self, held: Leaves, incoming: Leaves, size: Size) -> dict[str, Tensor]:
        """Move maps on.

        Args:
            held: what there is.
            incoming: of a frame; maps that it lacks stay.
            size: (h, w), N of them.

        Returns:
            All maps.
        """
        moved = dict(held)
        for name, leaf in incoming.items():
            known = self.unit_of(name)
            if known in self.units:
                made = self.units[known](_maps(leaf, size), _maps(held[name], size))
                leaf = made.permute(0, 2, 3, 1).reshape(leaf.shape)
            moved[name] = leaf
        return moved


class AtLayers(Recurrence):
    """Keys, values, or both, of each layer.

    Args:
        layers: of the reader.
        follows: what units move on.
        shared: one unit for a kind in all layers, or one for every layer.
        unit: makes one.
    """

    def __init__(
        self, layers: int, follows: Follows, shared: bool, unit: Callable[[], ConvGRU]
    ) -> None:
        super().__init__()
        self.shared = shared
        kinds = ("key", "value") if follows == "both" else (follows,)
        names = kinds if shared else [f"{kind}{n}" for n in range(layers) for kind in kinds]
        self.units = nn.ModuleDict({name: unit() for name in names})

    def taken(self, entry: Entry) -> dict[str, Tensor]:
        if "key0" not in entry.rows:
            raise InputError(
                f"Global got an entry of {sorted(entry.rows)}, without the keys of any layer: read "
                "the memory with LSTT"
            )
        return dict(entry.rows)

    def unit_of(self, name: str) -> str:
        return name.rstrip("0123456789") if self.shared else name


class BeforeLayers(Recurrence):
    """The encoder's embedding and the encoded masks, projected for every layer.

    As in a block of LSTT, keys are made of the appearance alone, values of appearance and identity:
    their sum, of two maps that were followed apart, or one map of both that was followed.

    Args:
        width: channels of all of them.
        layers: of the reader.
        follows: what keys are made of, values, or both; the rest is of the newest frame.
        fused: whether the units see appearance and identity as one map.
        unit: makes one.
    """

    def __init__(
        self, width: int, layers: int, follows: Follows, fused: bool, unit: Callable[[], ConvGRU]
    ) -> None:
        super().__init__()
        self.layers = layers
        self.key_of = "newest_appearance" if follows == "value" else "appearance"
        self.value_of: tuple[str, ...] = ("appearance", "identity")
        if follows == "key":
            self.value_of = ("newest_appearance", "newest_identity")
        elif fused:
            self.value_of = ("fused",)
        names = sorted(n for n in {self.key_of, *self.value_of} if not n.startswith("newest"))
        self.norm = nn.LayerNorm(width)
        self.units = nn.ModuleDict({name: unit() for name in names})
        self.to_key = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.to_value = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        for linear in (*self.to_key, *self.to_value):
            assert isinstance(linear, nn.Linear)
            nn.init.xavier_uniform_(linear.weight)

    def taken(self, entry: Entry) -> dict[str, Tensor]:
        if "embedding" not in entry.state:
            raise InputError(
                f"Global got the maps {sorted(entry.state)} of a frame, not its embedding: read "
                "the memory with LSTT, or place the units at its layers"
            )
        identity = entry.state["value"].flatten(3).transpose(2, 3)
        embedding = entry.state["embedding"].flatten(3).transpose(2, 3)
        appearance = self.norm(embedding).to(identity.dtype).expand_as(identity)
        made = {
            "appearance": appearance,
            "newest_appearance": appearance,
            "identity": identity,
            "newest_identity": identity,
            "fused": appearance + identity,
        }
        return {name: made[name] for name in (self.key_of, *self.value_of)}

    def unit_of(self, name: str) -> str:
        return name

    def seen(self, leaves: Leaves) -> dict[str, Tensor]:
        appearance = leaves[self.key_of]
        whole = sum((leaves[name] for name in self.value_of[1:]), leaves[self.value_of[0]])
        keys = {f"key{n}": to_key(appearance) for n, to_key in enumerate(self.to_key)}
        return keys | {f"value{n}": to_value(whole) for n, to_value in enumerate(self.to_value)}


def _maps(tokens: Tensor, size: Size) -> Tensor:
    """(B, R, N, C) -> (B*R, C, h, w), without a copy: channels come last in memory."""
    return tokens.flatten(0, 1).unflatten(1, size).permute(0, 3, 1, 2)
