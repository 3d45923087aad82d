"""The long short-term transformer: matching and propagation, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from vosfm.memory.banks.contents import validity
from vosfm.memory.readers.lstt_block import LSTTBlock, Past
from vosfm.memory.readers.reader import Reader
from vosfm.ops.attention import sine_positions
from vosfm.types import Contents, Encoding, Entry, Features, Readout, When


class LSTT(Reader):
    """A stack of blocks that attend to the frame itself, to kept frames, and to the last ones.

    Each layer keeps keys and values of its own. A frame whose masks are given is its own memory in
    every layer.

    Args:
        width: channels of the tokens.
        layers: number of blocks; each gives a map to the decoder.
        heads: of every attention.
        hidden: channels inside the feed-forward part.
        radius: of the short-term attention window, in tokens.
        drop_path: probability of skipping a residual branch in training, per sample.
        long: banks that the long-term attention sees, all tokens of all entries; if there are none,
            the attention is left out.
        short: bank that the short-term attention sees, a window of each entry; None to leave the
            attention out. `Local` keeps the last frame, a `Temporal` of interval 1 the last few.

    Raises:
        ValueError: if nothing of the past is read.

    Source: AOT, section 4.2 (Long Short-Term Transformer).
    """

    def __init__(
        self,
        width: int = 256,
        layers: int = 3,
        heads: int = 8,
        hidden: int = 1024,
        radius: int = 7,
        drop_path: float = 0.1,
        long: tuple[str, ...] = ("reference",),
        short: str | None = "local",
    ) -> None:
        super().__init__()
        if not long and short is None:
            raise ValueError("nothing of the past is read: name a bank in `long`, or give `short`")
        self.width = width
        self.embedding = width
        self.encoding = width
        self.long = tuple(long)
        self.short = short
        self.reads = self.long if short is None else (*self.long, short)
        self.widths = (width,) * layers
        self.blocks = nn.ModuleList(
            LSTTBlock(width, heads, hidden, radius, drop_path, bool(long), short is not None)
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        embedding = features.embedding
        size = (embedding.shape[-2], embedding.shape[-1])
        tokens = embedding.flatten(2).transpose(1, 2).unsqueeze(1)  # (B, 1, N, C)
        positions = sine_positions(size, self.width, tokens.device, tokens.dtype)
        masks = None if encoding is None else _tokens(encoding.maps)
        maps: list[Tensor] = []
        carry: dict[str, Tensor] = {}
        for index in range(when.depth or len(self.widths)):
            block, norm = self._layer(index)
            identity = None if masks is None else self._identify(masks, index)
            long = short = None
            if identity is None:
                long = self._past(views, self.long, index)
                short = None if self.short is None else self._past(views, (self.short,), index)
            tokens, key, matched = block(tokens, positions, size, identity, long, short)
            carry[f"key{index}"], carry[f"matched{index}"] = key, matched
            maps.append(norm(tokens).transpose(2, 3).unflatten(3, size))
        return Readout(tuple(maps), carry)

    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, Tensor],
    ) -> Entry:
        if encoding is None:
            return Entry()
        assert readout is not None, "every frame is read"
        masks = _tokens(encoding.maps)
        depth = len(readout.maps)
        rows: dict[str, Tensor] = {}
        for index in range(depth):
            rows[f"key{index}"], rows[f"value{index}"] = self._layer(index)[0].remember(
                readout.carry[f"key{index}"],
                readout.carry[f"matched{index}"],
                self._identify(masks, index),
            )
        whole = depth == len(self.widths)
        embedding = features.embedding.unsqueeze(1)
        state = {"value": encoding.maps, "embedding": embedding, **carry}
        return Entry(rows, state=state, depth=None if whole else depth)

    def fork(self, readout: Readout, rows: list[int]) -> Readout:
        carry = {
            name: leaf if leaf.shape[1] == 1 else leaf[:, rows]
            for name, leaf in readout.carry.items()
        }
        return replace(super().fork(readout, rows), carry=carry)

    def _layer(self, index: int) -> tuple[LSTTBlock, nn.LayerNorm]:
        """A layer's block and the normalisation of what it gives the decoder."""
        block, norm = self.blocks[index], self.norms[index]
        assert isinstance(block, LSTTBlock)
        assert isinstance(norm, nn.LayerNorm)
        return block, norm

    def _identify(self, masks: Tensor, index: int) -> Tensor:
        """Encoded masks (B, R, N, C) as the block of a layer takes them."""
        return masks

    def _past(
        self, views: Mapping[str, Contents], banks: tuple[str, ...], layer: int
    ) -> Past | None:
        """What a layer knows of the frames that banks keep."""
        held = [views[name] for name in banks if views[name].count]
        if not held:
            return None
        key = _joined([c.rows[f"key{layer}"].flatten(2, 3) for c in held])
        value = _joined([c.rows[f"value{layer}"].flatten(2, 3) for c in held])
        if all(c.valid is None for c in held):
            return Past(key, value)
        return Past(key, value, _joined([validity(c) for c in held]).to(key.device))


def _joined(parts: list[Tensor]) -> Tensor:
    """Tensors (B, R, M, ...) behind each other; one alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _tokens(maps: Tensor) -> Tensor:
    """(B, R, C, h, w) -> (B, R, N, C)."""
    return maps.flatten(3).transpose(2, 3)
