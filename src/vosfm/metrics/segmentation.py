"""J, F and their statistics as one torchmetrics class."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vosfm.metrics.functional import region_and_boundary
from vosfm.metrics.functional.arrays import to_mask
from vosfm.metrics.protocols import Protocol, Row, mean_by_sequence, named

_FIRST = -1
"""Stands for the first frame of a sequence, whichever it is."""


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
        unseen: Collection[int] = (),
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
            unseen: ids of the objects whose category training has not shown.

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
        if self.protocol.union:
            a, b = (np.logical_or.reduce(masks, axis=1)[:, None] for masks in (a, b))
            ids, given = [1], None if given is None else [min(given, default=_FIRST)]
        if hidden is not None and hidden.ndim == 3:
            hidden = hidden[:, None]
        j, f = region_and_boundary(a, b, hidden, self.tolerance)
        starts = [_FIRST] * len(ids) if given is None else given
        objects = [(i, start, i in unseen) for i, start in zip(ids, starts, strict=True)]
        keys = [[sequence, i, number, start, new] for number in frames for i, start, new in objects]
        self.keys.append(torch.tensor(keys, dtype=torch.int64, device=self.device).reshape(-1, 5))
        rows = np.stack([j.reshape(-1), f.reshape(-1)], axis=1)
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
        for sequence in np.unique(keys[:, 0]).tolist():
            inside = keys[:, 0] == sequence
            own_keys, own_scores = keys[inside], scores[inside]
            frames = np.unique(own_keys[:, 2])
            for object_id in np.unique(own_keys[:, 1]).tolist():
                rows = own_keys[:, 1] == object_id
                given, new = own_keys[rows][0, 3:].tolist()
                counted = self.protocol.counted(frames[frames >= given].tolist())
                rows &= np.isin(own_keys[:, 2], counted)
                if not rows.any():
                    continue
                j, f = own_scores[rows].T
                row = self.protocol.statistics(j, f, self.official)
                self._objects[sequence, object_id] = row
                if new:
                    unseen.add((sequence, object_id))
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in self.protocol.overall(self._objects, unseen).items()
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
            self.keys.append(torch.empty(0, 5, dtype=torch.int64, device=self.device))
            self.scores.append(torch.empty(0, 2, dtype=torch.float64, device=self.device))
        super().sync(*args, **kwargs)

    def merge_state(self, incoming_state: "dict[str, Any] | Metric") -> None:
        """Add the rows of another metric, or of its state, and forget what was computed before."""
        super().merge_state(incoming_state)
        self._computed = None

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give each row once, ordered by sequence, object and frame."""
        if not len(self.keys):
            return np.empty((0, 5), dtype=np.int64), np.empty((0, 2))
        keys = dim_zero_cat(self.keys).cpu().numpy()
        unique, first = np.unique(keys, axis=0, return_index=True)
        return unique, dim_zero_cat(self.scores).cpu().numpy()[first]
