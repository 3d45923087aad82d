"""J, F and their statistics as one torchmetrics class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vosfm.data.truth import Truth
from vosfm.data.video import Mask
from vosfm.metrics.functional import region_and_boundary
from vosfm.metrics.functional.arrays import to_mask
from vosfm.metrics.protocols import Protocol, Row, mean_by_sequence, named

_FIRST = -1
"""Stands for the first frame of a sequence, whichever it is."""

_SEQUENCE, _OBJECT, _FRAME, _GIVEN, _UNSEEN, _TOLD = range(6)
"""Columns of what a row is known by; unseen is 1, seen 0, not known -1; told is 1 or 0."""

_KEYS, _SCORES = 6, 4
"""How many numbers a row is known by, and how many are found: J, F, shown, found."""


class VideoSegmentation(Metric):
    """J, F, J&F, recall and decay of objects in videos, as the protocol of a benchmark counts.

    Give it every annotated frame of a sequence, the first and the last too: the protocol leaves
    out what it does not count. Frames may come in any order, from any process, and more than once
    (a distributed sampler repeats some to fill up): a row is known by its sequence, object and
    frame, and counted once.

    Args:
        protocol: a registered name, or the rules themselves.
        tolerance: of F, see `vosfm.metrics.functional.boundary_f`.
        official: repeat the official tool's errors, see `vosfm.metrics.functional.decay`.
        **kwargs: of `torchmetrics.Metric`.

    Raises:
        InputError: for a protocol that is not registered.

    Example:
        >>> import torch
        >>> metric = VideoSegmentation("davis2017")
        >>> clip = torch.zeros(4, 2, 8, 8, dtype=torch.bool)  # 4 frames, 2 objects
        >>> clip[:, 0, 2:6, 2:6] = True
        >>> clip[:, 1, 6:, 6:] = True
        >>> metric.update(clip, clip, object_ids=[1, 2], sequence=0, frame=0)
        >>> metric.compute()["J&F"]
        tensor(1., dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    keys: list[Tensor]
    scores: list[Tensor]

    def __init__(
        self,
        protocol: str | Protocol = "davis2017",
        tolerance: float = 0.008,
        official: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.protocol = named(protocol) if isinstance(protocol, str) else protocol
        self.tolerance = tolerance
        self.official = official
        self._objects: dict[tuple[int, int], Row] = {}
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.add_state("scores", default=[], dist_reduce_fx="cat")

    def update(
        self,
        pred: Tensor | NDArray[Any],
        target: Tensor | NDArray[Any],
        object_ids: Sequence[int] | Tensor,
        sequence: int,
        frame: int | Sequence[int],
        void: Tensor | NDArray[Any] | None = None,
        given: Sequence[int] | None = None,
        unseen: Collection[int] | None = None,
        told: NDArray[np.bool_] | Sequence[bool] | None = None,
    ) -> None:
        """Score one frame, or several frames of one sequence.

        Args:
            pred: (O, H, W) or (T, O, H, W) bool.
            target: of the same shape, bool.
            object_ids: the O ids, each once.
            sequence: a number that is the sequence's own in all processes.
            frame: the number of the frame; of T frames the first one's, or T numbers.
            void: (H, W) or (T, H, W) bool, pixels that count for nothing.
            given: the number of the frame in which each of the O objects is given; None for the
                first of the sequence. Like `unseen` the same in all calls for one sequence.
            unseen: ids of the objects whose category training has not shown; None if not known.
            told: (O,) or (T, O), whether the annotation of an object speaks of a frame, see
                `vosfm.data.truth.Truth.ranges`; None for everywhere.

        Raises:
            TypeError: for floating masks.
            ValueError: if shapes, ids or frames do not fit each other.
        """
        a, b = to_mask("pred", pred), to_mask("target", target)
        if a.shape != b.shape or a.ndim not in (3, 4):
            raise ValueError(
                f"pred has shape {a.shape}, target {b.shape}: give (O, H, W) or (T, O, H, W) twice"
            )
        hidden = None if void is None else to_mask("void", void)
        if a.ndim == 3:
            a, b = a[None], b[None]
        ids = [int(object_id) for object_id in object_ids]
        if len(ids) != a.shape[1] or len(set(ids)) != len(ids):
            raise ValueError(f"object_ids are {ids}: give {a.shape[1]} ids, each once")
        frames = [frame + step for step in range(len(a))] if isinstance(frame, int) else [*frame]
        if len(frames) != len(a):
            raise ValueError(f"{len(frames)} frame numbers for {len(a)} frames")
        if given is not None and len(given) != len(ids):
            raise ValueError(f"{len(given)} frames in which {len(ids)} objects are given")
        speaks = np.broadcast_to(True if told is None else told, (len(a), len(ids)))
        if self.protocol.union:
            a = np.asarray(a.any(axis=1, keepdims=True))
            b = np.asarray(b.any(axis=1, keepdims=True))
            ids, given = [1], None if given is None else [min(given, default=_FIRST)]
            speaks = np.asarray(speaks.any(axis=1, keepdims=True))
        if hidden is not None and hidden.ndim == 3:
            hidden = hidden[:, None]
        j, f = region_and_boundary(a, b, hidden, self.tolerance)
        starts = [_FIRST] * len(ids) if given is None else given
        new = [-1 if unseen is None else int(i in unseen) for i in ids]
        keys = [
            [sequence, i, number, start, kind, int(heard)]
            for number, row in zip(frames, speaks, strict=True)
            for i, start, kind, heard in zip(ids, starts, new, row, strict=True)
        ]
        found = [j, f, np.any(b, axis=(2, 3)), np.any(a, axis=(2, 3))]
        rows = np.stack([np.asarray(one, np.float64).reshape(-1) for one in found], axis=1)
        self.keys.append(
            torch.tensor(keys, dtype=torch.int64, device=self.device).reshape(-1, _KEYS)
        )
        self.scores.append(torch.from_numpy(rows).to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Average over all objects.

        Returns:
            A float64 scalar for each column of the protocol: J&F, J, J_recall, J_decay, F,
            F_recall, F_decay of DAVIS; NaN before any counted frame.
        """
        return self.so_far()

    def so_far(self) -> dict[str, Tensor]:
        """Average over the objects of this process alone, without asking the others."""
        keys, scores = self._rows()
        self._objects = {}
        unseen = set()
        for sequence in np.unique(keys[:, _SEQUENCE]).tolist():
            inside = keys[:, _SEQUENCE] == sequence
            own_keys, own_scores = keys[inside], scores[inside]
            truth = _Remembered(own_keys)
            for object_id in truth.object_ids:
                counted = truth.frames[list(self.protocol.counted(truth, object_id))]
                rows = own_keys[:, _OBJECT] == object_id
                rows &= np.isin(own_keys[:, _FRAME], counted)
                j, f, shown, found = own_scores[rows].T
                row = self.protocol.row(j, f, shown > 0, found > 0, official=self.official)
                if row is None:
                    continue
                self._objects[sequence, object_id] = row
                if truth.unseen is not None and object_id in truth.unseen:
                    unseen.add((sequence, object_id))
        known = unseen if len(keys) and (keys[:, _UNSEEN] >= 0).any() else None
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in self.protocol.overall(self._objects, known).items()
        }

    def per_object(self) -> dict[tuple[int, int], Row]:
        """Give the row of every (sequence, object id); in DDP, call it in all processes."""
        self.compute()
        return dict(self._objects)

    def per_sequence(self) -> dict[int, Row]:
        """Give the mean over the objects of every sequence; in DDP, call it in all processes."""
        return mean_by_sequence(self.per_object())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows of all processes; one that has none gives an empty table of rows.

        Without it torchmetrics would send an empty float vector, which does not fit the others.
        """
        if not self._is_synced and not len(self.keys):
            self.keys.append(torch.empty(0, _KEYS, dtype=torch.int64, device=self.device))
            self.scores.append(torch.empty(0, _SCORES, dtype=torch.float64, device=self.device))
        super().sync(*args, **kwargs)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another metric, or of its state, and forget what was computed before."""
        super().merge_state(incoming_state)
        self._computed = None

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give each row once, ordered by sequence, object and frame."""
        if not len(self.keys):
            return np.empty((0, _KEYS), dtype=np.int64), np.empty((0, _SCORES))
        keys = dim_zero_cat(self.keys).cpu().numpy()
        unique, first = np.unique(keys, axis=0, return_index=True)
        return unique, dim_zero_cat(self.scores).cpu().numpy()[first]


class _Remembered(Truth):
    """What the rows of one sequence tell of its truth: when which object counts, not its masks."""

    def __init__(self, keys: NDArray[np.int64]) -> None:
        self.frames = np.unique(keys[:, _FRAME])
        objects, first = np.unique(keys[:, _OBJECT], return_index=True)
        self.name = str(keys[0, _SEQUENCE])
        self.frame_names = tuple(map(str, self.frames.tolist()))
        self.numbers = tuple(self.frames.tolist())
        self.length = len(self.frames)
        self.object_ids = tuple(objects.tolist())
        given = keys[first, _GIVEN]
        self.starts = dict(
            zip(self.object_ids, np.searchsorted(self.frames, given).tolist(), strict=True)
        )
        self.unseen = (
            frozenset(objects[keys[first, _UNSEEN] == 1].tolist())
            if (keys[:, _UNSEEN] >= 0).all()
            else None
        )
        if not keys[:, _TOLD].all():
            heard = keys[keys[:, _TOLD] == 1]
            self.ranges = {
                i: tuple(
                    np.searchsorted(
                        self.frames, np.unique(heard[heard[:, _OBJECT] == i, _FRAME])
                    ).tolist()
                )
                for i in self.object_ids
            }

    def masks(self, place: int) -> Mask:
        raise NotImplementedError("only the scores of the masks are kept")
