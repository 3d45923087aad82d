"""The words every part of vosfm speaks: clips, features, objects, memory entries, proposals, state.

Letters in all shapes: B batch, T frames, O objects, K candidates, R rows, C channels, H W pixels,
h w tokens, N = h*w, M memory entries. A *row* is what a memory keeps apart: one object for models
that encode every object alone, one identity group for models that encode them in one joint map.

Everything here is a frozen dataclass: a step never changes what it was given, so a state can be
forked by sharing it, saved, and resumed exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

Size = tuple[int, int]
"""Height and width, in pixels or tokens."""


@dataclass(frozen=True)
class Clip:
    """A batch of annotated training clips.

    Attributes:
        frames: (B, T, 3, H, W) RGB, uint8 as loaders deliver it, or float in [0, 1].
        masks: (B, T, O, H, W) bool; masks of one frame may overlap.
        present: (B, O) bool, False where a sample was padded to the widest of its batch.
        void: (B, T, H, W) bool, pixels without a truth (neither object nor background); or None.
        names: the source of each sample, for messages.
    """

    frames: Tensor
    masks: Tensor
    present: Tensor
    void: Tensor | None = None
    names: tuple[str, ...] = ()

    @property
    def images(self) -> Tensor:
        """(B, T, 3, H, W) float in [0, 1], RGB.

        Bytes become floats where they are used: on the way there they take a fourth of the room.
        """
        return self.frames if self.frames.is_floating_point() else self.frames.float().div_(255)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Clip:
        """The same clip with its pixels on another device."""
        return replace(
            self,
            frames=self.frames.to(device, non_blocking=non_blocking),
            masks=self.masks.to(device, non_blocking=non_blocking),
            void=None if self.void is None else self.void.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Clip:
        """The same clip in page-locked memory (called by the data loader)."""
        return replace(
            self,
            frames=self.frames.pin_memory(),
            masks=self.masks.pin_memory(),
            void=None if self.void is None else self.void.pin_memory(),
        )


@dataclass(frozen=True)
class Geometry:
    """How a source frame became the prepared image that an encoder sees.

    Attributes:
        source: size of the frame as given.
        content: size of the resized frame inside the prepared image.
        prepared: size of the prepared image, content plus padding.
        align_corners: whether maps of different strides share their corner pixels (sides 16k+1)
            or their corner edges (sides 16k).
        offset: rows above and columns left of the content in the prepared image.
        mirrored: whether left and right of the frame were exchanged before.
    """

    source: Size
    content: Size
    prepared: Size
    align_corners: bool = False
    offset: tuple[int, int] = (0, 0)
    mirrored: bool = False


@dataclass(frozen=True)
class Features:
    """What an encoder says of a frame.

    Attributes:
        image: (B, 3, H, W), the prepared image: resized, normalised, padded.
        pyramid: stride -> (B, C, h, w), for skip connections.
        embedding: (B, C, h, w), the map that memory matches on.
        geometry: from source frame to prepared image.
    """

    image: Tensor
    pyramid: Mapping[int, Tensor]
    embedding: Tensor
    geometry: Geometry


@dataclass(frozen=True)
class Box:
    """A box prompt: corners in pixels of the source frame, x to the right and y down."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Points:
    """Point prompts: ((x, y), ...) in pixels of the source frame, labels 1 inside and 0 outside.

    With a `box`, both speak of the same object.
    """

    xy: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    box: Box | None = None


@dataclass(frozen=True)
class Prompt:
    """What a user or a training clip says of objects in one frame.

    Attributes:
        masks: (B, O, H, W) bool at the source size; rows that are not given are False.
        given: (B, O) bool, on the CPU, the objects that `masks` speaks of.
        void: (B, H, W) bool, pixels that belong to nothing known; or None.
    """

    masks: Tensor
    given: Tensor
    void: Tensor | None = None


