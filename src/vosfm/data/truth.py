"""What is true of one sequence, frame by frame, without its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from vosfm.data.video import Mask


class Truth(ABC):
    """The annotation of one sequence: what it is scored, described and converted by.

    It needs no picture of the sequence and holds no mask; it can be sent to other processes.
    A *place* is an index into `frame_names`.

    Attributes:
        name: of the sequence; what results are filed under.
        frame_names: stem of every annotated frame, in the order of time; results have these names.
        numbers: of every annotated frame, which frame of the video it is, counted from 0 at the
            video's own rate; as far as the format tells, else its place.
        length: how many frames the video has at this rate, as far as the format tells.
        object_ids: the objects that count, each once, in ascending order.
        starts: object id -> place of the frame in which it is given.
        ranges: object id -> places in which its annotation is complete: where it has no mask there,
            it is not in sight. None for all places from its start on.
        overlapping: whether masks may overlap, so that results lie in a folder for each object.
        unseen: the objects whose category training has not shown; None if the format does not tell.
        attributes: challenges that the dataset itself names of the sequence, such as "FM".
        captions: object id -> what the dataset says of it in words, or its category.
    """

    name: str
    frame_names: tuple[str, ...]
    numbers: tuple[int, ...]
    length: int
    object_ids: tuple[int, ...]
    starts: Mapping[int, int]
    ranges: Mapping[int, tuple[int, ...]] | None = None
    overlapping: bool = False
    unseen: frozenset[int] | None = None
    attributes: frozenset[str] = frozenset()
    captions: Mapping[int, str] = {}

    @abstractmethod
    def masks(self, place: int) -> Mask:
        """(O, H, W) bool masks of a frame, in the order of `object_ids`; empty out of sight.

        Raises:
            InputError: if the annotation is missing, damaged or of another size than its frame.
        """

    def void(self, place: int) -> Mask | None:
        """(H, W) bool, pixels of a frame without a truth; None if there are none."""
        return None

    def ids(self, place: int) -> tuple[int, ...]:
        """The objects whose annotation speaks of a frame: those whose range holds it."""
        if self.ranges is None:
            return tuple(i for i in self.object_ids if self.starts[i] <= place)
        return tuple(i for i in self.object_ids if place in self.ranges[i])
