"""A tree of memories: several pathways per object, the best of which is known in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from vosfm.errors import InputError
from vosfm.prompts import Given
from vosfm.search.branching import Branch, branch
from vosfm.search.forking import fork_proposal, fork_state
from vosfm.search.search import Beam, Final, Search, settle
from vosfm.search.waiting import Waiting, pack_waiting, unpack_waiting
from vosfm.segmenter import Segmenter
from vosfm.types import Features, Guidance, Proposal, State

Behaviour = Literal["paper", "official"]
"""As SAM2Long's paper has it, or as its released code does."""

Certainty = Literal["presence", "quality"]
"""What tells that an object is there: the decoder itself, or its best candidate's quality."""


@dataclass(frozen=True)
class Pathways:
    """The pathways of one object.

    Attributes:
        columns: the column of the state that each of them is, the best first; those that are still
            the same share one.
        scores: of each, the logarithms of its predicted qualities added up.
        fresh: whether the object was prompted in the last frame: all pathways then take the same
            first step.
    """

    columns: tuple[int, ...]
    scores: tuple[float, ...]
    fresh: bool


@dataclass(frozen=True)
class TreeBeam(Beam):
    """A beam of pathways.

    Attributes:
        state: a column of its objects for every distinct pathway of an object.
        paths: object id -> its pathways.
        waiting: frames on which pathways that are alive do not agree yet, the oldest first.
    """

    paths: Mapping[int, Pathways] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()


