"""What many objects cost models that see each alone: `python benchmarks/xmem.py --official PATH`.

The whole stream is timed, from a frame in memory to masks of its size, with a model that
`vosfm.fuse` made for it and random weights. Told are seconds of the processor of every frame, which
say more than those of the wall where other programs run, but only with one thread. Streams with
different numbers of objects take turns, frame by frame. The averages are over whole cycles of the
memory: with an interval of 5, four frames that are tracked and one that is remembered, too.

With `--official PATH`, the released XMem in a checkout of hkchengrex/XMem at PATH takes its turns,
with the same weights and its released settings; it is timed from the normalised frame on to the map
of labels, so that decoding and scaling of frames are not in its time. Told is how far its
probabilities differ from ours. Nothing has to be changed, built or downloaded for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from aot import randomise
from numpy.typing import NDArray
from torch import Tensor

import vosfm
from vosfm.types import Proposal, Size

Frame = NDArray[np.uint8]
INTERVAL = 5  # frames between two that are remembered, of all these models


class Watched(vosfm.Segmenter):
    """A model that keeps the probabilities of its last frame."""

    seen: Tensor

    def aggregate(self, proposal: Proposal, *, size: Size | None = None) -> Tensor:
        masks = super().aggregate(proposal, size=size)
        if size is None:
            self.seen = masks
        return masks


class Ours:
    """A tracker of ours."""

    def __init__(self, fused: vosfm.Segmenter) -> None:
        parts = (fused.encoder, fused.mask_encoder, fused.memory, fused.decoder)
        self.segmenter = Watched(*parts).eval()
        self.tracker = vosfm.Tracker(self.segmenter)
        self.times: list[float] = []

    @property
    def seen(self) -> Tensor:
        """(O, H, W) probabilities of the last frame."""
        return self.segmenter.seen[0]

    def step(self, frame: Frame, masks: dict[int, NDArray[np.bool_]] | None) -> None:
        start = time.process_time()
        self.tracker.step(frame, masks)
        self.times.append(time.process_time() - start)


class Official:
    """The released XMem, driven as its evaluation drives it."""

    def __init__(self, network: Any, segmenter: vosfm.Segmenter) -> None:
        from inference.inference_core import InferenceCore

        settings = {
            "hidden_dim": 64,
            "top_k": 30,
            "mem_every": INTERVAL,
            "deep_update_every": -1,
            "enable_long_term": True,
            "enable_long_term_count_usage": True,
            "max_mid_term_frames": 10,
            "min_mid_term_frames": 5,
            "num_prototypes": 128,
            "max_long_term_elements": 10000,
        }
        self.core = InferenceCore(network, settings)
        self.segmenter = segmenter
        self.times: list[float] = []
        self.seen = torch.empty(0)

    @torch.inference_mode()
    def step(self, frame: Frame, masks: dict[int, NDArray[np.bool_]] | None) -> None:
        encoder = self.segmenter.encoder
        image = torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        image = (image - encoder.mean) / encoder.std
        given = labels = None
        if masks is not None:
            given = torch.from_numpy(np.stack(list(masks.values()))).float()
            labels = list(masks)
            self.core.set_all_labels(labels)
        start = time.process_time()
        probabilities = self.core.step(image, given, labels)
        probabilities.argmax(0).byte().numpy()
        self.times.append(time.process_time() - start)
        self.seen = probabilities[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time models that see every object alone.")
    parser.add_argument(
        "--official", type=Path, metavar="PATH", help="a checkout of XMem, see above"
    )
    parser.add_argument("--model", default="xmem", help="by its config, see vosfm.names()")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 10], metavar="N")
    parser.add_argument("--cycles", type=int, default=1, help=f"of {INTERVAL} frames each")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    segmenter = vosfm.build(args.model).eval()
    contestants: dict[str, Callable[[], Ours | Official]] = {}
    if args.official:
        network = official(args.official)
        vosfm.checkpoints.load_official(segmenter, network.state_dict())
        contestants["official"] = lambda: Official(network, segmenter)
    else:
        randomise(segmenter)
    fused = vosfm.fuse(segmenter)
    contestants = {"ours": lambda: Ours(fused), **contestants}
    streams = {
        (count, name): make() for count in args.objects for name, make in contestants.items()
    }
    print(f"{args.model}, {args.size[0]}x{args.size[1]}, threads: {args.threads}")
    print("seconds of the processor:")
    chance = np.random.default_rng(0)
    clouds = chance.integers(0, 256, (args.size[0] // 24, args.size[1] // 24 + 1, 3), np.uint8)
    for index in range(1 + INTERVAL * args.cycles):
        frame = drift(clouds, args.size, index)
        for (count, name), stream in streams.items():
            stream.step(frame, None if index else rectangles(args.size, count))
            line = f"frame {index:2}, {count:3} objects, {name:8} {stream.times[-1]:7.2f}"
            if name == "official":
                difference = float((stream.seen - streams[count, "ours"].seen).abs().max())
                line += f"   probabilities differ by {difference:.1e}"
            print(line, flush=True)
    tell({key: stream.times[1:] for key, stream in streams.items()}, args.objects)


def tell(times: dict[tuple[int, str], list[float]], counts: list[int]) -> None:
    """Print the averages of whole cycles, and how they compare."""
    means = {key: fmean(seconds) for key, seconds in times.items()}
    for name in dict.fromkeys(name for _, name in means):
        one = means[counts[0], name]
        for count in counts:
            mean = means[count, name]
            line = f"{name:8} {count:3} objects: {mean:7.2f} s a frame, {mean / one:5.2f}x"
            if name == "official":
                line += f"; {mean / means[count, 'ours']:.2f}x ours"
            print(line)


def official(checkout: Path) -> Any:
    """The released network with random weights, without those that it would download."""
    sys.path.insert(0, str(checkout))
    from model import resnet
    from model.network import XMem

    resnet.model_zoo = SimpleNamespace(load_url=lambda url: {})
    resnet.load_weights_add_extra_dim = lambda *_: None
    network = XMem({}).eval()
    randomise(network)
    return network


def drift(clouds: Frame, size: Size, index: int) -> Frame:
    """A frame of coloured squares that drift by some pixels from frame to frame."""
    y, x = np.mgrid[: size[0], : size[1]]
    return clouds[y // 24 % clouds.shape[0], (x + 3 * index) // 24 % clouds.shape[1]]


def rectangles(size: Size, count: int) -> dict[int, NDArray[np.bool_]]:
    """Masks of objects, in rows of ten."""
    masks = {}
    height, width = size[0] // -(-count // 10), size[1] // min(count, 10)
    for index in range(count):
        mask = np.zeros(size, bool)
        top, left = index // 10 * height, index % 10 * width
        mask[top + height // 4 : top + height, left + width // 4 : left + width] = True
        masks[index + 1] = mask
    return masks


if __name__ == "__main__":
    main()
