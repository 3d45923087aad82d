"""PerSAM: a SAM that is made to look for one thing, by one mask of it and without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vosfm.ops.resizing import pad, shrink
from vosfm.peers.peer import Found, FrameByFrame, Image, Mask
from vosfm.peers.sam import Answer, Guidance, Sam, box_of
from vosfm.prompters import Prompter
from vosfm.types import Features

Pooling = Literal["mean", "mean and max"]
"""What a target's feature is of the features inside its mask: their mean, or half the mean and half
the maximum of each channel."""

VIDEO: dict[str, Any] = {
    "positives": 2,
    "negatives": 0,
    "pooling": "mean and max",
    "guided": False,
    "semantic": False,
    "margin": 10,
}
"""Arguments of `PerSam` as its authors segment videos."""


@dataclass(frozen=True)
class Target:
    """What is known of an object.

    Attributes:
        semantic: (C,), the feature of what was given of it.
        direction: (C,), the same of length 1.
        box: left, top, right and bottom of its last mask that was not empty, widened; None where
            it is not looked at.
        weights: (3,), how much each of SAM's masks counts; None to trust SAM.
    """

    semantic: Tensor
    direction: Tensor
    box: tuple[float, float, float, float] | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class Prompt:
    """Where SAM is pointed to: points (P, 2), labels (P,), box, and what guides the decoder."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    box: tuple[float, float, float, float] | None
    guidance: Guidance | None


