"""LVOS: long-term video object segmentation, versions 1 and 2.

Layout: <split>/JPEGImages/<video>/00000001.jpg and <split>/Annotations/<video>/00000001.png, at 6
frames per second, so that names go in steps of five; <split>/<split>_meta.json tells the objects
and their ranges; where they were fetched, <split>/<split>_expression_meta.json tells captions and
<split>/<split>_meta_attribute.json the attributes of videos (version 2). The folder of the
validation split is called valid or val, its files begin with either. Of test, only first masks are
public.

Source: Hong et al., arXiv 2211.10181 and 2404.19326; the layout by LingyiHongfd/LVOS and LVOS-api.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vosfm.data.fields import field, read_json
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.formats.layout import (
    Layout,
    LayoutVideos,
    chosen,
    looks_split,
    read_list,
    sequence_folders,
    split_folder,
)
from vosfm.data.index_truth import IndexTruth, mask_names
from vosfm.data.truth import Truth
from vosfm.data.video import VOID
from vosfm.errors import InputError

STEP = 5
"""Frames of the video, at 30 per second, from one annotated frame to the next."""

UNSEEN = "unseen_videos.txt"
"""The list of videos with unseen categories, as it comes with the official evaluation tool."""


@dataclass(frozen=True)
class Told:
    """What <split>_meta.json tells of an object.

    Attributes:
        start: number of the frame in which it is given.
        end: number of the last frame of its range.
    """

    start: int
    end: int


class LVOS(LayoutVideos):
    """The videos of a split of LVOS; each object is given at the start of its range.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder that holds the splits.
        split: its folder, "train", "valid" (or "val") or "test".
        sequences: only these videos of the split; None for all.
        unseen: a list file of the videos with unseen categories; None for the unseen_videos.txt in
            the split or the root, if there is one.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "valid",
        sequences: Sequence[str] | None = None,
        unseen: str | os.PathLike[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._wanted = sequences
        self._unseen = None if unseen is None else Path(unseen)

    def _find(self) -> Layout:
        unseen = None if self._unseen is None else read_list(self._unseen)
        return lvos_layout(self._root, self._split, self._wanted, unseen)


def lvos_layout(
    root: Path,
    split: str | None = None,
    sequences: Sequence[str] | None = None,
    unseen: Collection[str] | None = None,
) -> Layout:
    """Where the videos of a split of LVOS lie; arguments and errors as `lvos_truths`."""
    if split in ("valid", "val") and not (root / split).is_dir():
        split = {"valid": "val", "val": "valid"}[split]
    folder = split_folder("lvos", root, split, ("valid", "val"))
    meta = _file(folder, "_meta.json", "_expression_meta.json")
    if meta is None:
        raise mismatch("lvos", root, f"no file {folder.name}/{folder.name}_meta.json")
    videos = field(read_json(meta, "file"), "videos", dict, str(meta))
    masks = folder / "Annotations"
    there = set(sequence_folders("lvos", root, masks))
    names = chosen([name for name in videos if name in there], sequences, masks)
    if sequences is None and (missing := [name for name in videos if name not in there]):
        raise InputError(
            f"{masks}: {len(missing)} of the {len(videos)} videos of {meta.name} are missing, the "
            f"first is {missing[0]}; unpack them or name the others as sequences"
        )
    attributes = _videos(folder, "_meta_attribute.json")
    captions = _videos(folder, "_expression_meta.json")
    if unseen is None:
        lists = [at / UNSEEN for at in (folder, folder.parent) if (at / UNSEEN).is_file()]
        unseen = read_list(lists[0]) if lists else None

    def truth(name: str) -> Truth:
        told = _objects(videos[name], f"{meta}: {name}")
        return _truth(
            masks / name,
            told,
            str(meta.name),
            unseen=None if unseen is None else frozenset(told) if name in unseen else frozenset(),
            attributes=_attributes(attributes.get(name)),
            captions=_captions(captions.get(name)),
        )

    return Layout(folder / "JPEGImages", masks, names, truth)


def lvos_truths(
    root: Path,
    split: str | None = None,
    sequences: Sequence[str] | None = None,
    unseen: Collection[str] | None = None,
) -> list[Truth]:
    """The annotations of a split of LVOS.

    Args:
        root: the folder that holds the splits; or a split, or its Annotations.
        split: its folder; None for the root if it is a split, else "valid" or "val".
        sequences: only these videos.
        unseen: the videos with unseen categories; None for those of the unseen_videos.txt in the
            split or the root, if there is one.

    Raises:
        InputError: if a folder, file or video is missing, <split>_meta.json is damaged or does not
            fit the annotations, or not all frames of a range have a mask.
    """
    truths = lvos_layout(root, split, sequences, unseen).truths()
    for truth in truths:
        assert isinstance(truth, IndexTruth)
        _check_complete(truth)
    return truths


class LVOSTruth(IndexTruth):
    """The annotation of a video of LVOS.

    Attributes:
        missing: names of the frames of its objects' ranges that have no mask.
    """

    missing: tuple[str, ...] = ()


def _truth(
    path: Path,
    objects: Mapping[int, Told],
    told_by: str,
    unseen: frozenset[int] | None,
    attributes: frozenset[str],
    captions: Mapping[int, str],
) -> LVOSTruth:
    places = {name: place for place, name in enumerate(mask_names(path))}
    if wrong := [name for name in places if not name.isdecimal()]:
        raise InputError(f"{path}: {wrong[0]}.png is not named by its number, as LVOS names frames")
    names = {
        i: [f"{number:08d}" for number in range(told.start, told.end + 1, STEP)]
        for i, told in objects.items()
    }
    for object_id, own in names.items():
        if own[0] not in places:
            raise InputError(
                f"{path}: no annotation of frame {own[0]}, where object {object_id} starts by "
                f"{told_by}; unpack it again"
            )
    truth = LVOSTruth(
        path,
        {i: places[own[0]] for i, own in names.items()},
        ranges={i: tuple(places[n] for n in own if n in places) for i, own in names.items()},
        numbers=[int(name) - 1 for name in places],
        unseen=unseen,
        attributes=attributes,
        captions={i: text for i, text in captions.items() if i in objects},
    )
    every = dict.fromkeys(name for own in names.values() for name in own)
    truth.missing = tuple(name for name in every if name not in places)
    return truth


def _check_complete(truth: Truth) -> None:
    if isinstance(truth, LVOSTruth) and truth.missing:
        raise InputError(
            f"{truth.path}: {len(truth.missing)} frames inside the ranges of its objects have no "
            f"mask, the first is {truth.missing[0]}; of the test split, whose masks are not "
            "public, predict the videos for the benchmark's server; else unpack the masks again"
        )


def _objects(video: Any, whose: str) -> dict[int, Told]:
    objects: dict[int, Told] = {}
    for key, described in field(video, "objects", dict, whose).items():
        what = f"{whose}, object {key}"
        if not key.isdecimal() or not 0 < int(key) < VOID:
            raise InputError(f"{what}: its id is none from 1 to {VOID - 1}; unpack the file again")
        limits = field(described, "frame_range", dict, what)
        start, end = (_number(limits, name, what) for name in ("start", "end"))
        if end < start:
            raise InputError(f"{what}: ends in frame {end}, before it starts in {start}")
        objects[int(key)] = Told(start, end)
    if not objects:
        raise InputError(f"{whose}: tells of no object; leave it out with --sequences")
    return objects


def _number(limits: dict[str, Any], name: str, whose: str) -> int:
    value = limits.get(name)
    if isinstance(value, bool) or not str(value).isdecimal():
        raise InputError(f'{whose}: its "{name}" is {value!r}, no frame; unpack the file again')
    return int(str(value))


def _attributes(video: Any) -> frozenset[str]:
    told = video.get("attributes") if isinstance(video, dict) else None
    return frozenset(str(name) for name in told) if isinstance(told, list) else frozenset()


def _captions(video: Any) -> dict[int, str]:
    objects = video.get("objects") if isinstance(video, dict) else None
    if not isinstance(objects, dict):
        return {}
    return {
        int(key): str(told["caption"])
        for key, told in objects.items()
        if key.isdecimal() and isinstance(told, dict) and told.get("caption")
    }


def _videos(folder: Path, ending: str) -> dict[str, Any]:
    """What a file that need not be there tells of each video."""
    file = _file(folder, ending)
    if file is None:
        return {}
    return field(read_json(file, "file"), "videos", dict, str(file))


def _file(folder: Path, ending: str, other: str = "/") -> Path | None:
    """The file of a split with an ending; its own name first, then any."""
    own = folder / f"{folder.name}{ending}"
    if own.is_file():
        return own
    found = sorted(f for f in folder.glob(f"*{ending}") if not f.name.endswith(other))
    return found[0] if found else None


def _looks(folder: Path) -> str | None:
    return looks_split(
        folder,
        lambda split: (
            (split / "Annotations").is_dir()
            and _file(split, "_meta.json", "_expression_meta.json") is not None
        ),
    )


register(
    Format(
        name="lvos",
        title="LVOS",
        layout=(
            "<split>/JPEGImages/<video>/00000001.jpg, <split>/Annotations/<video>/00000001.png "
            "and <split>/<split>_meta.json"
        ),
        split="valid",
        videos=lambda root, split: LVOS(root, split or "valid"),
        truths=lvos_truths,
        looks=_looks,
        unseen=lvos_truths,
    )
)
