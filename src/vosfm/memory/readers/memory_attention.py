"""Memory attention: a frame is conditioned on kept frames and object pointers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.layers.chunks import check_chunk
from vosfm.memory.readers.ages import frame_ages, pointer_ages, prompted_ages
from vosfm.memory.readers.kept import Kept, cut, empty, join, take, weigh
from vosfm.memory.readers.memory_attention_layer import MemoryAttentionLayer, Past, learned
from vosfm.memory.readers.reader import Reader
from vosfm.ops.attention import sine_positions
from vosfm.ops.positions import sine_code
from vosfm.ops.rotary import rotations
from vosfm.types import Contents, Encoding, Entry, Features, Readout, Size, When

PROMPTED_PRESENCE = 10.0
"""Logit that an object is in a frame in which it was given."""


class MemoryAttention(Reader):
    """A stack of layers that attend to the frame itself and to what is kept.

    What is kept are the encoded masks of frames, told apart by where a token lies and how long ago
    the frame was, and object pointers: vectors of the decoder's, cut into tokens without a place.
    Rows that know nothing yet get the embedding and a learned vector.

    Args:
        embedding: channels of the encoder's embedding, and of the layers; a multiple of 4.
        value: channels of the encoded masks; a multiple of 4.
        layers: number of layers.
        hidden: channels inside their feed-forward part.
        prompted: bank of the frames in which a row was given; all of them are read.
        recent: bank of other frames.
        pointers: bank of the object pointers of other frames; None to read no pointers at all.
        frames: how many ages are told apart: the oldest is that of prompted frames, and the others
            are those of the last `frames - 1`.
        max_pointers: pointers of the last `max_pointers - 1` frames are read, and those of all
            prompted ones.
        absent: learn a vector that marks frames in which the object was not seen (SAM 2.1).
        pointer_time: tell how long ago a pointer was made (SAM 2.1).
        dropout: in training.
        chunk: rows that are computed at once; None for all.

    Raises:
        InputError: if a width is not a multiple of 4, `embedding` is not a multiple of `value` and
            there are pointers, `layers`, `frames` or `chunk` is less than 1, or `max_pointers` less
            than 2.

    Source: SAM 2, section 4 (memory attention, memory bank), and the released code.
    """

    rereads = False
    modulates = True

    def __init__(
        self,
        embedding: int = 256,
        value: int = 64,
        layers: int = 4,
        hidden: int = 2048,
        prompted: str = "prompted",
        recent: str = "recent",
        pointers: str | None = "pointers",
        frames: int = 7,
        max_pointers: int = 16,
        absent: bool = True,
        pointer_time: bool = True,
        dropout: float = 0.1,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        _check(embedding, value, layers, pointers, frames, max_pointers)
        check_chunk(chunk)
        self.embedding = embedding
        self.encoding = value
        self.widths = (embedding,)
        self.reads = (prompted, recent, *(() if pointers is None else (pointers,)))
        self.prompted, self.recent, self.pointers = prompted, recent, pointers
        self.frames = frames
        self.max_pointers = max_pointers
        self.chunk = chunk
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(embedding, value, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(embedding)
        self.temporal = learned(frames, value)
        # Clips give masks, after which every row knows something: it does not train.
        self.nothing = learned(embedding).requires_grad_(False)
        # The released checkpoints have it and no computation uses it.
        self.nothing_position = nn.Parameter(torch.zeros(embedding), requires_grad=False)
        self.absent = learned(value) if absent else None
        with_time = pointer_time and pointers is not None
        self.pointer_time = nn.Linear(embedding, value) if with_time else None

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
        unknown = (embedding + self.nothing[:, None, None]).unsqueeze(1)
        frames = self._frames(views, rows, when, embedding)
        pointers = self._pointers(views, rows, when, embedding)
        knows = frames.seen.any(2) | pointers.seen.any(2)
        if not bool(knows.any()):
            return Readout((unknown,))
        positions = sine_positions(size, self.embedding, embedding.device, embedding.dtype, first=1)
        tokens = embedding.flatten(2).transpose(1, 2) + 0.1 * positions
        span = None if when.guidance is None else when.guidance.modulation
        past = self._past(frames.of(knows, tokens), pointers.of(knows, tokens), size, span)
        sample = knows.nonzero()[:, 0].to(tokens.device)
        maps = self.condition(tokens, past, size, sample).transpose(1, 2).unflatten(2, size)
        if bool(knows.all()):
            return Readout((maps.unflatten(0, (-1, rows)),))
        every = unknown.to(maps.dtype).expand(-1, rows, -1, -1, -1).clone()
        every[knows.to(every.device)] = maps
        return Readout((every,))

    def entry(
        self,
        features: Features,
        readout: Readout | None,
        encoding: Encoding | None,
        carry: Mapping[str, Tensor],
    ) -> Entry:
        if encoding is None:
            return Entry()
        value = encoding.maps.flatten(3).transpose(2, 3)
        if self.absent is not None and "presence" in carry:
            gone = (carry["presence"] <= 0)[..., None, None]
            value = value + gone * self.absent.to(value.dtype)
        rows = {"value": value.contiguous()}
        if "pointer" in carry:
            rows["pointer"] = carry["pointer"]
        return Entry(rows, state={"value": encoding.maps})

    def condition(self, tokens: Tensor, past: Past, size: Size, sample: Tensor) -> Tensor:
        """Let rows look at their past.

        Args:
            tokens: (B, N, C), of the frame.
            past: of A rows.
            size: (h, w) of the tokens.
            sample: (A,) int64, the sample of each row.

        Returns:
            (A, N, C).
        """
        turns = rotations(size, self.embedding, tokens.device)
        layers: list[Any] = list(self.layers)
        first, *others = layers
        # Up to here all rows of a sample see the same.
        tokens = first.look_around(tokens, turns)
        count = self.chunk or len(sample)
        parts = []
        for known, mine in zip(past.split(count), sample.split(count), strict=True):
            part = first.look_back(tokens[mine], known, turns)
            for layer in others:
                part = layer.look_back(layer.look_around(part, turns), known, turns)
            parts.append(self.norm(part))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _frames(
        self, views: Mapping[str, Contents], rows: int, when: When, embedding: Tensor
    ) -> Kept:
        """The frames that are looked at; prompted ones are of the greatest age."""
        batch, _, *size = embedding.shape
        kept = [empty(batch, rows, size[0] * size[1], self.temporal)]
        given, recent = views[self.prompted], views[self.recent]
        if "value" in given.rows:
            age, seen = prompted_ages(given, when)
            ages = torch.full_like(age, self.frames), seen
            kept.append(take(given, "value", ages, PROMPTED_PRESENCE))
        if "value" in recent.rows:
            kept.append(take(recent, "value", frame_ages(recent, when, self.frames - 1)))
        return join(kept)

    def _pointers(
        self, views: Mapping[str, Contents], rows: int, when: When, embedding: Tensor
    ) -> Kept:
        """The pointers that are looked at, cut into tokens."""
        kept = [empty(len(embedding), rows, 1, self.nothing)]
        if self.pointers is not None:
            given, others = views[self.prompted], views[self.pointers]
            if "pointer" in given.rows:
                ages = prompted_ages(given, when)
                kept.append(take(given, "pointer", ages, PROMPTED_PRESENCE))
            if "pointer" in others.rows:
                ages = pointer_ages(others, when, self.max_pointers - 1)
                kept.append(take(others, "pointer", ages))
        return cut(join(kept), self.encoding)

    def _past(
        self, frames: Kept, pointers: Kept, size: Size, span: tuple[float, float] | None
    ) -> Past:
        """What A rows look back at.

        Args:
            frames: that they look at.
            pointers: that they look at.
            size: of a frame, in tokens.
            span: weights of the least and the most present entry; None to weigh all alike.
        """
        where = sine_positions(size, self.encoding, frames.tokens.device, first=1)
        time = self.temporal[(frames.age - 1).clamp(0, self.frames - 1)]
        frame_keys = frames.tokens + (where + time.unsqueeze(2))
        pointer_keys = pointers.tokens
        if self.pointer_time is not None:
            ago = pointers.age / (self.max_pointers - 1)
            code = self.pointer_time(sine_code(ago, self.embedding))
            pointer_keys = pointer_keys + code.unsqueeze(2)
        if span is not None:
            of_frames, of_pointers = weigh(frames, pointers, span)
            frame_keys = frame_keys * of_frames[..., None, None]
            pointer_keys = pointer_keys * of_pointers[..., None, None]
        seen = [kept.seen.repeat_interleave(kept.tokens.shape[2], 1) for kept in (frames, pointers)]
        mask = torch.cat(seen, 1)
        return Past(
            torch.cat((frame_keys.flatten(1, 2), pointer_keys.flatten(1, 2)), 1),
            torch.cat((frames.tokens.flatten(1, 2), pointers.tokens.flatten(1, 2)), 1),
            seen[1].shape[1],
            None if bool(mask.all()) else mask,
        )


def _check(
    embedding: int, value: int, layers: int, pointers: str | None, frames: int, max_pointers: int
) -> None:
    for name, width in (("embedding", embedding), ("value", value)):
        if width < 4 or width % 4:
            raise InputError(f"{name} is {width}: positions need a multiple of 4")
    if pointers is not None and embedding % value:
        raise InputError(
            f"embedding is {embedding}, value {value}: a pointer is cut into tokens of {value} "
            "channels, give a divisor of embedding, or pointers null"
        )
    for name, number, least in (
        ("layers", layers, 1),
        ("frames", frames, 1),
        ("max_pointers", max_pointers, 2),
    ):
        if number < least:
            raise InputError(f"{name} is {number}: give at least {least}")
