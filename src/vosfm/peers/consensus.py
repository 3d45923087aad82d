"""What the proposals of several frames agree on."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np

from vosfm.collect.matching import ious
from vosfm.peers.peer import Mask

_WHOLE = 1_000_000  # weights are counted in millionths: the search adds whole numbers only


def consensus(frames: Sequence[Mask], overlap: float = 0.5, penalty: float = 0.5) -> Mask:
    """Choose segments that others support, none of them twice.

    A segment is supported by those of other frames that overlap it, by their IoU; what it is worth
    is its support less the penalty. Of all sets of which no two segments overlap, the one that is
    worth most is chosen; it is found exactly.

    Args:
        frames: the segments (N, H, W) of each frame, brought to the same one.
        overlap: IoU above which two segments show the same thing, in [0, 1).
        penalty: what a segment must be supported by to be worth anything.

    Returns:
        (M, H, W), those that are worth most first.

    Source: DEVA (Cheng et al., ICCV 2023), section 3.2.1, in-clip consensus, Eq. 2-5. There,
        segments of one frame never overlap; here they may, and then exclude but do not support each
        other. Solved as a maximum weight clique of the segments that go together.
    """
    masks = np.concatenate(list(frames))
    owner = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
    shared = ious(masks, masks)
    alike = shared > overlap
    np.fill_diagonal(alike, False)
    worth = (shared * (alike & (owner[:, None] != owner))).sum(1) - penalty
    graph = nx.from_numpy_array(alike.astype(np.int64))
    graph.remove_nodes_from(np.flatnonzero(worth <= 0).tolist())
    chosen: list[int] = []
    for part in nx.connected_components(graph):
        together = nx.complement(graph.subgraph(part))
        weights = {node: max(1, round(worth[node] * _WHOLE)) for node in part}
        nx.set_node_attributes(together, weights, "worth")
        chosen += nx.max_weight_clique(together, "worth")[0]
    return masks[sorted(chosen, key=lambda row: (-worth[row], row))]
