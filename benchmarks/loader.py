"""How fast clips are made of packed samples: `python benchmarks/loader.py --root FOLDER`.

Clips per second of processor time, in one process and one thread, from the same samples in memory
(JPEGs and run-length masks, ten annotated frames each), in turns:

- MUG-VOS: pictures and masks through Pillow and torchvision's transforms one by one, each frame
  first brought to 640 x 1080, as MMPM's released training does with MUG-VOS;
- XMem: the same without that, as XMem's does with its videos;
- one by one: pictures by our decoder, only sampled objects decoded, and the transforms one by one
  with OpenCV;
- ours: `ClipDrawer` on a `PackedVideo`, whose clips are bytes until a model takes them;
- ours, floats: the same, made floats as the others are;
- decode: only the pictures of a clip, by our decoder.

The first two are written for this comparison: horizontal flip and random resized crop to 384, of
0.36 to 1 of the area, color jitter and random gray, alike in a clip; rotation of 15 and shear of 10
degrees and a small jitter, of each frame. Masks become a label map by pycocotools
and take the same geometry through Pillow, to the nearest pixel. (Labels lose overlaps; ours keep
them.)

A dataset of ours is read by --root and --format; without them, videos are rendered.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import process_time

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as Picture
from pycocotools import mask as coco
from torch import Tensor
from torchvision.transforms import ColorJitter as Jitter
from torchvision.transforms import InterpolationMode, RandomAffine, RandomResizedCrop
from torchvision.transforms import functional as one

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data import Sequences
from vosfm.data.drawer import ClipDrawer
from vosfm.data.formats.format import FORMATS, format_named
from vosfm.data.images import decode_image
from vosfm.data.procedural import ProceduralVideo
from vosfm.data.rle import decode
from vosfm.data.shards.columns import Columns
from vosfm.data.shards.cutting import Cut, cut
from vosfm.data.shards.sample import Packed, PackedVideo
from vosfm.data.transforms import ColorJitter
from vosfm.data.video import Video
from vosfm.data.warps import RandomWarp
from vosfm.types import Clip

SIDE = 384
AREA, ASPECT = (0.36, 1.0), (3 / 4, 4 / 3)
ROTATION, SHEAR, FLIP, GRAY = 15.0, 10.0, 0.5, 0.05
JITTER, SMALL = (0.1, 0.03, 0.03), (0.01, 0.01, 0.01)  # brightness, contrast, saturation
MUG_VOS = (640, 1080)

Made = tuple[Tensor, Tensor]
"""(T, 3, H, W) float in [0, 1] and (T, O, H, W) bool."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print clips per second, their ratios, and how many cores feed a GPU."""
    parser = argparse.ArgumentParser(description="Time the making of training clips.")
    parser.add_argument("--root", type=Path, help="folder of a dataset (default: rendered videos)")
    parser.add_argument(
        "--format", help=f"{', '.join(FORMATS)} (default: JPEGImages/ and Annotations/)"
    )
    parser.add_argument("--split", help="of it, such as 2017/val")
    parser.add_argument("--clips", type=int, default=16, help="of a turn (default: 16)")
    parser.add_argument("--turns", type=int, default=7, help="the median is told (default: 7)")
    parser.add_argument("--tracks", type=int, default=32, help="of rendered videos (default: 32)")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), help="of rendered videos")
    parser.add_argument(
        "--trains",
        type=float,
        default=100.0,
        metavar="CLIPS",
        help="clips that the training takes a second on one GPU (default: 100)",
    )
    args = parser.parse_args(arguments)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    samples = list(packed(args))
    first = PackedVideo(samples[0])
    tracks = [len(PackedVideo(sample).areas(0)) for sample in samples]
    print(
        f"{len(samples)} samples of {len(first)} frames, {first.size[0]} x {first.size[1]}, "
        f"{np.mean(tracks):.1f} masks a frame, "
        f"{np.mean([s.size for s in samples]) / len(first) / 1e3:.0f} kB a frame"
    )
    for length, objects in ((3, 1), (5, 3)):
        compare(samples, length, objects, args.turns, args.trains)


