"""The scalable long short-term transformer: identities gate keys, and depth is chosen when run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from vosfm.memory.readers.lstt import LSTT
from vosfm.memory.readers.lstt_block import LSTTBlock, Past
from vosfm.types import Contents

Shared = Literal["none", "matching", "all"]
"""What the layers of a `ScalableLSTT` have in common."""


class ScalableLSTT(LSTT):
    """An LSTT whose first n layers are a model of their own, for every n.

    A frame is read with `When.depth` layers. An entry of a frame that was read with n of them has
    keys and values of n layers; deeper layers look past it. Where no entry of the long-term banks
    has a layer, that layer looks at the short-term bank alone, and the other way round.

    Args:
        width: channels of the tokens.
        layers: number of blocks; each gives a map to the decoder, and is a depth.
        heads: of every attention.
        hidden: channels inside the feed-forward part.
        radius: of the short-term attention window, in tokens.
        drop_path: probability of skipping a residual branch in training, per sample.
        long: banks that the long-term attention sees, all tokens of all entries; if there are none,
            the attention is left out.
        short: bank that the short-term attention sees, a window of each entry; None to leave the
            attention out. `Local` keeps the last frame, a `Temporal` of interval 1 the last few.
        shared: what all layers have in common: "none"; "matching", all but what identities are
            turned into keys' gates and values with (the paper's AOST with shared layers); "all",
            those as well (that of the released code).

    Raises:
        ValueError: if `shared` is none of these, or nothing of the past is read.

    Source: AOST, section 4 (scalable long short-term transformer). Where layers are shared, the
        released code supervises all depths but the last before their normalisation, and normalises
        them when they are run; here both are normalised.
    """

    def __init__(
        self,
        width: int = 256,
        layers: int = 3,
        heads: int = 8,
        hidden: int = 1024,
        radius: int = 7,
        drop_path: float = 0.1,
        long: tuple[str, ...] = ("temporal",),
        short: str | None = "local",
        shared: Shared = "none",
    ) -> None:
        if shared not in ("none", "matching", "all"):
            raise ValueError(f"shared must be none, matching or all, not {shared!r}")
        super().__init__(width, 0, heads, hidden, radius, drop_path, long, short)
        self.widths = (width,) * layers
        different = layers if shared == "none" else 1
        self.blocks = nn.ModuleList(
            ScalableBlock(width, heads, hidden, radius, drop_path, bool(long), short is not None)
            for _ in range(different)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(different))
        self.identify = nn.ModuleList(
            nn.Linear(width, heads + width) for _ in range(1 if shared == "all" else layers)
        )
        for linear in self.identify:
            assert isinstance(linear, nn.Linear)
            nn.init.xavier_uniform_(linear.weight)

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.widths) + 1))

    def _layer(self, index: int) -> tuple[LSTTBlock, nn.LayerNorm]:
        return super()._layer(index % len(self.blocks))

    def _identify(self, masks: Tensor, index: int) -> Tensor:
        identity: Tensor = self.identify[index % len(self.identify)](masks)
        return identity

    def _past(
        self, views: Mapping[str, Contents], banks: tuple[str, ...], layer: int
    ) -> Past | None:
        held = {name: _with_layer(views[name], layer) for name in banks}
        return super()._past(held, banks, layer)


class ScalableBlock(LSTTBlock):
    """A block whose keys are gated by the identities, head by head.

    Query and key are the same projection, in which no identity takes part; the key that is kept
    is what the gate leaves of it: (1 + tanh g) for each head, g made of the identity at the token.

    Source: AOST, section 4 (S-LSTT block); the released code has a gate for each head, where the
        paper has one for all.
    """

    def _add_matching(self, width: int) -> None:
        self.to_key_value = nn.Linear(width, 2 * width)

    def match(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.to_key_value(self.norm_match(tokens)).chunk(2, -1)
        return key, value

    def remember(self, key: Tensor, matched: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        gate, added = identity[..., : self.heads], identity[..., self.heads :]
        gated = key.unflatten(-1, (self.heads, -1)) * (1 + gate.tanh()).unsqueeze(-1)
        return gated.flatten(-2), matched + added


def _with_layer(contents: Contents, layer: int) -> Contents:
    """The keys and values of one layer, of the entries that have them."""
    if contents.depth is None or bool((contents.depth > layer).all()):
        return contents
    kept = (contents.depth > layer).nonzero()[:, 0].tolist()
    if not kept:
        return Contents()
    names = (f"key{layer}", f"value{layer}")
    return Contents(
        {name: contents.rows[name][:, :, kept] for name in names},
        {},
        contents.time[:, :, kept],
        None if contents.valid is None else contents.valid[:, :, kept],
    )
