"""Test-time augmentation: a model that looks at every frame at several scales, and mirrored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vosfm.errors import InputError
from vosfm.ops.masks import harden
from vosfm.prompts import Given
from vosfm.segmenter import Segmenter
from vosfm.types import Clip, Features, Prompt, Proposal, Size, State

PARTS = ("encoder", "mask_encoder", "memory", "decoder", "prompter")
"""What a segmenter is made of; one that is made of another segmenter has that one's."""


@dataclass(frozen=True)
class View:
    """One way to look at a frame.

    Attributes:
        scale: of the frame's sides, above 0.
        flipped: whether left and right are exchanged.
    """

    scale: float = 1.0
    flipped: bool = False

    @property
    def name(self) -> str:
        """As in the names of its banks: ``1.3-flip``."""
        return f"{self.scale:g}" + "-flip" * self.flipped

    def turn(self, maps: Tensor) -> Tensor:
        """From the frame (..., W) to the view, or back."""
        return maps.flip(-1) if self.flipped else maps


@dataclass(frozen=True)
class ViewedFeatures(Features):
    """Features of a frame in every view; the inherited ones are those of the first view."""

    views: tuple[Features, ...] = ()


@dataclass(frozen=True)
class ViewedProposal(Proposal):
    """What is believed of a frame in every view.

    The inherited tensors are those of the first view; masks are made of all of them.
    """

    views: tuple[Proposal, ...] = ()


