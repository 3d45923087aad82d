"""Everything that is seen in each frame, and of it what is most like the mask before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vosfm.collect.matching import ious
from vosfm.collect.prompting import Proposer
from vosfm.peers.peer import Found, FrameByFrame, Image, Mask
from vosfm.prompters import Prompter


class GridIou(FrameByFrame[Image, Mask]):
    """Takes, of all masks that are proposed for a frame, the one most like the object's last.

    What is known of an object is its last mask alone, so that errors stay: what is smaller or
    larger than the object, but overlaps it most, is followed from then on. Several objects may
    take the same proposal; where they exclude each other, it goes to the one that it is most like.

    Args:
        proposer: finds masks of everything in a frame, such as `vosfm.collect.grid.Grid` over a
            SAM, of 32 or 64 points per side.
        exclusive: whether a pixel belongs to one object at most.
        recovers: look for a lost object where it was last seen. With False it is lost for good:
            no mask is like an empty one, and nothing is said of it.
        prompter: what makes masks of boxes and points; None where masks alone can be given.

    Source: MUG-VOS (Lim et al., AAAI 2025), Table 2, "SAM grid prompts + IoU".
    """

    def __init__(
        self,
        proposer: Proposer,
        exclusive: bool = True,
        recovers: bool = True,
        prompter: Prompter | None = None,
    ) -> None:
        super().__init__(exclusive, prompter)
        self._proposer = proposer
        self.recovers = recovers

    def look(self, frame: Image, index: int, before: Image | None) -> Image:
        return frame  # proposals are dear, and a frame of which all is given needs none

    def begin(self, view: Image, mask: Mask, object_id: int) -> Mask:
        return mask

    def find(self, view: Image, known: Mapping[int, Mask]) -> dict[int, Found[Mask]]:
        nowhere = np.full(view.shape[:2], -1, np.float32)
        found = {i: Found(nowhere, 0.0, mask) for i, mask in known.items()}
        if not any(mask.any() for mask in known.values()):
            return found
        proposed = self._proposer.propose(view)
        if not len(proposed):
            return found
        for (i, mask), row in zip(
            known.items(), ious(np.stack(list(known.values())), proposed), strict=True
        ):
            best = int(row.argmax())
            score = float(row[best])
            if score > 0:
                logits = np.where(proposed[best], np.float32(score), np.float32(-1))
                found[i] = Found(logits, score, mask)
        return found

    def update(self, view: Image, known: Mask, mask: Mask, object_id: int) -> Mask:
        return known if self.recovers and not mask.any() else mask
