"""What learns nothing, as a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vosfm.baselines import Frames
from vosfm.peers.peer import Peer, checked
from vosfm.prompts import check_any
from vosfm.tracker import Prompts, Result


class Simple(Peer):
    """A way to follow masks that is a function of frames and prompts.

    Args:
        follow: of checked frames and prompts, such as `vosfm.baselines.repeat`; what does not
            overlap in the prompts must not in its results.
        exclusive: whether a pixel belongs to one object at most, in the prompts and so ever after.
    """

    def __init__(
        self,
        follow: Callable[[Frames, Prompts], Iterator[Result]],
        exclusive: bool = True,
    ) -> None:
        super().__init__(exclusive)
        self.follow = follow

    def track(self, frames: Frames, prompts: Prompts | None = None) -> Iterator[Result]:
        prompts = prompts or {}
        check_any(prompts)
        yield from self.follow(checked(frames, prompts), prompts)