class Augmented(Segmenter):
    """A segmenter whose masks are the mean over several views of the frame.

    Every view has features and banks of its own; a bank of the state is named after its view,
    ``1.3-flip/local``. The views agree on every frame: their probabilities, at the source size and
    turned back, are averaged, and what that mean decides is what each of them remembers. Given
    masks reach each view turned as it is.

    A frame is resized once, from its own size to that of a view. The scale is applied before the
    encoder's own rule, whose `long_edge` is a limit of every view: at 480 x 854 with a limit of
    1040, scales above 1.22 look the same. The released evaluation limits the frame first and
    scales it then; give the encoder a higher limit to have its sizes.

    Training is not augmented: `forward` is that of the model.

    Args:
        segmenter: the model; its weights are shared, not copied.
        scales: of the frame, each above 0; their order is that of the views.
        flip: look at every scale mirrored, too.

    Raises:
        InputError: if there is no scale, a scale is not above 0 or given twice, or the model is
            augmented already.

    Source: AOT, the evaluation released with the paper. There, since the release of DeAOT, every
        view remembers what it alone would decide.
    """

    def __init__(
        self, segmenter: Segmenter, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> None:
        # The parts are held by the model alone: twice in one module, they would be saved twice.
        nn.Module.__init__(self)
        if isinstance(segmenter, Augmented):
            raise InputError("the model is augmented already: give all scales at once")
        if not scales:
            raise InputError("no scale is given: give at least one; 1 is the frame as it is")
        for scale in scales:
            if not (math.isfinite(scale) and scale > 0):
                raise InputError(f"scale {scale}: give numbers above 0")
        self.views = tuple(
            View(float(scale), flipped) for scale in scales for flipped in (False, True)[: 1 + flip]
        )
        names = [view.name for view in self.views]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"scale {name} is given twice: give every scale once")
        self.segmenter = segmenter

    def __getattr__(self, name: str) -> Any:
        """The parts are those of the model."""
        return getattr(self.segmenter, name) if name in PARTS else super().__getattr__(name)

    def start(
        self,
        size: Size,
        object_ids: tuple[int, ...] | list[int] = (),
        exclusive: bool = True,
        seed: int = 0,
    ) -> State:
        state = self.segmenter.start(size, object_ids, exclusive, seed)
        return self._merge(state for _ in self.views)

    def encode(self, images: Tensor) -> ViewedFeatures:
        views = tuple(self._look(images, view) for view in self.views)
        return ViewedFeatures(**vars(views[0]), views=views)

    def propose(
        self,
        state: State,
        features: Features,
        prompts: Mapping[int, Given] | Prompt | None = None,
    ) -> ViewedProposal:
        if not prompts:
            return _propose(
                self.segmenter.propose(own, seen) for _, own, seen in self._each(state, features)
            )
        tracked = None
        state = replace(state, depth=None)  # of a frame that something is given with
        if isinstance(prompts, Prompt):
            objects, prompt = state.objects, prompts
        else:
            if self._tracks_others(state, prompts):
                tracked = self.propose(state, features)
            objects, prompt = self._join(state, features, prompts, tracked)
        source = features.geometry.source
        masks = harden(self._settle(objects, features.geometry, prompt, tracked, source), objects)
        settled = [
            Prompt(
                view.turn(masks),
                objects.alive,
                None if prompt.void is None else view.turn(prompt.void),
            )
            for view in self.views
        ]
        proposal = _propose(
            self.segmenter.propose(replace(own, objects=objects), seen, given)
            for (_, own, seen), given in zip(self._each(state, features), settled, strict=True)
        )
        return replace(proposal, prompt=prompt, tracked=tracked)

    def commit(
        self,
        state: State,
        features: Features,
        proposal: Proposal,
        masks: Tensor | None = None,
        void: Tensor | None = None,
    ) -> State:
        assert isinstance(proposal, ViewedProposal)
        if masks is None and proposal.prompt is None and len(self.views) > 1:
            masks = self.aggregate(proposal)
        return self._merge(
            self.segmenter.commit(
                own,
                seen,
                believed,
                None if masks is None else view.turn(masks),
                None if void is None else view.turn(void),
            )
            for (view, own, seen), believed in zip(
                self._each(state, features), proposal.views, strict=True
            )
        )

    def aggregate(self, proposal: Proposal, *, size: Size | None = None) -> Tensor:
        if proposal.prompt is not None:
            return super().aggregate(proposal, size=size)
        assert isinstance(proposal, ViewedProposal)
        size = size or proposal.geometry.source
        masks = (
            view.turn(self.segmenter.aggregate(believed, size=size))
            for view, believed in zip(self.views, proposal.views, strict=True)
        )
        return reduce(torch.add, masks) / len(self.views)

    def remove(self, state: State, object_ids: list[int] | tuple[int, ...]) -> State:
        return self._merge(
            self.segmenter.remove(self._own(state, view), object_ids) for view in self.views
        )

    def forward(
        self,
        clip: Clip,
        feed: Literal["truth", "prediction"] = "truth",
        shuffle: Sequence[int] | None = None,
        depth: int | None = None,
    ) -> list[Proposal]:
        proposals: list[Proposal] = self.segmenter(clip, feed, shuffle, depth)
        return proposals

    def _look(self, images: Tensor, view: View) -> Features:
        height, width = images.shape[-2:]
        scaled = (max(1, int(height * view.scale)), max(1, int(width * view.scale)))
        geometry = self.encoder.geometry(scaled)
        geometry = replace(geometry, source=(height, width), mirrored=view.flipped)
        image = self.encoder.prepare(view.turn(images), geometry)
        pyramid, embedding = self.encoder.extract(image)
        return Features(image, pyramid, embedding, geometry)

    def _each(self, state: State, features: Features) -> Iterator[tuple[View, State, Features]]:
        """Every view, with the state and the features that are its own."""
        assert isinstance(features, ViewedFeatures)
        for view, seen in zip(self.views, features.views, strict=True):
            yield view, self._own(state, view), seen

    def _own(self, state: State, view: View) -> State:
        """The state as the model knows it in one view."""
        prefix = f"{view.name}/"
        banks = {
            name.removeprefix(prefix): contents
            for name, contents in state.banks.items()
            if name.startswith(prefix)
        }
        return replace(state, banks=banks)

    def _merge(self, states: Iterable[State]) -> State:
        """One state of those of all views; they differ in their banks alone."""
        own = list(states)
        banks = {
            f"{view.name}/{name}": contents
            for view, state in zip(self.views, own, strict=True)
            for name, contents in state.banks.items()
        }
        return replace(own[0], banks=banks)


def augment(
    segmenter: Segmenter, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Segmenter:
    """Let a model look at every frame at several scales, and mirrored.

    Args:
        segmenter: the model.
        scales: of the frame, each above 0.
        flip: look at every scale mirrored, too.

    Returns:
        The model as `Augmented`; the model itself if the one view is the frame as it is.

    Raises:
        InputError: as `Augmented`.

    Example:
        >>> import vosfm
        >>> tracker = vosfm.Tracker(vosfm.augment(vosfm.build("aot_t"), (1.0, 1.3), flip=True))
        >>> [view.name for view in tracker.segmenter.views]
        ['1', '1-flip', '1.3', '1.3-flip']
    """
    augmented = Augmented(segmenter, scales, flip)
    return segmenter if augmented.views == (View(),) else augmented


def _propose(proposals: Iterable[Proposal]) -> ViewedProposal:
    views = tuple(proposals)
    first = {field.name: getattr(views[0], field.name) for field in fields(Proposal)}
    return ViewedProposal(**first, views=views)
