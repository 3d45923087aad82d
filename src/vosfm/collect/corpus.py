"""A corpus on disk: clips that are there are whole, and written once.

Layout, which `vosfm.data.formats.mug_vos_train` reads:

    JPEGImages/<clip>/00000.jpg      pictures
    Annotations/<clip>/00000.json    the tracks of each, comes last of a clip
    collection.json                  what is collected and how, comes first
    manifest.json                    what became of it, comes last of all
    .records/clips, .records/cuts    what is known of each clip, and of each video's clips

Everything is written under a temporary name, .NAME.partial, and then renamed. So a run that was
killed leaves whole things and partial ones, and the next run clears the latter away.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vosfm.data.claim import write_json
from vosfm.data.fields import read_json
from vosfm.data.formats.mug_vos_train import FRAMES, MASKS
from vosfm.errors import InputError

COLLECTION, MANIFEST, RECORDS = "collection.json", "manifest.json", ".records"
_PARTIAL = ".*.partial"


class Corpus:
    """The folder of a corpus.

    Args:
        root: of it; need not be there yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pictures, self.masks = root / FRAMES, root / MASKS
        self._clips, self._cuts = root / RECORDS / "clips", root / RECORDS / "cuts"

    @contextmanager
    def opened(self, collection: Mapping[str, Any]) -> Iterator[None]:
        """Begin or go on, alone, with what is collected and how.

        Args:
            collection: JSON; a run that goes on must say the same as the first one.

        Raises:
            InputError: if the folder holds something else, cannot be made, or another run writes
                into it.
        """
        path = self.root / COLLECTION
        if self.root.exists() and not path.is_file() and not _is_bare(self.root):
            raise InputError(
                f"{self.root}: holds what no collection wrote; give a new or an empty folder"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                write_json(path, collection)
            for folder in (self.pictures, self.masks, self._clips, self._cuts):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.root}: cannot be written ({error.strerror})") from None
        with path.open("rb") as file:
            try:
                # The lock of a process that is killed goes with it.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.root}: another run writes into it; wait for it, or give another folder"
                ) from None
            _check_same(path, read_json(path, "record of a collection"), collection)
            self._clear()
            yield
            self._clear()

    def cuts(self, source: str) -> list[list[int]] | None:
        """The frames of each clip of a video, as an earlier run cut it; None if none did."""
        path = self._cuts / f"{source}.json"
        return read_json(path, "record of cuts") if path.is_file() else None

    def keep_cuts(self, source: str, clips: list[list[int]]) -> None:
        """Note the frames of each clip of a video."""
        write_json(self._cuts / f"{source}.json", clips)

    def has(self, clip: str) -> bool:
        """Whether a clip is there, whole."""
        return (self.masks / clip).is_dir()

    def record(self, clip: str) -> dict[str, Any]:
        """What is known of a clip that is there."""
        record: dict[str, Any] = read_json(self._clips / f"{clip}.json", "record of a clip")
        return record

    @contextmanager
    def writing(self, clip: str) -> Iterator[ClipFolders]:
        """Write a clip: it is there once the block has ended and given a record, else nothing is.

        Raises:
            ValueError: if the block ends without a record.
        """
        mark = uuid.uuid4().hex
        partial = [folder / f".{clip}.{mark}.partial" for folder in (self.pictures, self.masks)]
        folders = ClipFolders(*partial)
        try:
            for folder in partial:
                folder.mkdir()
            yield folders
            if folders.record is None:
                raise ValueError(f"no record of clip {clip}")
            # Whoever finds the masks finds everything.
            _place(partial[0], self.pictures / clip)
            write_json(self._clips / f"{clip}.json", folders.record)
            _place(partial[1], self.masks / clip)
        except BaseException:
            if not self.has(clip):
                shutil.rmtree(self.pictures / clip, ignore_errors=True)
                (self._clips / f"{clip}.json").unlink(missing_ok=True)
            raise
        finally:
            for folder in partial:
                shutil.rmtree(folder, ignore_errors=True)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write what became of the collection."""
        write_json(self.root / MANIFEST, manifest)

    def _clear(self) -> None:
        """Remove what a killed run left unfinished."""
        for folder in (self.root, self.pictures, self.masks, self._clips, self._cuts):
            for partial in folder.glob(_PARTIAL):
                if partial.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    partial.unlink(missing_ok=True)


class ClipFolders:
    """Where a clip is written before it is whole.

    Args:
        pictures: the folder of its pictures.
        masks: the folder of its JSON files.

    Attributes:
        record: what is to be known of it; set before the end.
    """

    def __init__(self, pictures: Path, masks: Path) -> None:
        self.pictures = pictures
        self.masks = masks
        self.record: Mapping[str, Any] | None = None


def _is_bare(root: Path) -> bool:
    """Whether a folder holds nothing, or the first steps of a run that was killed at once."""
    return root.is_dir() and all(path.match(_PARTIAL) for path in root.iterdir())


def _check_same(path: Path, before: Any, now: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(now))
    if before == now:
        return
    told = before if isinstance(before, dict) else {}
    changed = next((key for key in now if told.get(key) != now[key]), "form")
    inner, wanted = told.get(changed), now.get(changed)
    if isinstance(inner, dict) and isinstance(wanted, dict):
        names = sorted(key for key in inner | wanted if inner.get(key) != wanted.get(key))
        changed = f"{changed}: {', '.join(names)}"
    raise InputError(
        f"{path}: begun with another {changed}; give the same, or collect into another folder"
    )


def _place(partial: Path, final: Path) -> None:
    """Give a whole folder its name; one that has it already is the same."""
    if not final.is_dir():
        partial.replace(final)
