"""The work on one video and on one clip, for any process anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vosfm.collect.corpus import ClipFolders, Corpus
from vosfm.collect.cutting import cut
from vosfm.collect.following import TrackedMask, follow
from vosfm.collect.oracle import Oracle
from vosfm.collect.recipe import Recipe, Tools, tools_of
from vosfm.collect.sources import Source, rate_of
from vosfm.data.images import encode_jpeg, resize_image
from vosfm.data.rle import encode
from vosfm.data.video import VOID, Image, Mask, Video
from vosfm.errors import InputError

_JPEG = b"\xff\xd8"
_QUALITY = 95


@dataclass(frozen=True)
class Job:
    """One clip.

    Attributes:
        clip: its name.
        source: the video that it is cut from.
        frames: which of the video's, ascending, counted from 0.
    """

    clip: str
    source: Source
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Failure:
    """What could not be collected.

    Attributes:
        name: of a clip, or of a video that could not be cut.
        reason: why.
    """

    name: str
    reason: str


def cut_source(recipe: Recipe, root: Path, source: Source) -> Failure | list[Job]:
    """Cut a video into clips, or recall how it was cut.

    Args:
        recipe: of the corpus.
        root: its folder.
        source: the video.

    Returns:
        A job for each clip, or why there is none.

    Raises:
        InputError: if the corpus cannot be written.
    """
    corpus = Corpus(root)
    clips = corpus.cuts(source.name)
    if clips is None:
        try:
            with _one_thread():
                clips = _cut(recipe, source)
        except InputError as error:
            return Failure(source.name, str(error))
        except Exception as error:  # of a decoder: the other videos go on
            return Failure(source.name, f"{type(error).__name__}: {error}")
        with _writing(root):
            corpus.keep_cuts(source.name, clips)
    return [Job(f"{source.name}_{clip[0]:05d}", source, tuple(clip)) for clip in clips]


def collect_clip(recipe: Recipe, root: Path, job: Job) -> Failure | None:
    """Collect a clip unless it is there; the same bytes wherever, and how often, it is done.

    Args:
        recipe: of the corpus.
        root: its folder.
        job: the clip.

    Returns:
        None once the clip is there, or why it is not.

    Raises:
        InputError: if the networks cannot be built, or the corpus cannot be written.
    """
    corpus = Corpus(root)
    if corpus.has(job.clip):
        return None
    with _one_thread():
        tools = tools_of(recipe)
        try:
            with _writing(root), corpus.writing(job.clip) as folders:
                folders.record = _collect(recipe, tools, job, folders)
        except _UnwritableError:
            raise
        except InputError as error:
            return Failure(job.clip, str(error))
        except Exception as error:  # of a network or a decoder: the other clips go on
            return Failure(job.clip, f"{type(error).__name__}: {error}")
    return None


def _cut(recipe: Recipe, source: Source) -> list[list[int]]:
    video = source.open()
    among = None
    if recipe.needs_truth:
        among = frozenset(video.annotated())
        if not among:
            raise InputError(f"{video.name}: has no true masks; collect it without an oracle")
    clips = [list(clip) for clip in cut(video, recipe.cutting, rate_of(video), among)]
    if not clips:
        raise InputError(
            f"{video.name}: no scene of {recipe.cutting.min_length} frames to take; lower "
            "--min-length, or leave it out"
        )
    return clips


def _collect(recipe: Recipe, tools: Tools, job: Job, folders: ClipFolders) -> dict[str, Any]:
    """Write the pictures and tracks of a clip; returns what is to be known of it."""
    video = job.source.open()
    size = _target(video.size, recipe.short_edge)
    oracle = None
    if recipe.needs_truth:
        oracle = Oracle(_truth(video, job.frames, size), seed=recipe.seed_of(job.clip))
    frames = _frames(video, job.frames, size, folders.pictures)
    proposer, segmenter = tools.of_clip(recipe, oracle)
    seed = recipe.seed_of(job.clip)
    counts: list[int] = []
    covered = 0
    for place, tracks in enumerate(
        follow(frames, proposer, segmenter, tools.flow, recipe.settings, seed)
    ):
        if place == 0 and not tracks:
            raise InputError("no mask was proposed in its first frame")
        if len(tracks) >= VOID:
            raise InputError(
                f"{len(tracks)} tracks, of which {VOID - 1} can be told apart; set a "
                "limit with --max-tracks"
            )
        records = [_record(track) for track in tracks]
        (folders.masks / f"{place:05d}.json").write_text(json.dumps(records, separators=(",", ":")))
        counts.append(len(tracks))
        if tracks:
            covered += int(np.count_nonzero(np.any([track.mask for track in tracks], axis=0)))
    return {
        "video": job.source.name,
        "frames": list(job.frames),
        "size": list(size),
        "tracks": counts[0],
        "lost": counts[0] - counts[-1],
        "masks": sum(counts),
        "density": covered / (len(counts) * size[0] * size[1]),
    }


def _record(track: TrackedMask) -> dict[str, Any]:
    return {
        "id": track.id,
        "segmentation": encode(track.mask),
        "area": int(np.count_nonzero(track.mask)),
        "iou": round(float(track.iou), 6),
        "point_coords": None
        if track.points is None
        else [[round(float(x), 2), round(float(y), 2)] for x, y in track.points],
    }


def _target(size: tuple[int, int], short_edge: int | None) -> tuple[int, int]:
    """The size of frames that are shrunk if they are too large."""
    if short_edge is None or min(size) <= short_edge:
        return size
    height, width = (max(1, round(side * short_edge / min(size))) for side in size)
    return height, width


def _frames(
    video: Video, numbers: Sequence[int], size: tuple[int, int], folder: Path
) -> Iterator[Image]:
    """The frames of a clip, one by one; each is written as a picture as it passes."""
    files = video.files
    wanted = iter(enumerate(numbers))
    place, number = next(wanted)
    for index, image in enumerate(video.frames(numbers[0]), start=numbers[0]):
        if index < number:
            continue
        frame = resize_image(image, size)
        file = folder / f"{place:05d}.jpg"
        if files is not None and frame is image and _is_jpeg(files[index]):
            file.write_bytes(files[index].read_bytes())
        else:
            file.write_bytes(encode_jpeg(frame, _QUALITY))
        yield frame
        following = next(wanted, None)
        if following is None:
            return
        place, number = following
    raise InputError(f"{video.name}: ends before frame {number}, which it had as it was cut")


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _JPEG


def _truth(video: Video, numbers: Sequence[int], size: tuple[int, int]) -> Callable[[int], Mask]:
    """The true masks of a clip, for an oracle: place -> (O, H, W) bool."""
    ids = sorted({i for number in numbers for i in video.areas(number)})

    def masks(place: int) -> Mask:
        found = video.masks_of(numbers[place], ids)
        if found.shape[1:] == size:
            return found
        shrunk = np.zeros((len(ids), *size), np.bool_)
        for row, mask in enumerate(found.view(np.uint8)):
            shrunk[row] = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
        return shrunk

    return masks


class _UnwritableError(InputError):
    """The corpus cannot be written, so that no other clip can be collected either."""


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _UnwritableError(f"{root}: cannot be written ({error.strerror})") from None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: what networks make of a frame depends on how many there are."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
