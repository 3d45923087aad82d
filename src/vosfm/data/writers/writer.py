"""Truths put on disk in the layout of a benchmark: the contract, and what its layouts share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from vosfm.data.truth import Truth
from vosfm.data.video import VOID
from vosfm.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What a sequence and all that is in it are called in the other layout.

    Attributes:
        name: of the sequence.
        object_ids: id in the truth -> id as it is read back; in ascending order of both.
        frame_names: stem of each annotated frame, as it is read back.
        pictures: stem of every picture, in the order of time; None if none are written.
    """

    name: str
    object_ids: Mapping[int, int]
    frame_names: tuple[str, ...]
    pictures: tuple[str, ...] | None


class Writer(ABC):
    """One layout, written so that the format of the same name reads the same truths.

    Attributes:
        format: the name of that format.

    Args:
        root: the folder to write into.
        split: of the benchmark; None where it has none.

    Raises:
        InputError: if the benchmark has no such split.
    """

    format: ClassVar[str]

    def __init__(self, root: Path, split: str | None) -> None:
        self.root = root
        self.split = split
        path = PurePosixPath(split or ".")
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"split {split}: leads out of {root}; give a name")

    @property
    @abstractmethod
    def masks(self) -> Path:
        """The folder that holds a folder of masks for each sequence."""

    @property
    @abstractmethod
    def frames(self) -> Path:
        """The folder that holds a folder of pictures for each sequence."""

    def plan(self, truth: Truth, pictures: Sequence[str] | None = None) -> Plan:
        """Name what a sequence holds, without a look at its masks.

        Ids and names are kept where the layout can hold them; else objects are counted in the
        order of their ids, and frames are called by their numbers.

        Args:
            truth: of the sequence.
            pictures: stem of each of its pictures; None if none are to be written.

        Raises:
            InputError: if the layout cannot hold the sequence.
        """
        if not truth.object_ids:
            raise InputError(f"{truth.name}: no object in it; leave it out with --sequences")
        if PurePosixPath(truth.name).parts != (truth.name,) or truth.name[0] == ".":
            raise InputError(f"{truth.name}: no name for a folder; leave it out with --sequences")
        annotated, all_pictures = self._frame_names(truth, pictures)
        return Plan(truth.name, self._number(truth), annotated, all_pictures)

    @abstractmethod
    def write(self, truth: Truth, plan: Plan, folder: Path) -> list[str]:
        """Write the masks of a sequence.

        Args:
            truth: of the sequence.
            plan: as `plan` made it.
            folder: for its masks; it exists and is empty, and gets its own name afterwards.

        Returns:
            What of the truth the layout cannot hold and can do without, a line each.

        Raises:
            InputError: if the layout cannot hold the masks, or one cannot be read.
        """

    def finish(self, truths: Sequence[Truth], plans: Sequence[Plan]) -> None:  # noqa: B027
        """Write the lists of the split, once all sequences lie there."""

    def kept(self, names: Sequence[str]) -> list[str] | None:
        """What frames of these names are called; None if they cannot be told by their names.

        Readers take frames in the order of their names, some by letters and some by the numbers in
        them. Names of one length have the same order in both.
        """
        same = len({len(name) for name in names}) == 1
        return list(names) if same and sorted(set(names)) == list(names) else None

    def _number(self, truth: Truth) -> dict[int, int]:
        """Keep the ids if the layout holds them, else count from 1."""
        ids = truth.object_ids
        if len(ids) >= VOID:
            raise InputError(
                f"{truth.name}: {len(ids)} objects, but {self.format} holds {VOID - 1} in a "
                "sequence; leave it out with --sequences"
            )
        if self.keeps(ids):
            return dict(zip(ids, ids, strict=True))
        return {object_id: count for count, object_id in enumerate(ids, 1)}

    def keeps(self, ids: Collection[int]) -> bool:
        """Whether the layout holds objects of these ids."""
        return min(ids) > 0 and max(ids) < VOID

    def _frame_names(
        self, truth: Truth, pictures: Sequence[str] | None
    ) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
        every = truth.frame_names if pictures is None else tuple(pictures)
        at = {name: index for index, name in enumerate(every)}
        if absent := [name for name in truth.frame_names if name not in at]:
            raise InputError(
                f"{truth.name}: no picture of the frame {absent[0]}, which has masks; unpack the "
                "frames again, or write masks alone with --frames none"
            )
        names = self.kept(every) or self.kept(_counted(truth, every, at))
        if names is None:
            raise InputError(
                f"{truth.name}: neither the names of its frames nor their numbers are in the order "
                "of time; leave it out with --sequences"
            )
        annotated = tuple(names[at[name]] for name in truth.frame_names)
        return annotated, None if pictures is None else tuple(names)


def _counted(truth: Truth, every: Sequence[str], at: Mapping[str, int]) -> list[str]:
    """Names of frames by their numbers in the video."""
    numbers = dict(zip(truth.frame_names, truth.numbers, strict=True))
    if len(numbers) < len(every):
        if odd := [name for name, number in numbers.items() if at[name] != number]:
            raise InputError(
                f"{truth.name}: its frames have to be renamed, by their numbers, but {odd[0]} is "
                f"picture {at[odd[0]]} and frame {numbers[odd[0]]}; write masks alone with "
                "--frames none"
            )
        numbers = dict(at)
    width = max(5, len(str(max(numbers.values()))))
    return [f"{numbers[name]:0{width}d}" for name in every]
