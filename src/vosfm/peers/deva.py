"""DEVA: a model that propagates masks, set right now and then by what is seen in single frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from vosfm.collect.matching import ious
from vosfm.collect.prompting import Proposer
from vosfm.flow import Flow, pull
from vosfm.peers.consensus import consensus
from vosfm.peers.peer import Image, Mask, Peer, checked
from vosfm.prompters import Prompter
from vosfm.prompts import Given, check_any
from vosfm.search import Beam, Final, Greedy
from vosfm.search.search import settle
from vosfm.segmenter import Segmenter
from vosfm.tracker import Prompts, Result, Tracker
from vosfm.types import Features


class Deva(Peer):
    """Propagates masks by a model, and merges them with a consensus of proposals every few frames.

    Everything is proposed in a frame and in those after it, which are read ahead for that; all is
    brought to the frame, and what several frames agree on is matched with the masks that the model
    propagated there. A match becomes the union of both, and this is what the model remembers.
    Results are held back by the frames that are read ahead.

    Args:
        segmenter: propagates, in the stream and from frame to frame of a consensus; XMem, trained
            on more, in the original.
        proposer: finds masks of everything in a frame.
        exclusive: whether a pixel belongs to one object at most. Where merged masks overlap, the
            smaller one then has the pixel.
        every: frames from one consensus to the next, counted from the first prompt.
        clip: frames that each looks at, the one that it is of included; at least 2.
        overlap: IoU above which two masks show the same thing.
        penalty: see `consensus`.
        newcomers: let what is agreed on, but no object, join as an object of its own, under an id
            above all given ones. Nothing then needs to be given. With False, the objects are those
            that are given.
        patience: a newcomer that this many consensuses in a row do not find leaves; None for never.
            Given objects never leave.
        limit: objects beyond which no newcomer joins; None for none.
        flow: brings proposals to the frame; None for the segmenter.
        prompter: what makes masks of boxes and points, see `vosfm.Tracker`.
        memory_limit: see `vosfm.Tracker`.

    Raises:
        ValueError: if an argument is out of range.

    Source: DEVA (Cheng et al., ICCV 2023), sections 3.2 and 4, "semi-online"; the limits are those
        of its released code. Its own propagation model is not among ours. In semi-supervised
        benchmarks the released code propagates alone, as `vosfm.Tracker` does.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        proposer: Proposer,
        exclusive: bool = True,
        every: int = 5,
        clip: int = 3,
        overlap: float = 0.5,
        penalty: float = 0.5,
        newcomers: bool = False,
        patience: int | None = 5,
        limit: int | None = 200,
        flow: Flow | None = None,
        prompter: Prompter | None = None,
        memory_limit: int | None = None,
    ) -> None:
        super().__init__(exclusive, prompter)
        if every < 1 or clip < 2:
            raise ValueError(f"every {every}, clip {clip}: give at least 1, and at least 2")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), not {overlap}")
        if patience is not None and patience < 1:
            raise ValueError(f"patience is {patience}: give at least 1, or None")
        self.segmenter = segmenter
        self.every = every
        self.clip = clip
        self.overlap = overlap
        self.penalty = penalty
        self.newcomers = newcomers
        self.patience = patience
        self.limit = limit
        self.memory_limit = memory_limit
        self._proposer = proposer
        self._flow = flow

    def track(self, frames: Iterable[Image], prompts: Prompts | None = None) -> Iterator[Result]:
        prompts = dict(prompts or {})
        if not self.newcomers:
            check_any(prompts)
        merging = _Merging(self, max((i for given in prompts.values() for i in given), default=0))
        tracker = Tracker(
            self.segmenter,
            merging,
            self.exclusive,
            prompter=self.prompter,
            memory_limit=self.memory_limit,
        )
        first = 0 if self.newcomers else min(prompts)
        for index, window in enumerate(_windows(checked(frames, prompts), self.clip)):
            given: Mapping[int, Given] = prompts.get(index, {})
            # Where the objects are the given ones, their first frame has nothing to merge.
            due = index > first or (self.newcomers and index == first)
            due = due and (index - first) % self.every == 0 and len(window) > 1
            merging.found = self._agreed(window) if due else None
            if merging.found is not None and not _living(tracker):
                masks = [np.asarray(one, bool) for one in given.values() if hasattr(one, "shape")]
                known = np.stack(masks) if masks else merging.found[:0]
                fresh = merging.join(merging.found, known, np.ones(len(known), np.bool_))
                given = {**given, **fresh}
                merging.found = None
            yield from tracker.step(window[0], given)
            if merging.expired:
                tracker.remove(*merging.expired)
                merging.expired = ()

    def _agreed(self, window: tuple[Image, ...]) -> Mask:
        """The consensus (M, H, W) of some frames, as the first of them shows it."""
        here = window[0]
        proposed = [
            masks if frame is here else self._brought(masks, frame, here)
            for frame, masks in ((frame, self._proposer.propose(frame)) for frame in window)
        ]
        return consensus(proposed, self.overlap, self.penalty)

    def _brought(self, masks: Mask, source: Image, target: Image) -> Mask:
        """Masks (N, H, W) of a frame as another shows them."""
        masks = masks[masks.any((1, 2))]
        if not len(masks):
            return masks
        if self._flow is not None:
            return pull(masks, self._flow(target, source))
        given = dict(enumerate(masks, 1))
        *_, result = Tracker(self.segmenter, exclusive=False).track((source, target), {0: given})
        return result.masks