class PerSam(FrameByFrame[Features, Target]):
    """Finds in every frame what is most like what was given, and lets SAM segment it.

    The feature of a target is pooled inside its mask. Its cosine similarity with the features of a
    frame tells where it is most likely, and where least: points inside and outside. SAM answers
    them, led to the target if asked; its mask is refined by prompting it with that mask, then with
    the mask and its box.

    The defaults are the method of the paper, which knows of no time: every frame is searched as a
    whole. `VIDEO` holds what its authors do in videos, where the paper only says that the last
    frame's mask prompts, too: the box of the last mask is a prompt, widened by 10 pixels, its
    middle one more point inside; there are two points by similarity, none outside, and the decoder
    is not led. SAM then tells three masks at first, of which the largest goes on. The feature is
    that of the first frame in either case.

    Args:
        prompter: a SAM with an encoder of its own.
        exclusive: whether a pixel belongs to one object at most.
        positives: points inside.
        negatives: points outside.
        pooling: what the feature is.
        guided: lead the attention of the decoder to what is similar.
        semantic: tell the decoder the feature.
        margin: pixels by which the box of the last mask, which then is a prompt, is widened; None
            to look at the frame alone.

    Raises:
        InputError: if the prompter is no SAM, or has no encoder.
        ValueError: if an argument is out of range.

    Source: PerSAM (Zhang et al., 2023), section 3.2; section 4.2 and the released persam_video for
        `VIDEO`. The released code takes a place of the feature map as inside where a mask,
        normalised like an image, is above 0 there; here it is where more than half of it is
        covered, or, if none is, the place that is covered most. An object that SAM finds nothing of
        is looked for where it was last seen; the released code fails there. Of the first three
        masks, the released code counts pixels in 8 bits before it takes the largest. It also lays
        the similarity of the frame without its padding over the features with theirs, to lead the
        attention; here both are of the same places.
    """

    def __init__(
        self,
        prompter: Prompter,
        exclusive: bool = True,
        positives: int = 1,
        negatives: int = 1,
        pooling: Pooling = "mean",
        guided: bool = True,
        semantic: bool = True,
        margin: int | None = None,
    ) -> None:
        super().__init__(exclusive, prompter)
        if positives < 1 or negatives < 0:
            raise ValueError("give at least 1 point inside, and no less than 0 outside")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {pooling!r}: give one of {get_args(Pooling)}")
        if margin is not None and margin < 0:
            raise ValueError(f"margin is {margin}: give at least 0, or None")
        self._sam = Sam(prompter)
        self.positives = positives
        self.negatives = negatives
        self.pooling = pooling
        self.guided = guided
        self.semantic = semantic
        self.margin = margin

    def look(self, frame: Image, index: int, before: Features | None) -> Features:
        return self._sam.look(frame)

    def begin(self, view: Features, mask: Mask, object_id: int) -> Target:
        feature = pooled(view, mask, self.pooling)
        box = None if self.margin is None else box_of(mask, self.margin)
        return Target(feature, feature / feature.norm(), box)

    def find(self, view: Features, known: Mapping[int, Target]) -> dict[int, Found[Target]]:
        return {object_id: self._find(view, target) for object_id, target in known.items()}

    def update(self, view: Features, known: Target, mask: Mask, object_id: int) -> Target:
        if self.margin is None or not mask.any():
            return known
        return replace(known, box=box_of(mask, self.margin))

    def _find(self, view: Features, target: Target) -> Found[Target]:
        prompt = self._prompt(view, target)
        answer = self._refine(view, self._first(view, target, prompt), prompt)
        best = answer.best
        logits = self._sam.restore(answer.logits[best : best + 1], view)[0]
        return Found(logits.cpu().numpy(), float(answer.quality[best].clamp(0, 1)), target)

    def _prompt(self, view: Features, target: Target) -> Prompt:
        places = _directions(view)
        prior = torch.einsum("c,chw->hw", target.direction, places)
        fine = self._sam.restore(prior[None], view)[0]
        points = [*_extreme(fine, self.positives), *_extreme(-fine, self.negatives)]
        labels = [1] * self.positives + [0] * self.negatives
        if target.box is not None:
            left, top, right, bottom = target.box
            points.append(((left + right) // 2, (top + bottom) // 2))
            labels.append(1)
        attention = None
        if self.guided:
            attention = ((prior - fine.mean()) / fine.std().clamp(min=1e-6)).sigmoid().flatten()
        guidance = Guidance(attention, target.semantic if self.semantic else None)
        return Prompt(
            np.array(points, np.float32), np.array(labels, np.int64), target.box, guidance
        )

    def _first(self, view: Features, target: Target, prompt: Prompt) -> Tensor:
        """(h, w) logits of the first answer."""
        several = target.box is not None
        answer = self._sam.ask(
            view, prompt.points, prompt.labels, prompt.box, None, several, prompt.guidance
        )
        largest = int((answer.logits > 0).flatten(1).sum(1).argmax())
        return answer.logits[largest]

    def _refine(self, view: Features, logits: Tensor, prompt: Prompt) -> Answer:
        """Prompt with the mask (h, w), then with the mask and its box.

        Source: PerSAM, section 3.2, cascaded post-refinement.
        """
        answer = self._sam.ask(view, prompt.points, prompt.labels, None, logits, several=True)
        return self._boxed(view, answer.logits[answer.best], prompt)

    def _boxed(self, view: Features, logits: Tensor, prompt: Prompt) -> Answer:
        """Prompt with a mask (h, w) and its box; without the box where it shows nothing."""
        mask = (self._sam.restore(logits[None], view)[0] > 0).cpu().numpy()
        box = box_of(mask) if mask.any() else None
        return self._sam.ask(view, prompt.points, prompt.labels, box, logits, several=True)


def pooled(view: Features, mask: Mask, pooling: Pooling) -> Tensor:
    """The feature (C,) of what a mask (H, W) shows."""
    geometry = view.geometry
    shown = torch.from_numpy(mask)[None, None].to(view.embedding)
    content = F.interpolate(shown, geometry.content, mode="bilinear", antialias=True)
    height, width = view.embedding.shape[2:]
    covered = shrink(pad(content, geometry), (height, width))[0, 0]
    features = view.embedding[0][:, covered >= covered.max().clamp(max=0.5)]
    mean = features.mean(1)
    return mean if pooling == "mean" else (mean + features.amax(1)) / 2


def _directions(view: Features) -> Tensor:
    """The embedding (C, h, w) of a frame, of length 1 at every place."""
    return F.normalize(view.embedding[0], dim=0)


def _extreme(prior: Tensor, count: int) -> list[tuple[float, float]]:
    """The places (x, y) at which a map (H, W) is highest."""
    width, places = prior.shape[1], prior.flatten().topk(count).indices.tolist()
    return [(float(place % width), float(place // width)) for place in places]
