"""Matching by keys: what looks alike has the same value."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.memory.readers.reader import Reader
from vosfm.ops.affinity import Kind, Segment, read
from vosfm.types import Contents, Encoding, Entry, Features, Readout, Size, When


class Affinity(Reader):
    """Every token reads the values of the tokens that its key resembles, in all kept frames.

    Keys come from the image and are shared by all rows; values come from the masks.

    Args:
        embedding: channels of the encoder's embedding.
        key: Ck, channels of the keys.
        value: Cv, channels of the values.
        similarity: of a key with a query: "anisotropic" (squared distance, weighted by a selection
            of the query's and a shrinkage of the key's), "l2" (squared distance) or "dot".
        top_k: only so many most alike tokens are read; None for all. In training it is always all.
        matched: banks whose tokens are read, the oldest first. None at all reads zeros.
        state: bank whose hidden state is the last map of the readout; None for no such map.
        hidden: channels of that state.
        counted: banks, of those matched, that learn how much each token is read.
        chunk: queries that are compared at once; None for as many as is fast.

    Raises:
        InputError: if top_k is less than 1.

    Source: STCN, section 3 (l2 similarity); XMem, section 3.2 (anisotropic l2); MUG-VOS, section 4.
    """

    rereads = False

    def __init__(
        self,
        embedding: int = 1024,
        key: int = 64,
        value: int = 512,
        similarity: Kind = "anisotropic",
        top_k: int | None = None,
        matched: tuple[str, ...] = ("temporal",),
        state: str | None = None,
        hidden: int = 64,
        counted: tuple[str, ...] = (),
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}: give at least 1, or None to read all tokens")
        self.embedding = embedding
        self.encoding = value
        self.similarity = similarity
        self.top_k = top_k
        self.matched = tuple(matched)
        self.state = state
        self.hidden = hidden
        self.counted = tuple(counted)
        self.chunk = chunk
        self.reads = (*self.matched, *((state,) if state else ()))
        self.widths = (value, hidden) if state else (value,)
        self.to_key = nn.Conv2d(embedding, key, 3, padding=1)
        nn.init.orthogonal_(self.to_key.weight)
        nn.init.zeros_(self.to_key.bias)  # type: ignore[arg-type]
        anisotropic = similarity == "anisotropic"
        self.to_shrinkage = nn.Conv2d(embedding, 1, 3, padding=1) if anisotropic else None
        self.to_selection = nn.Conv2d(embedding, key, 3, padding=1) if anisotropic else None

    def read(
        self,
        features: Features,
        views: Mapping[str, Contents],
        rows: int,
        when: When,
        encoding: Encoding | None = None,
    ) -> Readout:
        query, selection = self._query(features)
        batch = query.shape[0]
        size = _size(features)
        held = [name for name in self.matched if views[name].count]
        usage: dict[str, Tensor] = {}
        if held:
            segments = [_segment(views[name]) for name in held]
            values, counts = read(
                query,
                selection,
                segments,
                kind=self.similarity,
                top_k=None if self.training else self.top_k,
                usage=bool(self.counted),
                chunk=self.chunk,
            )
            maps = [values.transpose(2, 3).unflatten(3, size)]
            if counts is not None:
                both = zip(held, counts, strict=True)
                usage = {name: count for name, count in both if name in self.counted}
        else:
            maps = [query.new_zeros(batch, rows, self.encoding, *size)]
        if self.state is not None:
            known = views[self.state]
            if known.count:
                maps.append(known.rows["hidden"][:, :, -1])
            else:
                maps.append(query.new_zeros(batch, rows, self.hidden, *size))
        carry = {"key": query}
        if selection is not None:
            carry["selection"] = selection
        return Readout(tuple(maps), carry, usage)

    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, Tensor],
    ) -> Entry:
        state = dict(carry)
        if encoding is None:
            return Entry(state=state)
        if readout is None:
            key, selection = self._query(features)
        else:
            key, selection = readout.carry["key"], readout.carry.get("selection")
        shared = {"key": key}
        if self.to_shrinkage is not None:
            shared["shrinkage"] = (
                _tokens(self.to_shrinkage(features.embedding)).squeeze(-1) ** 2 + 1
            )
        if selection is not None and self.counted:
            shared["selection"] = selection
        state["value"] = encoding.maps
        values = encoding.maps.flatten(3).transpose(2, 3).contiguous()
        return Entry({"value": values}, shared, state)

    def _query(self, features: Features) -> tuple[Tensor, Tensor | None]:
        """Keys and selections (B, N, Ck) of a frame."""
        key = _tokens(self.to_key(features.embedding))
        if self.to_selection is None:
            return key, None
        return key, _tokens(self.to_selection(features.embedding)).sigmoid()


def _size(features: Features) -> Size:
    return features.embedding.shape[-2], features.embedding.shape[-1]


def _tokens(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, C)."""
    return maps.flatten(2).transpose(1, 2)


def _segment(contents: Contents) -> Segment:
    """Contents of frames (B, M, N, C), or of single tokens (B, M, C), as one list of tokens."""
    key, value = contents.shared["key"], contents.rows["value"]
    shrinkage = contents.shared.get("shrinkage")
    valid = contents.valid
    if key.dim() == 4:
        tokens = key.shape[2]
        key, value = key.flatten(1, 2), value.flatten(2, 3)
        shrinkage = None if shrinkage is None else shrinkage.flatten(1)
        valid = None if valid is None else valid.repeat_interleave(tokens, 2)
    return Segment(key, shrinkage, value, None if valid is None else valid.to(key.device))