class _Merging(Greedy):
    """Greedy search that merges what was proposed with a consensus, before it is remembered.

    It belongs to one stream.

    Attributes:
        found: the consensus (M, H, W) about the next frame; None for none.
        expired: newcomers that were not found for too long.

    Source: DEVA, section 3.2.2, merging propagation and consensus.
    """

    def __init__(self, peer: Deva, highest: int) -> None:
        self.found: Mask | None = None
        self.expired: tuple[int, ...] = ()
        self._peer = peer
        self._next = highest + 1
        self._missed: dict[int, int] = {}

    def step(
        self,
        segmenter: Segmenter,
        beam: Beam,
        features: Features,
        prompts: Mapping[int, Given] | None = None,
    ) -> tuple[Beam, list[Final]]:
        found = self.found
        if found is None:
            return super().step(segmenter, beam, features, prompts)
        state = beam.state
        proposal = segmenter.propose(state, features, prompts)
        final = settle(state.time, proposal, segmenter.aggregate(proposal))
        given = proposal.given[0].numpy()
        masks, taken = self._merged(final, given, found)
        if self._peer.newcomers:
            alive = final.objects.alive[0].numpy()
            fresh = self.join(found[~taken], masks[alive], given[alive])
            if fresh:
                proposal = segmenter.propose(state, features, {**(prompts or {}), **fresh})
                final = settle(state.time, proposal, segmenter.aggregate(proposal))
                masks = np.concatenate((masks, np.stack(list(fresh.values()))))
                given = np.concatenate((given, np.zeros(len(fresh), np.bool_)))
        if self._peer.exclusive:
            masks = _rendered(masks, given)
        whole = torch.from_numpy(masks).to(features.embedding.device)
        state = segmenter.commit(state, features, proposal, whole[None])
        return Beam(state), [replace(final, masks=whole)]

    def join(self, found: Mask, known: Mask, given: Mask) -> dict[int, Mask]:
        """Name newcomers.

        Args:
            found: (M, H, W) that no object was matched with.
            known: (O, H, W) of the objects that there are.
            given: (O,) bool, which of them are given with the frame.

        Returns:
            Object id -> (H, W), never empty; where objects exclude each other, without the pixels
            of those that are smaller.
        """
        if self._peer.limit is not None and len(known) + len(found) > self._peer.limit:
            return {}
        if self._peer.exclusive:
            first = np.concatenate((given, np.zeros(len(found), np.bool_)))
            found = _rendered(np.concatenate((known, found)), first)[len(known) :]
        fresh = {}
        for mask in found[found.any((1, 2))]:
            fresh[self._next] = mask
            self._missed[self._next] = 0
            self._next += 1
        return fresh

    def _merged(self, final: Final, given: Mask, found: Mask) -> tuple[Mask, Mask]:
        """Masks (O, H, W) of the objects, and (M,) which of what was found they were matched with.

        Args:
            final: as it was propagated.
            given: (O,) objects that are given with the frame, and stay as they are.
            found: (M, H, W).
        """
        masks = final.masks.cpu().numpy().copy()
        alive = final.objects.alive[0].numpy()
        taken = np.zeros(len(found), np.bool_)
        table = ious(masks, found)
        table[~alive] = 0
        matched = np.zeros(len(masks), np.bool_)
        # The most alike first, each once.
        for place in np.argsort(-table, axis=None, kind="stable"):
            row, column = np.unravel_index(place, table.shape)
            if table[row, column] <= self._peer.overlap:
                break
            if matched[row] or taken[column]:
                continue
            matched[row] = taken[column] = True
            if not given[row]:
                masks[row] |= found[column]
        self._count(final, matched)
        return masks, taken

    def _count(self, final: Final, matched: Mask) -> None:
        """Note which newcomers were missed again."""
        ids = final.objects.ids[0].tolist()
        for row, object_id in enumerate(ids):
            if object_id in self._missed:
                self._missed[object_id] = 0 if matched[row] else self._missed[object_id] + 1
        patience = self._peer.patience
        if patience is not None:
            self.expired = tuple(i for i, n in self._missed.items() if n >= patience)
            self._missed = {i: n for i, n in self._missed.items() if n < patience}


def _rendered(masks: Mask, first: Mask) -> Mask:
    """Masks (O, H, W) of which none overlap: the smaller has the pixel, but those first before."""
    areas = np.count_nonzero(masks, axis=(1, 2))
    clear = np.zeros_like(masks)
    taken = np.zeros(masks.shape[1:], np.bool_)
    for row in np.lexsort((areas, ~first)):
        clear[row] = masks[row] & ~taken
        taken |= masks[row]
    return clear


def _living(tracker: Tracker) -> bool:
    return tracker.state is not None and bool(tracker.state.objects.alive.any())


def _windows(frames: Iterable[Image], length: int) -> Iterator[tuple[Image, ...]]:
    """Every frame with those after it, `length` together; fewer at the end."""
    frames = iter(frames)
    window = deque(islice(frames, length))
    while window:
        yield tuple(window)
        window.popleft()
        window.extend(islice(frames, 1))
