"""How fast AOT tracks: `python benchmarks/aot.py --model aot_l --official PATH`.

The whole stream is timed, from a frame in memory to masks of its size: prepare, encode, propose,
aggregate, decide, remember, with a model that `vosfm.fuse` made for it. Two contestants see every
frame one after the other, in one process, with the same random weights. Told are seconds of every
frame, of the wall and of the processor (which says more where other programs run, but only with
`--threads 1`), and at the end where our own time goes.

With `--official PATH` the other contestant is the released AOT, the branch `main` of
yoxu515/aot-benchmark in a checkout at PATH. It is timed from our prepared frame on (resizing is
left out of its time) to the map of labels, and remembers our labels, lest a near tie that falls to
either side makes the two streams part: so their logits at stride 4 can be compared.

Its short-term attention has several forms; a block takes the second if the CUDA extension
`spatial_correlation_sampler` is installed, and else the third, which then fails. The second runs
without the extension, too: to run on a CPU, edit `networks/layers/transformer.py` of the checkout
so that `LongShortTermTransformerBlock` takes `MultiheadLocalAttentionV2` in either case. Nothing
else has to be changed, built or downloaded.

Without PATH, `--precision bf16` runs beside our own float32; with neither, ours runs alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import vosfm
from vosfm.tracker import Precision
from vosfm.types import Decoded

Frame = NDArray[np.uint8]
SPEED = 3  # of the drifting background, in pixels a frame


@dataclass
class Clock:
    """Seconds of every frame, of the wall and of the processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @contextmanager
    def frame(self) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)


class Ours:
    """A tracker of ours, which keeps the logits of its last frame and says where its time went."""

    def __init__(self, segmenter: vosfm.Segmenter, precision: Precision = "32") -> None:
        segmenter = vosfm.fuse(deepcopy(segmenter))
        self.clock = Clock()
        self.parts: dict[str, float] = {}
        self.logits = torch.empty(0)
        self.tracker = vosfm.Tracker(segmenter, precision=precision)
        self._watch(segmenter)

    def step(self, frame: Frame, given: Frame | None) -> Frame:
        """Track a frame, the first with labels that are given."""
        prompts = None
        if given is not None:
            prompts = {int(i): given == i for i in np.unique(given) if i}
        with self.clock.frame():
            (result,) = self.tracker.step(frame, prompts)
        ids = np.array(result.object_ids, np.uint8)[:, None, None]
        return (result.masks * ids).sum(0, dtype=np.uint8)

    def follow(self, leader: Ours, frame: Frame, given: Frame | None, seen: Frame) -> str:
        """Track the same frame as the other contestant, and say how far they agree."""
        return f"{np.mean(self.step(frame, given) == seen):.2%} of pixels agree"

    def _watch(self, segmenter: vosfm.Segmenter) -> None:
        self._time("encoder", segmenter.encoder)
        self._time("decoder", segmenter.decoder)
        self._time("identities of masks", segmenter.mask_encoder)
        for block in segmenter.memory.reader.blocks:
            self._time("self-attention", block.self_attention)
            self._time("long-term attention", block.long_term)
            self._time("short-term attention", block.short_term)
            self._time("feed-forward", block.feed_forward)

        def keep(module: nn.Module, inputs: Any, output: Decoded) -> None:
            assert output.background is not None
            self.logits = torch.cat((output.background[:, 0], output.logits[:, :, 0]), 1)

        segmenter.decoder.register_forward_hook(keep)

    def _time(self, name: str, module: nn.Module) -> None:
        started = [0.0]

        def start(*_: Any) -> None:
            started[0] = time.process_time()

        def stop(*_: Any) -> None:
            self.parts[name] = self.parts.get(name, 0.0) + time.process_time() - started[0]

        module.register_forward_pre_hook(start)
        module.register_forward_hook(stop)


