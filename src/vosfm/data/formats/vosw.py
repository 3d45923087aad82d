"""VOSW, made from VIPSeg: things and stuff alike are objects.

Layout: imgs/<video>/00000001.jpg, panomasks/<video>/00000001.png and lists of videos, <split>.txt;
or, where VIPSeg was brought to 720p, images/<video>. A panoptic mask has 16 bits (8 where it holds
stuff alone): 0 is void, 1 to 124 a category of stuff, above that 100 x category + instance of a
thing. Where there are panomasksRGB alone, which VIPSeg's own scripts make, a color is an object.

Of VOSW no list of videos and no script was published. So the list is a file that the user gives,
videos.txt, and how masks become objects is ours, by what the paper says: things and stuff turned
into objects, their ids shuffled, small noisy parts dropped, masks given where objects appear first.

Source: VIPSeg-Dataset/VIPSeg-Dataset, README.md, create_panoptic_video_labels.py and issue 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.datasets import ListedVideos
from vosfm.data.fields import checked, field, read_json
from vosfm.data.folder import list_frames
from vosfm.data.formats.format import Format, mismatch, register
from vosfm.data.panoptic_truth import PanopticTruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError

CATEGORIES = "panoVIPSeg_categories.json"


class VOSW(ListedVideos):
    """Videos of VIPSeg whose things and stuff are objects, each given where it appears first.

    VIPSeg has 5 frames a second, all of them annotated. The bound on the resolution that the paper
    names, 1.3 x 480p, is one of the model's input, so that it is set there; masks are read, and
    results scored, at the size that VIPSeg has.

    Nothing on disk is touched before the first use, so a configuration may name data that its
    command does not need.

    Args:
        root: the folder of VIPSeg.
        split: the list of videos, <split>.txt below the root, one a line. VIPSeg has "train", "val"
            and "test" (without masks); that of VOSW, of 348 videos, was never published.
        noise: share of the frame below which a connected part of an object is dropped.
        seed: for the shuffled ids.
        sequences: only these videos of the list; None for all.

    Source: AOST (Yang et al., arXiv 2203.11442), which introduces VOSW; VIPSeg (Miao et al., Large-
    scale Video Panoptic Segmentation in the Wild).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "videos",
        noise: float = 1e-4,
        seed: int = 0,
        sequences: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(root)
        self._split = split
        self._noise = noise
        self._seed = seed
        self._wanted = None if sequences is None else tuple(sequences)

    @cached_property
    def _masks(self) -> Path:
        for name in ("panomasks", "panomasksRGB"):
            if (self._root / name).is_dir():
                return self._root / name
        raise mismatch("vosw", self._root, "no folder panomasks")

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Names of the videos, in the order of the list.

        Raises:
            InputError: if the masks, the list or a video are missing.
        """
        masks = self._masks
        names = self._listed()
        if self._wanted is not None:
            if unknown := [name for name in self._wanted if name not in names]:
                raise InputError(
                    f"{self._root}: the list {self._split} has no video {', '.join(unknown)}; it "
                    f"has {len(names)}, the first is {names[0]}"
                )
            names = tuple(name for name in names if name in self._wanted)
        if missing := [name for name in names if not (masks / name).is_dir()]:
            raise InputError(
                f"{masks}: {len(missing)} of the {len(names)} videos of the list {self._split} are "
                f"missing, the first is {missing[0]}; unpack them or shorten the list"
            )
        return names

    def __getitem__(self, index: int) -> AnnotatedVideo:
        """A video, its frames and masks read lazily."""
        truth = self.truth(self.sequences[index])
        folders = [self._root / name for name in ("imgs", "images")]
        frames = next((folder for folder in folders if folder.is_dir()), None)
        if frames is None:
            raise InputError(f"{self._root}: no folder imgs or images with frames; unpack them")
        files = list_frames(frames / truth.name)
        places = {file.stem: at for at, file in enumerate(files)}
        if absent := [name for name in truth.frame_names if name not in places]:
            raise InputError(
                f"{frames / truth.name}: no frame {absent[0]}, which has a mask; unpack it again"
            )
        return AnnotatedVideo(truth, files, [places[name] for name in truth.frame_names])

    def truth(self, name: str) -> PanopticTruth:
        """The annotation of a video, which needs no frames."""
        return PanopticTruth(
            list_frames(self._masks / name), name, self._noise, self._seed, self._categories
        )

    @cached_property
    def _categories(self) -> dict[int, str]:
        path = self._root / CATEGORIES
        if self._masks.name != "panomasks" or not path.is_file():
            return {}
        whose = f"{path}: a category"
        told = checked(read_json(path, "list of categories"), list, f"{path}: it")
        # The masks count categories from 1, since 0 is void there; this file counts from 0.
        return {field(one, "id", int, whose) + 1: field(one, "name", str, whose) for one in told}

    def _listed(self) -> tuple[str, ...]:
        path = self._root / f"{self._split}.txt"
        if not path.is_file():
            found = ", ".join(sorted(f.stem for f in self._root.glob("*.txt"))) or "none"
            raise InputError(
                f"{path}: no such list; the videos of VOSW were never published, so write them "
                f"there, one a line, or take a list of VIPSeg as the split; there are: {found}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
        names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not names:
            raise InputError(f"{path}: lists no video; write one a line")
        if odd := [name for name in names if Path(name).name != name or name == ".."]:
            raise InputError(f"{path}: {odd[0]!r} is not the name of one folder; correct the list")
        return names


def _videos(root: Path, split: str | None) -> VOSW:
    return VOSW(root, split or "videos")


def _truths(root: Path, split: str | None, sequences: Sequence[str] | None) -> list[Truth]:
    videos = VOSW(root, split or "videos", sequences=sequences)
    return [videos.truth(name) for name in videos.sequences]


def _looks(root: Path) -> str | None:
    return "VIPSeg" if any((root / f"panomasks{s}").is_dir() for s in ("", "RGB")) else None


register(
    Format(
        name="vosw",
        title="VOSW",
        layout="imgs/<video>/<frame>.jpg, panomasks/<video>/<frame>.png and <list>.txt, as VIPSeg",
        split="videos",
        videos=_videos,
        truths=_truths,
        looks=_looks,
    )
)