def packed(args: argparse.Namespace) -> Iterator[Packed]:
    """As many samples as a turn makes clips of, from all videos in turn."""
    videos: Sequence[Video]
    if args.root is None:
        videos = [
            ProceduralVideo(k, 10, tuple(args.size), args.tracks // 4, parts=True)
            for k in range(min(args.clips, 4))
        ]
    elif args.format is None:
        videos = Sequences(args.root)  # type: ignore[assignment]
    else:
        videos = format_named(args.format).videos(args.root, args.split)  # type: ignore[assignment]
    every = [cut(videos[k], Cut(length=10)) for k in range(len(videos))]
    found: list[Packed] = []
    while len(found) < args.clips and every:
        for clips in list(every):
            sample = next(clips, None)
            if sample is None:
                every.remove(clips)
            else:
                found.append(sample)
    if not found:
        raise SystemExit(f"{args.root}: no annotated video")
    for k in range(args.clips):
        yield found[k % len(found)]


def compare(
    samples: Sequence[Packed], length: int, objects: int, turns: int, trains: float
) -> None:
    """Time all ways of making a clip of every sample, in turns."""
    plain = [Plain(sample) for sample in samples]
    drawer = ClipDrawer(
        length,
        (SIDE, SIDE),
        objects,
        max_gap=5,
        warp=RandomWarp(AREA, ASPECT, FLIP, ROTATION, SHEAR),
        color=ColorJitter(*JITTER, hue=0.0, gray=GRAY),
    )

    def drawn(at: int, rng: Generator) -> Clip:
        video = PackedVideo(samples[at])
        clip = None
        while clip is None:
            clip = drawer.draw(video, rng)
        return clip

    def floats(at: int, rng: Generator) -> Made:
        clip = drawn(at, rng)
        return clip.images[0], clip.masks[0]

    def only_decode(at: int, rng: Generator) -> None:
        for index in draw_frames(plain[at], length, rng):
            decode_image(plain[at].pictures[index], "")

    ways: dict[str, Callable[[int, Generator], object]] = {
        "MUG-VOS": lambda at, rng: pillow(plain[at], length, objects, rng, MUG_VOS),
        "XMem": lambda at, rng: pillow(plain[at], length, objects, rng),
        "one by one": lambda at, rng: one_by_one(plain[at], length, objects, rng),
        "ours, floats": floats,
        "ours": drawn,
        "decode": only_decode,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, turns):  # the first one warms up
        torch.manual_seed(turn + 1)
        # A loader does nothing else; so each way makes some clips in a row, the first uncounted,
        # in turns short enough that whatever else the machine does meets all of them alike.
        for name, make in ways.items():
            make(0, np.random.default_rng(turn + 1))
            start = process_time()
            for at in range(len(samples)):
                make(at, np.random.default_rng([turn + 1, at]))
            if turn >= 0:
                seconds[name].append((process_time() - start) / len(samples))
    of = {name: median(times) for name, times in seconds.items()}
    print(f"\nclips of {length} frames at {SIDE} x {SIDE}, {objects} objects at most")
    for name, second in of.items():
        print(f"  {name:12} {1 / second:8.1f} clips/s   {1e3 * second / length:7.2f} ms a frame")
    for over, under in (
        ("MUG-VOS", "ours"),
        ("XMem", "ours"),
        ("one by one", "ours"),
        ("XMem", "ours, floats"),
        ("one by one", "ours, floats"),
        ("ours, floats", "decode"),
        ("ours", "decode"),
    ):
        print(f"  time of {over} / {under}: {of[over] / of[under]:.2f}")
    print(
        f"  cores for a GPU that trains {trains:g} clips/s: {trains:g} / {1 / of['ours']:.1f} = "
        f"{trains * of['ours']:.1f}, with Pillow as XMem {trains * of['XMem']:.1f}"
    )


class Plain:
    """A sample as a plain dataset would find it: JPEGs, and the masks of each frame as JSON."""

    def __init__(self, sample: Packed) -> None:
        video = PackedVideo(sample)
        members = dict(sample.members)
        self.size = video.size
        self.pictures = [members[f"{index:05d}.jpg"] for index in video.annotated()]
        self.masks = []
        for index in video.annotated():
            columns = Columns.from_bytes(members[f"{index:05d}.masks"], video.size, "")
            rows = zip(columns.ids, columns.counts, strict=True)
            records = [
                {"id": i, "segmentation": {"size": video.size, "counts": counts}}
                for i, counts in rows
            ]
            self.masks.append(json.dumps(records))


def draw_frames(sample: Plain, length: int, rng: Generator) -> list[int]:
    """Frames up to five apart, forwards or backwards."""
    count = len(sample.pictures)
    widest = max(1, min(5, (count - 1) // (length - 1)))
    places = np.cumsum([0, *rng.integers(1, widest + 1, length - 1)])
    places += rng.integers(max(1, count - places[-1]))
    places = np.minimum(places, count - 1)
    return [int(p) for p in (places[::-1] if rng.random() < 0.5 else places)]


def pillow(
    sample: Plain,
    length: int,
    objects: int,
    rng: Generator,
    size: tuple[int, int] | None = None,
) -> Made:
    """Transforms one by one, on Pillow's images."""
    nearest, bilinear = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
    indices = draw_frames(sample, length, rng)
    images = [Picture.open(io.BytesIO(sample.pictures[i])).convert("RGB") for i in indices]
    labels = [label_map(sample, i) for i in indices]
    if size is not None:
        images = [one.resize(image, list(size), bilinear) for image in images]
        labels = [one.resize(label, list(size), nearest) for label in labels]
    window = RandomResizedCrop.get_params(images[0], list(AREA), list(ASPECT))
    mirror, gray = rng.random() < FLIP, rng.random() < GRAY
    colors = draw_jitter(JITTER)
    frames, layers = [], []
    for image, label in zip(images, labels, strict=True):
        if mirror:
            image, label = one.hflip(image), one.hflip(label)
        image = one.resized_crop(image, *window, [SIDE, SIDE], bilinear)
        label = one.resized_crop(label, *window, [SIDE, SIDE], nearest)
        image = jittered(image, colors)
        if gray:
            image = one.rgb_to_grayscale(image, 3)
        angle, moved, scale, shear = RandomAffine.get_params(
            [-ROTATION, ROTATION], None, None, [-SHEAR, SHEAR], [SIDE, SIDE]
        )
        image = one.affine(image, angle, list(moved), scale, list(shear), bilinear)
        label = one.affine(label, angle, list(moved), scale, list(shear), nearest)
        frames.append(one.to_tensor(jittered(image, draw_jitter(SMALL))))
        layers.append(np.asarray(label))
    return torch.stack(frames), split(layers, objects, rng)


def label_map(sample: Plain, index: int) -> Picture.Image:
    """All masks of a frame in one map, those behind first."""
    labels = np.zeros(sample.size, np.uint8)
    for record in json.loads(sample.masks[index]):
        labels[coco.decode(record["segmentation"]) > 0] = record["id"]
    return Picture.fromarray(labels)


def draw_jitter(ranges: tuple[float, float, float]) -> list[float]:
    """Factors of brightness, contrast and saturation."""
    given = [(1 - width, 1 + width) for width in ranges]
    return [float(f) for f in Jitter.get_params(*given, None)[1:4] if f is not None]


def jittered(image: Picture.Image, factors: Sequence[float]) -> Picture.Image:
    """Three changes, one after the other."""
    changes = (one.adjust_brightness, one.adjust_contrast, one.adjust_saturation)
    for change, factor in zip(changes, factors, strict=True):
        image = change(image, factor)
    return image


def one_by_one(sample: Plain, length: int, objects: int, rng: Generator) -> Made:
    """The same transforms, each a pass of OpenCV over arrays; only sampled objects are decoded."""
    indices = draw_frames(sample, length, rng)
    window = RandomResizedCrop.get_params(torch.empty(3, *sample.size), list(AREA), list(ASPECT))
    top, left, height, width = window
    inside = slice(top, top + height), slice(left, left + width)
    mirror, gray = rng.random() < FLIP, rng.random() < GRAY
    colors = draw_jitter(JITTER)
    records = [{r["id"]: r["segmentation"] for r in json.loads(sample.masks[i])} for i in indices]
    ids = rng.permutation(list(records[0]))[:objects].tolist()
    frames, layers = [], []
    for index, told in zip(indices, records, strict=True):
        image = decode_image(sample.pictures[index], "")[inside]
        masks = [
            decode(told[i], "").view(np.uint8) if i in told else np.zeros(sample.size, np.uint8)
            for i in ids
        ]
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        masks = [
            cv2.resize(mask[inside], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
            for mask in masks
        ]
        if mirror:
            image, masks = cv2.flip(image, 1), [cv2.flip(mask, 1) for mask in masks]
        turned = turn(rng)
        image = cv2.warpAffine(image, turned, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        masks = [
            cv2.warpAffine(mask, turned, (SIDE, SIDE), flags=cv2.INTER_NEAREST) for mask in masks
        ]
        for factors in (colors, draw_jitter(SMALL)):
            image = shaded(image, factors)
        if gray:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        frames.append(torch.from_numpy(image).permute(2, 0, 1).contiguous().float().div_(255))
        layers.append(np.stack(masks) > 0)
    return torch.stack(frames), torch.from_numpy(np.stack(layers))


def turn(rng: Generator) -> NDArray[np.float64]:
    """A rotation and a shear about the middle, (2, 3)."""
    angle, slant = np.radians(rng.uniform(-1, 1, 2) * (ROTATION, SHEAR))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, np.tan(slant)], [0.0, 1.0]])
    middle = np.full(2, SIDE / 2)
    return np.column_stack([linear, middle - linear @ middle])


def shaded(image: NDArray[np.uint8], factors: Sequence[float]) -> NDArray[np.uint8]:
    """Brightness, contrast and saturation, one after the other."""
    brightness, contrast, saturation = factors
    image = cv2.convertScaleAbs(image, alpha=brightness)
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    image = cv2.convertScaleAbs(image, alpha=contrast, beta=(1 - contrast) * mean)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, saturation, gray, 1 - saturation, 0), np.uint8)


def split(labels: Sequence[NDArray[np.uint8]], objects: int, rng: Generator) -> Tensor:
    """The masks of some labels that the first frame shows."""
    seen = np.unique(labels[0])
    ids = rng.permutation(seen[seen > 0])[:objects]
    return torch.from_numpy(np.stack(labels)[:, None] == ids[:, None, None])


if __name__ == "__main__":
    main()
