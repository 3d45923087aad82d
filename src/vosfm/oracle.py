"""What a model would do if it were told the truth: where objects are, or what to remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.augmentation import PARTS, Augmented
from vosfm.data.video import Annotation, Mask, Video
from vosfm.errors import InputError
from vosfm.ops.resizing import prepare, resize_masks
from vosfm.prompts import Given
from vosfm.proposals import SURE, lay
from vosfm.segmenter import Segmenter
from vosfm.types import Clip, Encoding, Features, Geometry, Objects, Prompt, Proposal, Size, State

Oracle = Literal["box", "mask", "both"]
"""What a model is told of every frame: where its objects are, their masks to remember, or both."""

Told = Callable[[int], Annotation | None]
"""From the index of a frame to its true masks, None if they are not known."""

Window = tuple[slice, slice]
"""Rows and columns of the source frame."""


@dataclass(frozen=True)
class BoxedProposal(Proposal):
    """What is believed of a frame, and where its objects truly are.

    Attributes:
        windows: object id -> the box of its true mask, of those that have one; None of a frame
            without a truth.
    """

    windows: Mapping[int, Window] | None = None


class Informed(Segmenter):
    """A segmenter that an oracle tells the truth of each frame.

    Told boxes, it sees nothing of an object outside of its true box: what it would have seen there
    goes to the background and to other objects, before they compete. What is remembered is
    restricted likewise, except for a hidden state, which the decoder moves on by itself. Told
    masks, it remembers these in place of its own: their encoding, a pointer that the decoder makes
    of them, a quality of 1, and whether the object is there. What it answers in the frame itself
    does not change.

    An object without a mask in a frame that has a truth is absent: told boxes, nothing of it is
    seen. Frames without a truth are seen and remembered as usual. Given masks stand as they were
    given in both; in memory the truth displaces those that differ from it.

    In a joint map, objects that overlap and share a group cannot both have a pixel: it is that of
    the first. Which group an object joins depends on what is seen of the others, told masks or not.

    Training needs no oracle: `forward` is that of the model.

    Args:
        segmenter: the model; its weights are shared, not copied.
        told: the truth of a frame, by its index in the stream; ids are those of the prompts.
        oracle: what the model is told.

    Raises:
        InputError: if there is no such oracle, or the model is augmented or informed already; while
            tracking, if true masks do not fit their frame, or a stream of a memory tree was saved
            while frames waited, and goes on with boxes.

    Source: LVOS, the oracle analysis (Table 5).
    """

    def __init__(self, segmenter: Segmenter, told: Told, oracle: Oracle) -> None:
        # The parts are held by the model alone: twice in one module, they would be saved twice.
        nn.Module.__init__(self)
        if oracle not in get_args(Oracle):
            raise InputError(f"oracle is {oracle!r}: give one of {get_args(Oracle)}")
        if isinstance(segmenter, Augmented):
            raise InputError("the model is augmented already: inform it first, then augment that")
        if isinstance(segmenter, Informed):
            raise InputError(
                "the model is informed already: give one oracle; 'both' is box and mask"
            )
        self.segmenter = segmenter
        self.oracle = oracle
        self._told = lru_cache(maxsize=1)(told)  # a frame asks for it several times

    def __getattr__(self, name: str) -> Any:
        """The parts are those of the model."""
        return getattr(self.segmenter, name) if name in PARTS else super().__getattr__(name)

    def commit(
        self,
        state: State,
        features: Features,
        proposal: Proposal,
        masks: Tensor | None = None,
        void: Tensor | None = None,
    ) -> State:
        truth = None
        if self.oracle != "box":
            truth = self._truth(state.time, proposal.objects, features.geometry)
        if truth is None:
            return super().commit(state, features, proposal, masks, void)
        stands = torch.zeros_like(proposal.objects.alive)
        if proposal.prompt is not None:
            equal = (proposal.prompt.masks == truth.masks).flatten(2).all(2).cpu()
            stands = proposal.prompt.given & equal
        if bool((stands | ~proposal.objects.alive).all()):
            return super().commit(state, features, proposal)
        masks = truth.masks
        if self.mask_encoder.independent and bool(stands.any()):
            own = self._remembered(proposal)
            there = stands.to(own.device)[..., None, None]
            masks = torch.where(there, own, prepare(masks, features.geometry).to(own.dtype))
        proposal = self._certain(features, proposal, truth, stands)
        if proposal.prompt is not None and self.memory.reader.rereads:
            whole = replace(state, objects=proposal.objects)
            seen = super().propose(whole, features, truth)
            proposal = replace(
                proposal, readout=seen.readout, carry=seen.carry, encoding=seen.encoding
            )
            return super().commit(state, features, proposal)
        return super().commit(state, features, proposal, masks, truth.void)

    def forward(
        self,
        clip: Clip,
        feed: Literal["truth", "prediction"] = "truth",
        shuffle: Sequence[int] | None = None,
        depth: int | None = None,
    ) -> list[Proposal]:
        proposals: list[Proposal] = self.segmenter(clip, feed, shuffle, depth)
        return proposals

    def _decode(
        self,
        state: State,
        objects: Objects,
        features: Features,
        encoding: Encoding | None = None,
    ) -> Proposal:
        return self._boxed(state, features, super()._decode(state, objects, features, encoding))

    def _prompt(
        self, state: State, features: Features, prompts: Mapping[int, Given] | Prompt
    ) -> Proposal:
        return self._boxed(state, features, super()._prompt(state, features, prompts))

    def _boxed(self, state: State, features: Features, proposal: Proposal) -> Proposal:
        """A proposal that knows where its objects are, and which of them are absent."""
        if self.oracle == "mask":
            return proposal
        annotation = self._annotation(state.time, features.geometry)
        if annotation is None:
            return BoxedProposal(**vars(proposal))
        windows = _windows(annotation, features.geometry.mirrored)
        objects, presence = proposal.objects, proposal.presence
        absent = torch.tensor([[i not in windows for i in objects.ids[0].tolist()]])
        if proposal.prompt is not None:
            absent &= ~proposal.prompt.given
        proposal = BoxedProposal(**vars(proposal), windows=windows)
        if presence is None or not bool(absent.any()):
            return proposal
        gone = absent.to(presence.device)
        candidates = proposal.candidates
        if self.understands:
            shape = (1, objects.count, *features.geometry.source)
            nothing = torch.zeros(shape, dtype=torch.bool, device=self.device)
            candidates = _displaced(candidates, self._said_of(features, proposal, nothing), gone)
        return replace(proposal, presence=presence.masked_fill(gone, -SURE), candidates=candidates)

    def _within(self, proposal: Proposal, size: Size) -> Tensor | None:
        if self.oracle == "mask" or not proposal.objects.count:
            return None
        if not isinstance(proposal, BoxedProposal):
            raise InputError(
                "the stream was saved while frames waited, whose boxes it does not hold: save it "
                "where Tracker.reported is Tracker.time, or use Greedy"
            )
        if proposal.windows is None:
            return None
        geometry = proposal.geometry
        within = torch.zeros(
            1, proposal.objects.count, *geometry.source, dtype=torch.bool, device=self.device
        )
        for column, object_id in enumerate(proposal.objects.ids[0].tolist()):
            if object_id in proposal.windows:
                within[0, column][proposal.windows[object_id]] = True
        if proposal.prompt is not None:
            within |= proposal.prompt.given.to(self.device)[..., None, None]
        return _resized(within, geometry, size)

    def _certain(
        self, features: Features, proposal: Proposal, truth: Prompt, stands: Tensor
    ) -> Proposal:
        """A proposal that says of true masks what there is to say, for the memory."""
        if proposal.objects.identities is not None:
            return proposal
        candidates = {n: proposal.of_choice(m).unsqueeze(2) for n, m in proposal.candidates.items()}
        if self.understands:
            told = ~stands.to(truth.masks.device)
            said = self._said_of(features, proposal, truth.masks)
            candidates = _displaced(candidates, said, told)
        scores = presence = None
        if self.decoder.candidates > 1:
            scores = proposal.logits.new_ones(*proposal.logits.shape[:2], 1)
        if self.decoder.presence:
            presence = (truth.masks.flatten(2).any(2) * 2 - 1).to(proposal.logits) * SURE
        # What others were tracked as is not what is remembered of them.
        return replace(
            proposal, candidates=candidates, scores=scores, presence=presence, tracked=None
        )

    def _said_of(
        self, features: Features, proposal: Proposal, masks: Tensor
    ) -> Mapping[str, Tensor]:
        """What a decoder that understands masks (1, O, H, W) says of them, (1, O, 1, ...) each."""
        assert proposal.readout is not None
        alive = proposal.objects.alive
        prompt, new = Prompt(masks, alive), torch.ones_like(alive)
        said = self.decoder.prompt(
            features, proposal.readout, proposal.objects, prompt, {}, None, new
        )
        return {name: leaf[:, :, :1] for name, leaf in said.candidates.items()}

    def _truth(self, time: int, objects: Objects, geometry: Geometry) -> Prompt | None:
        """The true masks of all objects, as if they were given; None if they are not known."""
        annotation = self._annotation(time, geometry)
        if annotation is None:
            return None
        rows = zip(annotation.object_ids, annotation.masks, strict=True)
        masks = {object_id: self._turned(mask, geometry) for object_id, mask in rows}
        laid = lay(objects, masks, geometry.source, self.device)
        void = annotation.void
        return Prompt(
            laid.masks, objects.alive, None if void is None else self._turned(void, geometry)[None]
        )

    def _turned(self, mask: Mask, geometry: Geometry) -> Tensor:
        """A mask (H, W) as its frame is seen."""
        turned = torch.from_numpy(np.ascontiguousarray(mask)).to(self.device)
        return turned.flip(-1) if geometry.mirrored else turned

    def _annotation(self, time: int, geometry: Geometry) -> Annotation | None:
        annotation = self._told(time)
        if annotation is not None and annotation.masks.shape[1:] != geometry.source:
            raise InputError(
                f"frame {time}: true masks of shape {annotation.masks.shape[1:]}, the frame is "
                f"{geometry.source}: give masks of its size"
            )
        return annotation


def inform(segmenter: Segmenter, told: Told, oracle: Oracle) -> Informed:
    """Let an oracle tell a model the truth of each frame.

    It comes after `vosfm.fuse` and before `vosfm.augment`. A model is informed of one video.

    Args:
        segmenter: the model.
        told: the truth of a frame, by its index in the stream, such as `Video.annotation`.
        oracle: "box" to see objects within their true boxes only, "mask" to remember true masks,
            or "both".

    Returns:
        The model as `Informed`.

    Raises:
        InputError: as `Informed`.

    Example:
        >>> import vosfm
        >>> from vosfm.data import ProceduralVideos
        >>> video = ProceduralVideos([0])[0]
        >>> informed = vosfm.inform(vosfm.build("aot_nano"), video.annotation, "box")
        >>> results = vosfm.Tracker(informed).track(video.frames(), video.prompts())
    """
    return Informed(segmenter, told, oracle)


def truth_of(video: Video) -> Told:
    """What an oracle can tell of a video.

    Raises:
        InputError: if no frame but those in which objects are given has masks.
    """
    given = sorted(video.prompts())
    if not set(video.annotated()) - set(given):
        frames = ", ".join(video.frame_names[index] for index in given[:6]) or "none"
        raise InputError(
            f"{video.name}: no frame has true masks but those in which objects are given "
            f"({frames}), so an oracle knows nothing: choose a split with its annotations, or "
            "leave the oracle out"
        )
    return video.annotation


def _windows(annotation: Annotation, mirrored: bool) -> dict[int, Window]:
    """The boxes of masks that are not empty, by object id."""
    windows = {}
    for object_id, mask in zip(annotation.object_ids, annotation.masks, strict=True):
        if not mask.any():
            continue
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        if mirrored:
            left, right = mask.shape[1] - right, mask.shape[1] - left
        windows[object_id] = (slice(int(rows[0]), int(rows[-1]) + 1), slice(left, right))
    return windows


def _resized(within: Tensor, geometry: Geometry, size: Size) -> Tensor:
    """Bring windows (B, O, H, W) of the source frame to another size, as masks are brought there.

    In the padding of the prepared image, what lies at an edge of the frame goes on.
    """
    if size != geometry.prepared:
        return resize_masks(within, size)
    (top, left), (height, width) = geometry.offset, geometry.content
    below, right = size[0] - top - height, size[1] - left - width
    inner = resize_masks(within, geometry.content).float()
    return F.pad(inner, (left, right, top, below), mode="replicate").bool()


def _displaced(
    leaves: Mapping[str, Tensor], others: Mapping[str, Tensor], which: Tensor
) -> dict[str, Tensor]:
    """Leaves (B, O, K, ...), with others (B, O, 1, ...) in their place of some objects (B, O)."""
    return {
        name: torch.where(which[(...,) + (None,) * (leaf.dim() - 2)], others[name].to(leaf), leaf)
        for name, leaf in leaves.items()
    }