class Official:
    """The released AOT, driven as its evaluation drives it."""

    def __init__(self, checkout: Path, name: str) -> None:
        sys.path.insert(0, str(checkout))
        from configs.default import DefaultEngineConfig
        from networks.engines import build_engine
        from networks.models import build_vos_model

        settings = DefaultEngineConfig(model=name.replace("_", ""))
        self.clock = Clock()
        self.model: nn.Module = build_vos_model("aot", settings).eval()
        self.engine = build_engine(
            settings.MODEL_ENGINE,
            phase="eval",
            aot_model=self.model,
            gpu_id=-1,
            long_term_mem_gap=settings.TEST_LONG_TERM_MEM_GAP,
        ).eval()
        self.difference = 0.0
        randomise(self.model)

    @property
    def logits(self) -> Tensor:
        """(1, 11, h, w) at stride 4, of the last frame."""
        return self.engine.aot_engines[0].pred_id_logits

    @torch.no_grad()
    def follow(self, leader: Ours, frame: Frame, given: Frame | None, seen: Frame) -> str:
        """Track the same frame as ours, remember our labels, and say how far the logits differ."""
        image = prepared(leader.tracker.segmenter, frame)
        labels = torch.from_numpy(seen)[None, None].float()
        if given is not None:
            with self.clock.frame():
                masks = F.interpolate(labels, size=image.shape[2:], mode="nearest")
                self.engine.add_reference_frame(
                    image, masks, obj_nums=[int(given.max())], frame_step=0
                )
            return ""
        with self.clock.frame():
            self.engine.match_propogate_one_frame(image)
            logits = self.engine.decode_current_logits(seen.shape)
            logits.softmax(1).argmax(1, keepdim=True).float()
            masks = F.interpolate(labels, size=self.engine.input_size_2d, mode="nearest")
            self.engine.update_memory(masks)
        named = leader.logits.shape[1]
        difference = float((self.logits[:, :named] - leader.logits).abs().max())
        self.difference = max(self.difference, difference)
        return f"logits differ by {difference:.1e}, of {float(leader.logits.abs().max()):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time AOT, beside the released code or alone.")
    parser.add_argument("--official", type=Path, metavar="PATH", help="a checkout, see above")
    parser.add_argument("--model", choices=("aot_t", "aot_s", "aot_b", "aot_l"), default="aot_s")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--objects", type=int, choices=range(1, 11), default=3, metavar="N")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--precision", choices=get_args(Precision), default="32", help="of ours")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    segmenter = vosfm.build(args.model).eval()
    other: Official | Ours | None = None
    if args.official:
        other = Official(args.official, args.model)
        vosfm.checkpoints.load_official(segmenter, other.model.state_dict())
    elif args.precision != "32":
        other = Ours(segmenter)
    ours = Ours(segmenter, args.precision)
    height, width = args.size
    print(f"{args.model}, {height}x{width}, threads: {args.threads}; seconds, (of the processor)")
    frames, labels = video(args.frames, (height, width), args.objects)
    for index, frame in enumerate(frames):
        given = None if index else labels
        seen = ours.step(frame, given)
        line = f"{index + 1:3}  ours {tell(ours.clock, slice(-1, None))}"
        if other is not None:
            note = other.follow(ours, frame, given, seen)
            line += f"  other {tell(other.clock, slice(-1, None))}"
            line += f"  ratio {ratio(other.clock, ours.clock, slice(-1, None))}  {note}"
        print(line, flush=True)
    print(f"all  ours {tell(ours.clock)}", end="")
    if other is not None:
        print(f"  other {tell(other.clock)}  ratio {ratio(other.clock, ours.clock)}", end="")
    if isinstance(other, Official):
        print(f"  logits differ by {other.difference:.1e} at most", end="")
    print()
    tell_parts(ours)


def tell(clock: Clock, frames: slice = slice(None)) -> str:
    return f"{sum(clock.wall[frames]):6.2f} ({sum(clock.processor[frames]):6.2f})"


def ratio(other: Clock, ours: Clock, frames: slice = slice(None)) -> str:
    """How many times faster ours was, by the wall and by the processor."""
    wall = sum(other.wall[frames]) / sum(ours.wall[frames])
    processor = sum(other.processor[frames]) / sum(ours.processor[frames])
    return f"{wall:5.2f} ({processor:5.2f})"


def tell_parts(ours: Ours) -> None:
    """Print where our processor time went, the largest part first."""
    total = sum(ours.clock.processor)
    rest = total - sum(ours.parts.values())
    parts = {**ours.parts, "projections, masks, memory": rest}
    print("of our processor time:")
    for name, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        milliseconds = 1000 * seconds / len(ours.clock.processor)
        print(f"  {name:28} {seconds / total:4.0%}  {milliseconds:5.0f} ms a frame")


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Fresh weights, all of which matter: none is zero, and normalisation does something."""
    for name, weight in model.state_dict().items():
        if name.endswith("running_var"):
            weight.uniform_(0.5, 1.5)
        elif weight.dim() > 1:
            weight.normal_(std=weight[0].numel() ** -0.5)
        elif weight.is_floating_point():
            weight.normal_(std=0.1).add_(float(name.endswith("weight")))


def video(length: int, size: tuple[int, int], objects: int) -> tuple[list[Frame], Frame]:
    """Drifting clouds of colour, and labels of ellipses in the first frame."""
    height, width = size
    chance = torch.Generator().manual_seed(0)
    clouds = torch.rand(1, 3, height // 24, (width + SPEED * length) // 24, generator=chance)
    canvas = F.interpolate(clouds, size=(height, width + SPEED * length), mode="bicubic")
    pixels = (canvas[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    frames = [pixels[:, SPEED * t : SPEED * t + width].copy() for t in range(length)]
    y, x = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    for index in range(objects):
        middle = width * (index + 0.5) / objects
        inside = ((y / height - 0.5) / 0.3) ** 2 + ((x - middle) * objects / width / 0.4) ** 2 < 1
        labels[inside] = index + 1
    return frames, labels


@torch.inference_mode()
def prepared(segmenter: vosfm.Segmenter, frame: Frame) -> Tensor:
    """The frame as the encoder sees it, (1, 3, H, W)."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    geometry = segmenter.encoder.geometry((frame.shape[0], frame.shape[1]))
    return segmenter.encoder.prepare(image, geometry)


if __name__ == "__main__":
    main()
