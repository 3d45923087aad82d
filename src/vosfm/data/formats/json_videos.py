"""Benchmarks that one JSON file tells of, masks and all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vosfm.data.datasets import ListedVideos
from vosfm.data.fields import field, read_json
from vosfm.data.formats.format import FORMATS, mismatch
from vosfm.data.rle_truth import RLETruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError


class JSONVideos(ListedVideos):
    """The videos of a file, which is read when the first of them is asked for.

    Attributes:
        format: name of the benchmark's format.
    """

    format: str

    _root: Path
    _file: Path
    _wanted: tuple[str, ...] | None

    @property
    @abstractmethod
    def _told(self) -> Mapping[str, Any]:
        """What the file tells of each video, by its name, in the order of the file."""

    @abstractmethod
    def truth(self, name: str) -> RLETruth:
        """The annotation of a video, which needs no frames.

        Raises:
            InputError: if a field is missing or of another form.
        """

    @cached_property
    def _content(self) -> Any:
        if not self._file.is_file():
            missing = f"no file {self._file.relative_to(self._root)}"
            raise mismatch(self.format, self._root, missing)
        return read_json(self._file, f"annotations of {FORMATS[self.format].title}")

    @cached_property
    def _categories(self) -> dict[int, str]:
        told = field(self._content, "categories", list, str(self._file))
        whose = f"{self._file}: a category"
        return {field(one, "id", int, whose): field(one, "name", str, whose) for one in told}

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the videos, in the order of the file.

        Raises:
            InputError: if the file is missing or damaged, or a wanted video not in it.
        """
        names = tuple(self._told)
        if self._wanted is None:
            return names
        if unknown := [name for name in self._wanted if name not in self._told]:
            raise InputError(
                f"{self._file}: no video {', '.join(unknown)}; there are {len(names)}, the first "
                f"is {', '.join(names[:1]) or 'none'}"
            )
        return tuple(name for name in names if name in self._wanted)

    def truths(self) -> list[Truth]:
        """The annotations of all videos; errors as of `truth`."""
        return [self.truth(name) for name in self.sequences]