class MemoryTree(Search):
    """Follows several pathways of every object, each with a memory of its own.

    In every frame each pathway decodes several candidates; of all these branches the ones with the
    best added-up predicted quality live on. Where the model is not certain that it sees the object,
    different ones are kept rather than the best. Pathways that are the same so far are computed
    once: as long as the model is certain, a tree costs what one pathway costs.

    A frame is final once all pathways of its objects come from the same branch of it. Until then
    its decoded logits are kept, and nothing else of it.

    Works with any model that decodes every object by itself, with several candidates and scores.
    Where some objects are prompted, those start anew; in models whose decoder does not understand
    prompts, all objects keep their best pathway alone then.

    Args:
        pathways: P, how many are followed per object.
        iou_threshold: only frames whose masks are predicted to be better than this, with the object
            in them, are remembered; None to remember as the model does by itself.
        uncertainty_threshold: certain is a frame in which one pathway's logit of presence is
            farther from 0 than this.
        modulation: factors of the keys of the least and the most present entry; None for none.
        behaviour: "paper", or "official" for what the released code does differently.
        certainty: "presence", or for decoders that do not tell it "quality": the log-odds of the
            best candidate's predicted quality.
        max_delay: frames that a result may wait; it is then that of the best pathway so far. None
            to wait as long as it takes.

    Raises:
        InputError: if an argument is out of range; in `step`, if the model has no several scored
            candidates of single objects, does not tell presence, or cannot modulate.

    Source: SAM2Long, section 3; the released code, for `official`.
    """

    def __init__(
        self,
        pathways: int = 3,
        iou_threshold: float | None = 0.3,
        uncertainty_threshold: float = 2.0,
        modulation: tuple[float, float] | None = (0.95, 1.05),
        behaviour: Behaviour = "paper",
        certainty: Certainty = "presence",
        max_delay: int | None = None,
    ) -> None:
        if pathways < 1:
            raise InputError(f"pathways is {pathways}: give at least 1")
        if iou_threshold is not None and not 0 <= iou_threshold < 1:
            raise InputError(f"iou_threshold is {iou_threshold}: give a number in [0, 1), or None")
        if not (uncertainty_threshold >= 0 and math.isfinite(uncertainty_threshold)):
            raise InputError(
                f"uncertainty_threshold is {uncertainty_threshold}: give a number from 0 on"
            )
        if modulation is not None and not 0 < modulation[0] <= modulation[1] < math.inf:
            raise InputError(
                f"modulation is {tuple(modulation)}: give two factors above 0, the lower first, or "
                "None"
            )
        for name, value, known in (
            ("behaviour", behaviour, get_args(Behaviour)),
            ("certainty", certainty, get_args(Certainty)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}: give one of {known}")
        if max_delay is not None and max_delay < 0:
            raise InputError(f"max_delay is {max_delay}: give a number of frames, or None")
        self.pathways = pathways
        self.uncertainty_threshold = uncertainty_threshold
        self.official = behaviour == "official"
        self.certainty = certainty
        self.max_delay = max_delay
        span = None if modulation is None else (modulation[0], modulation[1])
        self.guidance = Guidance(iou_threshold, span, self.official)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def start(self, state: State) -> TreeBeam:
        ids = state.objects.ids[0].tolist()
        paths = {object_id: self._alike(column) for column, object_id in enumerate(ids)}
        return TreeBeam(replace(state, guidance=self.guidance), paths)

    def step(
        self,
        segmenter: Segmenter,
        beam: Beam,
        features: Features,
        prompts: Mapping[int, Given] | None = None,
    ) -> tuple[TreeBeam, list[Final]]:
        assert isinstance(beam, TreeBeam)
        self._check(segmenter)
        if prompts:
            prompted = set(prompts) if segmenter.understands else set(beam.paths) | set(prompts)
            beam = self._one_pathway(segmenter, beam, prompted & set(beam.paths))
        else:
            prompted = set()
        proposal = segmenter.propose(beam.state, features, prompts)
        grown, parents = self._grow(beam, proposal, prompted)
        columns: list[int] = []
        choice: list[int] = []
        paths: dict[int, Pathways] = {}
        for object_id, branches in grown.items():
            found: dict[tuple[int, int], int] = {}
            for one in branches:
                found.setdefault((one.parent, one.candidate), len(columns) + len(found))
            columns += [parent for parent, _ in found]
            choice += [candidate for _, candidate in found]
            places = tuple(found[one.parent, one.candidate] for one in branches)
            scores = tuple(one.score for one in branches)
            fresh = prompts is not None and object_id in prompts
            paths[object_id] = Pathways(places, scores, fresh)
        if not segmenter.understands and proposal.prompt is not None:
            believed, state = proposal, beam.state  # nothing was branched, all were settled
        else:
            believed = fork_proposal(proposal, segmenter.memory, columns, choice)
            state = replace(beam.state, objects=proposal.objects)  # with those who join
            state = fork_state(state, segmenter.memory, columns)
        masks = None
        if not segmenter.mask_encoder.independent and believed.encoding is None:
            masks = _by_pathway(segmenter, believed, paths)
        newest = Waiting(
            beam.state.time,
            {object_id: path.columns for object_id, path in paths.items()},
            replace(believed, readout=None, candidates={}, carry={}, encoding=None),
        )
        state = segmenter.commit(state, features, believed, masks)
        older = (_pruned(segmenter, frame.follow(parents)) for frame in beam.waiting)
        waiting = (*older, newest)
        return self._emit(segmenter, TreeBeam(state, paths, waiting))

    def flush(self, segmenter: Segmenter, beam: Beam) -> tuple[TreeBeam, list[Final]]:
        assert isinstance(beam, TreeBeam)
        finals = [_final(segmenter, frame) for frame in beam.waiting]
        return replace(beam, waiting=()), finals

    def reported(self, beam: Beam) -> int:
        assert isinstance(beam, TreeBeam)
        return beam.waiting[0].time if beam.waiting else beam.state.time

    def remove(
        self, segmenter: Segmenter, beam: Beam, object_ids: list[int] | tuple[int, ...]
    ) -> TreeBeam:
        assert isinstance(beam, TreeBeam)
        gone = set(object_ids) & set(beam.paths)
        beam = self._one_pathway(segmenter, beam, gone)
        kept = [c for c, i in enumerate(beam.state.objects.ids[0].tolist()) if i not in gone]
        state = segmenter.remove(beam.state, object_ids)
        moved = {column: place for place, column in enumerate(kept)}
        paths = {
            object_id: replace(path, columns=tuple(moved[c] for c in path.columns))
            for object_id, path in beam.paths.items()
            if object_id not in gone
        }
        return replace(beam, state=state, paths=paths)

    def pack(self, beam: Beam) -> dict[str, Tensor]:
        assert isinstance(beam, TreeBeam)
        packed = {}
        for object_id, path in beam.paths.items():
            packed[f"path.{object_id}.columns"] = torch.tensor(path.columns)
            packed[f"path.{object_id}.scores"] = torch.tensor(path.scores, dtype=torch.float64)
            packed[f"path.{object_id}.fresh"] = torch.tensor(path.fresh)
        return packed | pack_waiting(beam.waiting)

    def unpack(self, state: State, packed: Mapping[str, Tensor]) -> TreeBeam:
        ids = list(dict.fromkeys(state.objects.ids[0].tolist()))
        if any(f"path.{object_id}.columns" not in packed for object_id in ids):
            raise InputError("the stream was not tracked by a memory tree: start it anew")
        if state.guidance != self.guidance:
            raise InputError(
                f"the stream was tracked with {state.guidance}, this search has {self.guidance}: "
                "go on with the search that saved it"
            )
        paths = {
            object_id: Pathways(
                tuple(packed[f"path.{object_id}.columns"].tolist()),
                tuple(packed[f"path.{object_id}.scores"].tolist()),
                bool(packed[f"path.{object_id}.fresh"]),
            )
            for object_id in ids
        }
        return TreeBeam(state, paths, unpack_waiting(packed, state.objects.exclusive))

    def _alike(self, column: int) -> Pathways:
        """Pathways of an object that are all the same so far."""
        return Pathways((column,) * self.pathways, (0.0,) * self.pathways, fresh=True)

    def _grow(
        self, beam: TreeBeam, proposal: Proposal, prompted: set[int]
    ) -> tuple[dict[int, list[Branch]], dict[int, list[int]]]:
        """Branches of each object, their parents as columns; and the pathway each comes from."""
        quality = presence = None
        if proposal.scores is not None:
            quality = proposal.scores[0].tolist()
            presence = self._presence(proposal)
        grown: dict[int, list[Branch]] = {}
        parents: dict[int, list[int]] = {}
        for column, object_id in enumerate(proposal.objects.ids[0].tolist()):
            if object_id in grown:
                continue
            path = beam.paths.get(object_id)
            if path is None or object_id in prompted or path.fresh:
                best = 0 if quality is None else _best(quality[column])
                grown[object_id] = [Branch(column, best, 0.0)] * self.pathways
                parents[object_id] = [0] * self.pathways
                continue
            assert quality is not None
            assert presence is not None
            branches = branch(
                [quality[c] for c in path.columns],
                [presence[c] for c in path.columns],
                path.scores,
                self.pathways,
                self.uncertainty_threshold,
                self.official,
            )
            parents[object_id] = [one.parent for one in branches]
            grown[object_id] = [
                Branch(path.columns[one.parent], one.candidate, one.score) for one in branches
            ]
        return grown, parents

    def _presence(self, proposal: Proposal) -> list[float]:
        if self.certainty == "presence" and proposal.presence is not None:
            told: list[float] = proposal.presence[0].tolist()
            return told
        assert proposal.scores is not None
        best: list[float] = proposal.scores[0].amax(1).clamp(1e-6, 1 - 1e-6).logit().tolist()
        return best

    def _one_pathway(self, segmenter: Segmenter, beam: TreeBeam, ids: set[int]) -> TreeBeam:
        """Keep the best pathway alone of these objects."""
        kept: list[int] = []
        paths, parents = {}, {}
        for object_id, path in beam.paths.items():
            parents[object_id] = list(range(len(path.columns)))
            if object_id in ids:
                parents[object_id] = [0] * len(path.columns)
            columns = [path.columns[slot] for slot in parents[object_id]]
            scores = tuple(path.scores[slot] for slot in parents[object_id])
            first = len(kept)
            kept += dict.fromkeys(columns)
            places = tuple(kept.index(column, first) for column in columns)
            paths[object_id] = replace(path, columns=places, scores=scores)
        return TreeBeam(
            fork_state(beam.state, segmenter.memory, kept),
            paths,
            tuple(frame.follow(parents) for frame in beam.waiting),
        )

    def _emit(self, segmenter: Segmenter, beam: TreeBeam) -> tuple[TreeBeam, list[Final]]:
        """Let frames go that all pathways agree on, or that have waited long enough."""
        waiting = list(beam.waiting)
        finals = []
        while waiting and (
            waiting[0].agreed
            or (
                self.max_delay is not None
                and beam.state.time - 1 - waiting[0].time >= self.max_delay
            )
        ):
            finals.append(_final(segmenter, waiting.pop(0)))
        return replace(beam, waiting=tuple(waiting)), finals

    def _check(self, segmenter: Segmenter) -> None:
        decoder, reader = segmenter.decoder, segmenter.memory.reader
        name = type(decoder).__name__
        if segmenter.mask_encoder.identities is not None:
            raise InputError(
                "a memory tree needs a memory row per object; this model keeps several objects in "
                "one joint map, which cannot part: use Greedy, or a mask encoder of single objects"
            )
        if decoder.candidates < 2:
            raise InputError(
                f"a memory tree needs several scored candidates, {name} decodes one: choose a "
                "decoder with candidates=3, or Greedy"
            )
        if self.certainty == "presence" and not decoder.presence:
            raise InputError(
                f"{name} does not tell whether an object is in the frame: give "
                "certainty='quality' to judge by its best candidate"
            )
        if self.guidance.modulation is not None and not reader.modulates:
            raise InputError(
                f"{type(reader).__name__} cannot weight its keys: give modulation=None (null)"
            )
        if len(getattr(segmenter, "views", ())) > 1:
            raise InputError(
                "a memory tree follows one view of a frame: leave scales and flips away, or use "
                "Greedy"
            )


def _best(scores: list[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _by_pathway(segmenter: Segmenter, believed: Proposal, paths: Mapping[int, Pathways]) -> Tensor:
    """Masks (1, R, *prepared) of all pathways, each beside the other objects' own.

    Objects that compete for pixels do so pathway by pathway, the best ones with each other.
    """
    distinct = [list(dict.fromkeys(path.columns)) for path in paths.values()]
    size = believed.geometry.prepared
    masks = believed.logits.new_zeros(1, believed.objects.count, *size)
    for turn in range(max(map(len, distinct), default=0)):
        columns = [own[min(turn, len(own) - 1)] for own in distinct]
        together = fork_proposal(believed, segmenter.memory, columns, [0] * len(columns))
        masks[:, columns] = segmenter.aggregate(together, size=size)
    return masks


def _pruned(segmenter: Segmenter, frame: Waiting) -> Waiting:
    """The frame without what only pathways that have ended said of it."""
    columns = sorted({column for picks in frame.picks.values() for column in picks})
    if len(columns) == frame.believed.objects.count:
        return frame
    believed = fork_proposal(frame.believed, segmenter.memory, columns, [0] * len(columns))
    picks = {
        object_id: tuple(columns.index(column) for column in own)
        for object_id, own in frame.picks.items()
    }
    return Waiting(frame.time, picks, believed)


def _final(segmenter: Segmenter, frame: Waiting) -> Final:
    """What the best pathways say of a frame."""
    columns = [picks[0] for picks in frame.picks.values()]
    believed = frame.believed
    if columns != list(range(believed.objects.count)):
        believed = fork_proposal(believed, segmenter.memory, columns, [0] * len(columns))
    return settle(frame.time, believed, segmenter.aggregate(believed))
