"""Folders of frames beside folders of masks, as most benchmarks lie on disk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.datasets import Videos
from vosfm.data.folder import list_frames
from vosfm.data.formats.format import FORMATS, mismatch
from vosfm.data.index_truth import IndexTruth
from vosfm.data.truth import Truth
from vosfm.data.video import Annotation, Video
from vosfm.errors import InputError

SPLITS = ("train", "valid", "val", "test")
"""What benchmarks call the folders of their splits."""


@dataclass(frozen=True)
class Layout:
    """Where the sequences of a benchmark lie, found without their pictures.

    Attributes:
        frames: the folder with a folder of pictures for each sequence; need not be there.
        masks: the folder with a folder of masks for each sequence.
        names: of the sequences, in the order of the benchmark.
        truth: name of a sequence -> its annotation.
    """

    frames: Path
    masks: Path
    names: tuple[str, ...]
    truth: Callable[[str], Truth]

    def truths(self) -> list[Truth]:
        """The annotations of all sequences.

        Raises:
            InputError: if one is damaged, or does not fit what is told of it.
        """
        return [self.truth(name) for name in self.names]


class IndexVideo(AnnotatedVideo):
    """A video with index PNGs, which it reads one by one: no mask is looked at before its turn."""

    def annotation(self, index: int) -> Annotation | None:
        """The masks of all ids in a frame, or None where it has none.

        Raises:
            InputError: if the PNG is damaged, or of another size than the frames.
        """
        if index not in self._places:
            return None
        assert isinstance(self.truth, IndexTruth)
        labels = self.truth.labels(self._places[index])
        if labels.shape != self.size:
            mask, frame = (f"{h} x {w}" for h, w in (labels.shape, self.size))
            raise InputError(
                f"{self.truth.files[self._places[index]]}: the mask measures {mask} (height x "
                f"width) but its frame {frame}; unpack both again"
            )
        return Annotation.from_labels(labels)


class WholeVideo(IndexVideo):
    """The same, with results asked for in all frames, also where the truth does not speak."""

    def reported(self) -> tuple[int, ...]:
        """All frames."""
        return Video.reported(self)


class LayoutVideos(Videos):
    """The videos of a layout; nothing on disk is touched before the first use."""

    _kind: type[AnnotatedVideo] = WholeVideo

    @abstractmethod
    def _find(self) -> Layout:
        """Look where the sequences lie.

        Raises:
            InputError: if they do not lie as the benchmark has them.
        """

    @cached_property
    def layout(self) -> Layout:
        """Where the sequences lie.

        Raises:
            InputError: if they do not lie as the benchmark has them, or one has no pictures.
        """
        layout = self._find()
        check_all_there(layout.frames, layout.names)
        return layout

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the videos."""
        return self.layout.names

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.names)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        """A video, its frames and masks read lazily."""
        name = self.names[index]
        truth = self.layout.truth(name)
        files = list_frames(self.layout.frames / name)
        places = {file.stem: place for place, file in enumerate(files)}
        if missing := [frame for frame in truth.frame_names if frame not in places]:
            raise InputError(
                f"{self.layout.frames / name}: no picture of {len(missing)} annotated frames, the "
                f"first is {missing[0]}; unpack it again"
            )
        return self._kind(truth, files, [places[frame] for frame in truth.frame_names])


def split_folder(
    name: str, root: Path, split: str | None, usual: Sequence[str], masks: str = "Annotations"
) -> Path:
    """Find the folder of a split.

    Args:
        name: of the format.
        root: the folder that holds the splits; or a split; or its folder of masks.
        split: its folder in the root; None: the root if it is a split, else the first of `usual`.
        usual: what the split may be called that is read if none is named.
        masks: the folder of masks in a split.

    Raises:
        InputError: if there is none, or it looks like a split of another benchmark; the message
            says of which.
    """
    if split is not None:
        candidates = [root / split]
    else:
        candidates = [root, *([root.parent] if root.name == masks else [])]
        candidates += [root / folder for folder in usual]
    for folder in candidates:
        if (folder / masks).is_dir():
            others = (other for other in FORMATS.values() if other.name != name)
            if not FORMATS[name].looks(folder) and any(other.looks(folder) for other in others):
                splits = [folder for folder in usual if folder != "."]
                lack = f"no folder {splits[0]}/{masks}, and is no split itself" if splits else ""
                raise mismatch(name, folder, lack or f"{masks} of another kind")
            return folder
    raise mismatch(name, root, f"no folder {split or usual[0]}/{masks}")


def sequence_folders(name: str, root: Path, folder: Path, holds: str = "*.png") -> tuple[str, ...]:
    """The sequences of a folder of masks, in the order of their names.

    Args:
        name: of the format.
        root: that was given, for the message.
        folder: that holds a folder for each sequence.
        holds: pattern of what at least one of them holds.

    Raises:
        InputError: if there are none, or none holds masks; the message says what the root looks
            like.
    """
    if not folder.is_dir():
        raise mismatch(name, root, f"no folder {folder.relative_to(root.parent)}")
    names = tuple(sorted(f.name for f in folder.iterdir() if f.is_dir() and f.name[0] != "."))
    if not names:
        raise InputError(f"{folder}: no sequence folders; give the folder that holds them")
    bare = not any(True for sequence in names for _ in (folder / sequence).glob(holds))
    if bare and any(other.looks(root) for other in FORMATS.values() if other.name != name):
        raise mismatch(name, root, f"no {holds} in the folders of {folder.name}")
    return names


def chosen(
    names: Sequence[str], wanted: Sequence[str] | None, where: Path, what: str = "annotation"
) -> tuple[str, ...]:
    """Those of the sequences that are wanted, in the order of the benchmark.

    Raises:
        InputError: if one that is wanted is not there.
    """
    if wanted is None:
        return tuple(names)
    if unknown := [name for name in wanted if name not in set(names)]:
        shown = ", ".join(unknown[:5])
        raise InputError(
            f"{where}: no {what} of sequence{'s' if len(unknown) > 1 else ''} {shown}; there are "
            f"{len(names)}, the first is {names[0]}; correct the names (--sequences)"
        )
    return tuple(name for name in names if name in set(wanted))


def check_all_there(folder: Path, names: Sequence[str]) -> None:
    """Check that each sequence has a folder.

    Raises:
        InputError: if one has none.
    """
    if missing := [name for name in names if not (folder / name).is_dir()]:
        raise InputError(
            f"{folder}: {len(missing)} of {len(names)} sequences are missing, the first is "
            f"{missing[0]}; unpack them or name the others as sequences"
        )


def read_list(path: Path, what: str = "sequence") -> tuple[str, ...]:
    """Read a list, each name once, in their order.

    Args:
        path: of a file, a name a line.
        what: it names, for messages.

    Raises:
        InputError: if the file cannot be read or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: no readable list; give a file, a {what} a line") from None
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise InputError(f"{path}: names no {what}; write one a line")
    return names


def looks_split(folder: Path, accepts: Callable[[Path], bool]) -> str | None:
    """Say whether a folder is a split of a benchmark, or holds one of the usual name."""
    if accepts(folder):
        return "a split of it"
    for name in SPLITS:
        if accepts(folder / name):
            return f"its split {name}"
    return None


def has_sequences(split: Path) -> bool:
    """Whether a folder has frames or masks in the usual folders, a folder for each sequence."""
    return any((split / kind).is_dir() for kind in ("JPEGImages", "Annotations"))