@dataclass(frozen=True)
class Objects:
    """Which objects there are. Bookkeeping: its tensors stay on the CPU.

    Attributes:
        ids: (B, O) int64, the user's names of the objects.
        alive: (B, O) bool, False for padding.
        slot: (B, O) int64; with n identities per group, slot // n is the group and slot % n the
            identity within it. Models without identities ignore it.
        born: (B, O) int64, time at which the object was first given.
        exclusive: whether a pixel belongs to one object at most. Where it may belong to several,
            objects that overlap are kept in different groups.
        identities: n, the size of an identity group; None where every object is a row of its own.
    """

    ids: Tensor
    alive: Tensor
    slot: Tensor
    born: Tensor
    exclusive: bool = True
    identities: int | None = None

    @property
    def count(self) -> int:
        """The length of the object axis."""
        return self.ids.shape[1]

    @property
    def row(self) -> Tensor:
        """(B, O) int64, the memory row of each object: its identity group, or its own."""
        return self.slot // (self.identities or 1)

    def members(self, row: int) -> tuple[list[int], Tensor]:
        """The columns of the objects that any sample keeps in a row, and (B, columns) which do.

        Samples of a batch may keep an object in different rows.
        """
        inside = self.row == row
        columns = inside.any(0).nonzero()[:, 0].tolist()
        return columns, inside[:, columns]

    @property
    def rows(self) -> int:
        """R, how many rows a memory keeps for these objects."""
        return int(self.row.max()) + 1 if self.count else 0


@dataclass(frozen=True)
class Encoding:
    """What a mask encoder says of the masks of one frame.

    Attributes:
        maps: (B, R, C, h, w), one map per row.
    """

    maps: Tensor


@dataclass(frozen=True)
class Readout:
    """What a reader says of a frame, seen through its memory.

    Attributes:
        maps: (B, R, C, h, w) each, for the decoder; of one row where all rows read the same.
        carry: what `entry` needs later, so that a write recomputes nothing.
        usage: bank -> (B, tokens), how much each of its tokens was looked at, for banks that keep
            what is used.
    """

    maps: tuple[Tensor, ...]
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    usage: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """What a decoder makes of a readout.

    Attributes:
        logits: (B, O, K, h, w), K candidates per object.
        background: (B, G, K, h, w), the background of each identity group, for decoders that
            learn one; else None.
        scores: (B, O, K), predicted quality of each candidate in [0, 1]; None where K is 1.
        carry: what the memory wants to know of the decoding, (B, R, ...) each; "hidden" is the
            hidden state as the decoder moves it on.
        presence: (B, O), logit that an object is in the frame at all; None if nobody says.
        candidates: what the memory wants to know of each candidate, (B, O, K, ...) each.
    """

    logits: Tensor
    background: Tensor | None = None
    scores: Tensor | None = None
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    presence: Tensor | None = None
    candidates: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """What is worth keeping of one frame.

    Attributes:
        rows: named tensors, (B, R, ...) each; empty where the frame's masks were not encoded.
        shared: named tensors that all rows have in common, (B, ...) each.
        state: named maps (B, R, C, h, w) that recurrent banks follow: "value", of the masks if they
            were encoded, and "hidden"; "embedding", of the frame, is the same for all rows, R = 1.
        quality: (B, R), how good the remembered masks are said to be, in [0, 1]; 1 where they were
            given. None if nobody says.
        presence: (B, R), logit that the object is in the frame; None if nobody says.
        depth: how many layers of the reader the frame was read with, and so gave tensors to `rows`;
            None for all of them.
    """

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    quality: Tensor | None = None
    presence: Tensor | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Guidance:
    """What a search asks of the memory.

    Attributes:
        iou_threshold: only frames whose masks are said to be better are remembered, and only where
            the object was in the frame; None to remember as the model does.
        modulation: factors of the keys of the least and the most present entry, those between
            them in order; None to look at all entries alike.
        official: do as the released SAM2Long does where it differs from its paper.

    Source: SAM2Long, section 3.3.
    """

    iou_threshold: float | None = None
    modulation: tuple[float, float] | None = None
    official: bool = False

    @property
    def selects(self) -> bool:
        """Whether only some frames are remembered."""
        return self.iou_threshold is not None


