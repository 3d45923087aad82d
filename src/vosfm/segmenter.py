"""The sentence: an encoder, a mask encoder, a memory and a decoder that advance a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vosfm import identification
from vosfm.compatibility import check
from vosfm.decoders import Decoder
from vosfm.encoders import Encoder
from vosfm.errors import InputError
from vosfm.mask_encoders import MaskEncoder
from vosfm.memory import Memory
from vosfm.ops.aggregation import aggregate, compete, share
from vosfm.ops.resizing import prepare, resize_masks
from vosfm.prompters import Prompter
from vosfm.prompts import Given, sort_out, to_masks
from vosfm.proposals import SURE, certain, circumstances, fill, lay, propose, seen_before
from vosfm.types import (
    Box,
    Clip,
    Decoded,
    Encoding,
    Features,
    Geometry,
    Objects,
    Points,
    Prompt,
    Proposal,
    Size,
    State,
    When,
)


class Segmenter(nn.Module):
    """A video object segmentation model, advanced frame by frame.

    `propose` says what it sees in a frame, `commit` remembers it. Neither keeps anything: all that
    is known of a stream lies in the `State` that goes in and comes out.

    Args:
        encoder: from frames to features.
        mask_encoder: from masks to what the memory keeps of them.
        memory: what of the past is kept, and how it is looked at.
        decoder: from readout to mask logits.
        prompter: from boxes and points to masks, by the features of `encoder`; None for a model
            that is given masks alone.

    Raises:
        InputError: if the prompter has an encoder of its own, which a segmenter has no frames for.
    """

    def __init__(
        self,
        encoder: Encoder,
        mask_encoder: MaskEncoder,
        memory: Memory,
        decoder: Decoder,
        prompter: Prompter | None = None,
    ) -> None:
        super().__init__()
        check(encoder, mask_encoder, memory, decoder)
        if prompter is not None and prompter.encoder is not None:
            raise InputError(
                "a prompter that is part of a model reads the model's features; give one with an "
                "encoder of its own to Tracker(prompter=...)"
            )
        self.encoder = encoder
        self.mask_encoder = mask_encoder
        self.memory = memory
        self.decoder = decoder
        self.prompter = prompter

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.mean.device

    @property
    def understands(self) -> bool:
        """Whether what is given of a frame goes to the decoder, as it was given."""
        return self.decoder.prompted and not self.memory.reader.rereads

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths it can run at, ascending; the last is that of all layers of its reader."""
        *shallower, whole = self.memory.reader.depths
        decoded = self.decoder.depths or ()
        return (*(depth for depth in shallower if depth in decoded), whole)

    def start(
        self,
        size: Size,
        object_ids: tuple[int, ...] | list[int] = (),
        exclusive: bool = True,
        seed: int = 0,
    ) -> State:
        """The state of a stream before its first frame.

        Args:
            size: (H, W) of the frames.
            object_ids: objects to expect; more may join with any prompt.
            exclusive: whether a pixel belongs to one object at most.
            seed: of every random choice.

        Returns:
            A state of batch 1 that remembers nothing.
        """
        nobody = identification.nobody(exclusive, self.mask_encoder.identities)
        objects = identification.join(nobody, list(object_ids), None, 0)
        return State(size, 0, objects, self.memory.start(), seed)

    def encode(self, images: Tensor) -> Features:
        """Encode frames (B, 3, H, W) in [0, 1]."""
        features: Features = self.encoder(images)
        return features

    def propose(
        self,
        state: State,
        features: Features,
        prompts: Mapping[int, Given] | Prompt | None = None,
    ) -> Proposal:
        """Say what is seen in a frame.

        Args:
            state: of the stream before this frame.
            features: of the frame.
            prompts: what is given with the frame, by object id; ids not seen before join.

        Returns:
            The proposal. Where some objects are given and others are tracked, the tracked ones are
            seen first, and the frame is then read once more as a memory of all of them. A frame
            that something is given with is read at full depth, whatever that of the state.

        Raises:
            InputError: if nothing has been given yet, a prompt does not fit the frame, or the state
                asks for a depth that the model does not have.
        """
        if not prompts:
            if not bool((state.objects.born < state.time).any()):
                raise InputError(
                    f"frame {state.time}: no object has a mask yet: give the first frame's masks"
                )
            return self._decode(state, state.objects, features)
        state = replace(state, depth=None)
        if self.understands:
            return self._prompt(state, features, prompts)
        tracked = None
        if not isinstance(prompts, Prompt):
            if self._tracks_others(state, prompts):
                tracked = self._decode(state, state.objects, features)
            objects, prompt = self._join(state, features, prompts, tracked)
        else:
            objects, prompt = state.objects, prompts
        geometry = features.geometry
        size = geometry.prepared if self.mask_encoder.soft else geometry.source
        masks = self._settle(objects, geometry, prompt, tracked, size)
        encoding = self._encode_masks(features, masks, objects, prompt.void)
        if self.memory.reader.rereads:
            read = self._decode(state, objects, features, encoding)
            return replace(read, prompt=prompt, tracked=tracked)
        return Proposal(
            objects,
            geometry,
            certain(masks, geometry, self.decoder.stride),
            None if tracked is None else tracked.readout,
            carry={} if tracked is None else tracked.carry,
            encoding=encoding,
            prompt=prompt,
            tracked=tracked,
        )

    def commit(
        self,
        state: State,
        features: Features,
        proposal: Proposal,
        masks: Tensor | None = None,
        void: Tensor | None = None,
    ) -> State:
        """Remember a frame.

        Args:
            state: of the stream before this frame.
            features: of the frame.
            proposal: of the frame.
            masks: (B, O, H, W) corrected or true masks, probabilities or bool, at the source or
                the prepared size; None to remember what was proposed.
            void: (B, H, W) bool, pixels of `masks` without a truth; or None.

        Returns:
            The state before the next frame.
        """
        when = circumstances(state, proposal)
        banks, readout, encoding = state.banks, proposal.readout, proposal.encoding
        if not self.memory.due(banks, when):
            encoding = None
        elif masks is not None or encoding is None:
            if masks is None:
                masks = self._remembered(proposal)
            encoding = self._encode_masks(features, masks, proposal.objects, void)
        quality, presence = self._trust(proposal)
        carry = dict(proposal.carry)
        if proposal.objects.identities is None:
            carry |= {name: proposal.of_choice(leaf) for name, leaf in proposal.candidates.items()}
            carry |= {} if presence is None else {"presence": presence}
        entry = self.memory.reader.entry(features, readout, encoding, carry)
        entry = replace(entry, quality=quality, presence=presence)
        if readout is not None:
            banks = self.memory.observe(banks, readout.usage)
        banks = self.memory.write(banks, entry, when)
        return replace(state, time=state.time + 1, objects=proposal.objects, banks=banks)

    def aggregate(self, proposal: Proposal, *, size: Size | None = None) -> Tensor:
        """Turn a proposal into masks.

        Args:
            proposal: of a frame.
            size: of the masks; None for the source size.

        Returns:
            (B, O, H, W) probabilities in [0, 1]. Given masks stand as they were given; where
            objects exclude each other, they displace what was tracked. Of several candidates, the
            one with the best score.
        """
        size = size or proposal.geometry.source
        if proposal.prompt is None:
            return self._decoded(proposal, size)
        tracked = proposal if self.understands else proposal.tracked
        return self._settle(proposal.objects, proposal.geometry, proposal.prompt, tracked, size)

    def remove(self, state: State, object_ids: list[int] | tuple[int, ...]) -> State:
        """Forget objects; memory that no living object needs is dropped.

        Args:
            state: of a stream.
            object_ids: of objects in it.

        Returns:
            The state without them.

        Raises:
            InputError: if an object is not in the stream.
        """
        objects, rows = identification.leave(state.objects, list(object_ids))
        banks = self.memory.select(state.banks, rows) if rows else self.memory.start()
        return replace(state, objects=objects, banks=banks)

    def forward(
        self,
        clip: Clip,
        feed: Literal["truth", "prediction"] = "truth",
        shuffle: Sequence[int] | None = None,
        depth: int | None = None,
    ) -> list[Proposal]:
        """Unroll a clip for training: its first frame is given, the others are proposed.

        Args:
            clip: (B, T, ...) frames with masks.
            feed: what enters the memory after each frame, true masks or the model's own. Its own
                are encoded without gradient where they are hardened for it (AOT's sequential
                training), with gradient where they are not (XMem's).
            shuffle: B seeds, one for each sample, of a random identity for every object of it;
                None for no shuffling.
            depth: how many layers of a reader with several depths the proposed frames are read
                with; None for all.

        Returns:
            T proposals, that of the given frame included. In training at full depth, each has those
            of the shallower depths beside it, `Proposal.auxiliary`.

        Raises:
            InputError: if the model does not have this depth.
        """
        batch, length = clip.frames.shape[:2]
        encoded = self.encode(clip.images.flatten(0, 1))
        size = encoded.geometry.source
        objects = identification.enrol(clip, self.mask_encoder.identities, shuffle)
        seed = shuffle[0] if shuffle else 0
        state = State(size, 0, objects, self.memory.start(), seed, depth=depth)
        supervised = self.training and self._depth(state) is None
        proposals = []
        for t in range(length):
            features = _frame(encoded, batch, t)
            truth = clip.masks[:, t]
            void = None if clip.void is None else clip.void[:, t]
            given = Prompt(truth, clip.present, void) if t == 0 else None
            proposal = self.propose(state, features, given)
            if supervised:
                proposal = replace(proposal, auxiliary=self._shallower(features, proposal))
            proposals.append(proposal)
            if t == length - 1:
                break
            if t == 0 or (feed == "prediction" and self.mask_encoder.soft):
                state = self.commit(state, features, proposal)
            elif feed == "truth":
                state = self.commit(state, features, proposal, truth, void)
            else:
                with torch.no_grad():
                    masks = self.aggregate(proposal, size=features.geometry.prepared)
                    encoding = self.mask_encoder(features, masks, objects)
                state = self.commit(state, features, replace(proposal, encoding=encoding))
        return proposals

    def _decode(
        self,
        state: State,
        objects: Objects,
        features: Features,
        encoding: Encoding | None = None,
    ) -> Proposal:
        given, depth = encoding is not None, self._depth(state)
        when = When(state.time, given, state.seed, guidance=state.guidance, depth=depth)
        readout = self.memory.read(state.banks, features, objects.rows, when, encoding)
        decoded: Decoded = self.decoder(features, readout, objects)
        return propose(objects, features.geometry, readout, decoded, encoding=encoding)

    def _depth(self, state: State) -> int | None:
        """The depth that a state asks for; None for the full one."""
        if state.depth is None:
            return None
        check_depth(state.depth, self.depths)
        return None if state.depth == self.depths[-1] else state.depth

    def _shallower(self, features: Features, proposal: Proposal) -> tuple[Proposal, ...]:
        """What each depth but the full one believes of a frame that was read at full depth."""
        readout, believed = proposal.readout, []
        if readout is None:
            return ()
        for depth in self.depths[:-1]:
            shallow = replace(readout, maps=readout.maps[:depth])
            decoded: Decoded = self.decoder(features, shallow, proposal.objects)
            own = propose(proposal.objects, proposal.geometry, readout, decoded)
            believed.append(replace(own, encoding=proposal.encoding, prompt=proposal.prompt))
        return tuple(believed)

    def _prompt(
        self, state: State, features: Features, prompts: Mapping[int, Given] | Prompt
    ) -> Proposal:
        """Let the decoder see what is given with a frame."""
        drawn: dict[int, Box | Points] = {}
        if isinstance(prompts, Prompt):
            objects, prompt = state.objects, prompts
        else:
            source, known = features.geometry.source, seen_before(state)
            given = sort_out(
                prompts, source, state.time, state.objects.exclusive, self.device, known
            )
            objects = identification.join(state.objects, list(prompts), None, state.time)
            prompt = lay(objects, given.masks, source, self.device)
            columns = {int(i): c for c, i in enumerate(objects.ids[0]) if objects.alive[0, c]}
            drawn = {columns[object_id]: one for object_id, one in given.drawn.items()}
        fresh = objects.born >= state.time
        when = When(state.time, True, state.seed, guidance=state.guidance)
        readout = self.memory.read(state.banks, features, objects.rows, when)
        tracked = None if bool(fresh.all()) else self.decoder(features, readout, objects)
        decoded = self.decoder.prompt(features, readout, objects, prompt, drawn, tracked, fresh)
        pointed = torch.zeros_like(objects.alive)
        pointed[:, list(drawn)] = True
        return propose(
            objects,
            features.geometry,
            readout,
            decoded,
            prompt=prompt,
            pointed=pointed if drawn else None,
        )

    def _decoded(self, proposal: Proposal, size: Size) -> Tensor:
        """Probabilities (B, O, *size) of what was decoded of a frame."""
        logits, background = proposal.of_choice(proposal.logits), proposal.background
        within = self._within(proposal, size)
        if background is None and self.mask_encoder.independent:
            return compete(logits, proposal.objects, proposal.geometry, size, within)
        return aggregate(
            logits,
            None if background is None else background[:, :, 0],
            proposal.objects,
            proposal.geometry,
            size,
            within,
        )

    def _within(self, proposal: Proposal, size: Size) -> Tensor | None:
        """(B, O, *size) bool, where each object can be; None for everywhere."""
        return None

    def _remembered(self, proposal: Proposal) -> Tensor:
        """Masks (B, O, *prepared) of a proposal, as the memory takes them."""
        size = proposal.geometry.prepared
        if not self.mask_encoder.independent:
            return self.aggregate(proposal, size=size)
        alone = replace(proposal, objects=replace(proposal.objects, exclusive=False))
        masks = self._decoded(alone, size)
        if proposal.pointed is None:
            return masks
        # What a user pointed out is certain, however faint it was decoded.
        pointed = proposal.pointed.to(masks.device)[..., None, None]
        return torch.where(pointed, (masks > 0.5).to(masks.dtype), masks)

    def _trust(self, proposal: Proposal) -> tuple[Tensor | None, Tensor | None]:
        """Quality and presence (B, R) of what is remembered; None where a model does not tell."""
        if proposal.objects.identities is not None:
            return None, None
        told = proposal if self.understands or proposal.tracked is None else proposal.tracked
        quality = presence = None
        if self.decoder.candidates > 1:
            none = proposal.logits.new_zeros(told.logits.shape[:2])
            scores = none if told.scores is None else told.of_choice(told.scores)
            quality = fill(scores, proposal, 1.0)
        if self.decoder.presence:
            none = proposal.logits.new_zeros(told.logits.shape[:2])
            presence = none if told.presence is None else told.presence
            if not self.understands:  # a decoder that does says what it makes of a given mask
                presence = fill(presence, proposal, SURE)
        return quality, presence

    def _encode_masks(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None
    ) -> Encoding:
        """Encode masks (B, O, H, W) of the source or the prepared size."""
        if void is not None:
            void = prepare(void[:, None], features.geometry)[:, 0]
        encoding: Encoding = self.mask_encoder(
            features, prepare(masks, features.geometry), objects, void
        )
        return encoding

    def _settle(
        self,
        objects: Objects,
        geometry: Geometry,
        prompt: Prompt,
        tracked: Proposal | None,
        size: Size,
    ) -> Tensor:
        """Masks (B, O, *size) of a frame of which some are given and the others were tracked."""
        given = prompt.masks
        if size != geometry.source:
            given = resize_masks(prepare(given, geometry), size)
        given = given.float()
        if tracked is None:
            return given
        masks = (
            self._decoded(tracked, size) if self.understands else self.aggregate(tracked, size=size)
        )
        joined = objects.count - masks.shape[1]
        masks = torch.cat((masks, masks.new_zeros(masks.shape[0], joined, *size)), 1)
        if objects.exclusive:
            masks = masks * (given.amax(1, keepdim=True) == 0)
        masks = torch.where(prompt.given.to(masks.device)[..., None, None], given, masks)
        if tracked.background is None and objects.exclusive and not self.understands:
            return share(masks)
        return masks

    def _tracks_others(self, state: State, prompts: Mapping[int, Given]) -> bool:
        """Whether there are objects, seen before this frame, that nothing is given of."""
        return bool(seen_before(state) - set(prompts))

    def _join(
        self,
        state: State,
        features: Features,
        prompts: Mapping[int, Given],
        tracked: Proposal | None,
    ) -> tuple[Objects, Prompt]:
        """Make room for new objects, and lay their masks beside each other."""
        source = features.geometry.source
        predict = None if self.prompter is None else partial(self.prompter, features)
        exclusive = state.objects.exclusive
        masks = to_masks(prompts, source, state.time, exclusive, self.device, predict)
        seen = None
        if tracked is not None and not state.objects.exclusive:
            seen = self.aggregate(tracked)[0] > 0.5
        objects = identification.join(state.objects, list(masks), masks, state.time, seen)
        return objects, lay(objects, masks, source, self.device)


def check_depth(depth: int, depths: Sequence[int]) -> None:
    """Check that a model has a depth.

    Args:
        depth: that is asked for.
        depths: of the model.

    Raises:
        InputError: if it is none of them.
    """
    if depth not in depths:
        known = " or ".join(map(str, depths))
        remedy = "choose one of these" if len(depths) > 1 else "leave the depth out"
        raise InputError(f"depth {depth}: this model runs at depth {known}: {remedy}")


def _frame(features: Features, batch: int, index: int) -> Features:
    """One frame's features of those encoded together as (B*T, ...)."""

    def pick(maps: Tensor) -> Tensor:
        return maps.view(batch, -1, *maps.shape[1:])[:, index]

    return Features(
        pick(features.image),
        {stride: pick(level) for stride, level in features.pyramid.items()},
        pick(features.embedding),
        features.geometry,
    )