@dataclass(frozen=True)
class When:
    """The circumstances of a look at the memory, or of a write.

    Attributes:
        time: index of the frame in the stream.
        given: whether the frame was prompted, and so can be trusted.
        seed: the state's seed; a random choice is a function of (seed, time).
        rows: (B, R) bool on the CPU, the rows that were prompted; None for all of them or none, as
            `given` says.
        guidance: what a search asks of the memory; None for nothing.
        depth: how many layers of a reader with several depths the frame is read with; None for all.
    """

    time: int
    given: bool
    seed: int = 0
    rows: Tensor | None = None
    guidance: Guidance | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Contents:
    """What a bank holds.

    Attributes:
        rows: named tensors, (B, R, M, ...) each, oldest entry first.
        shared: named tensors that all rows have in common, (B, M, ...) each.
        time: (B, R, M) int64 on the CPU, the frame each entry comes from.
        valid: (B, R, M) bool on the CPU, False where a row has no such entry; None if all have.
        depth: (M,) int64 on the CPU, how many layers of the reader each entry has tensors of; those
            of further layers are zeros and mean nothing. None if every entry has all; beside
            others, one that has all says more than any reader has.
    """

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    time: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, dtype=torch.int64))
    valid: Tensor | None = None
    depth: Tensor | None = None

    @property
    def count(self) -> int:
        """M, the number of entries."""
        return self.time.shape[2]


@dataclass(frozen=True)
class State:
    """Everything a segmenter knows of a stream after its last committed frame.

    Attributes:
        size: height and width of the source frames.
        time: index of the next frame.
        objects: the objects of the stream.
        banks: name -> contents.
        seed: every random choice is a function of (seed, time).
        guidance: what a search asks of the memory; None for nothing.
        depth: how many layers of a reader with several depths the coming frames are read with; None
            for all. Frames that something is given with are always read with all.
    """

    size: Size
    time: int
    objects: Objects
    banks: Mapping[str, Contents]
    seed: int = 0
    guidance: Guidance | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Proposal:
    """What a segmenter believes of a frame, before anything is remembered.

    Attributes:
        objects: the objects spoken of; those of the state and those that join with this frame.
        geometry: of the frame.
        logits: (B, O, K, h, w), K candidates per object.
        background: (B, G, K, h, w), the background of each identity group, for models that learn
            one; else None.
        scores: (B, O, K), predicted quality of each candidate in [0, 1]; None where K is 1.
        readout: what the memory said, kept for the write; None of a frame that the memory was not
            asked about, because all its masks were given.
        carry: what the decoder says to the memory, kept for the write.
        encoding: of the given masks, if there were any.
        prompt: what was given with this frame; overrides what was decoded.
        tracked: where some objects were given and others tracked, the proposal made without the
            given ones; it speaks for the others.
        presence: (B, O), logit that an object is in the frame at all; None if nobody says.
        candidates: what the memory wants to know of each candidate, (B, O, K, ...) each.
        pointed: (B, O) bool on the CPU, objects that were given by boxes or points which the
            decoder itself understood; None if there are none.
        auxiliary: in training of a model with several depths, what each of its shallower depths
            believes of the same frame, the shallowest first; shares readout and prompt.
    """

    objects: Objects
    geometry: Geometry
    logits: Tensor
    readout: Readout | None
    background: Tensor | None = None
    scores: Tensor | None = None
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    encoding: Encoding | None = None
    prompt: Prompt | None = None
    tracked: Proposal | None = None
    presence: Tensor | None = None
    candidates: Mapping[str, Tensor] = field(default_factory=dict)
    pointed: Tensor | None = None
    auxiliary: tuple[Proposal, ...] = ()

    @property
    def given(self) -> Tensor:
        """(B, O) bool on the CPU: the objects that something was given of with this frame."""
        masks = torch.zeros_like(self.objects.alive) if self.prompt is None else self.prompt.given
        return masks if self.pointed is None else masks | self.pointed

    def chosen(self) -> Tensor:
        """(B, O) int64: the candidate that speaks for each object, that with the best score."""
        if self.scores is None:
            shape = self.logits.shape[:2]
            return torch.zeros(shape, dtype=torch.int64, device=self.logits.device)
        return self.scores.argmax(2)

    def of_choice(self, leaf: Tensor) -> Tensor:
        """(B, O, ...), what a leaf (B, O, K, ...) says of the candidates that speak."""
        if leaf.shape[2] == 1:
            return leaf[:, :, 0]
        index = self.chosen()[(...,) + (None,) * (leaf.dim() - 2)]
        return leaf.take_along_dim(index, 2)[:, :, 0]
