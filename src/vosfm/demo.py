"""First light: train, test and run a small model on rendered video, and compare it honestly.

Runs the commands a user would run, each printed first; then one table sets the model beside three
things that it must beat, and names the files to look at.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from vosfm import zoo
from vosfm.baselines import Forgetful, carry, repeat
from vosfm.checkpoints.loading import load
from vosfm.data import ProceduralVideos
from vosfm.data.file import VideoWriter
from vosfm.data.masks import write_labels
from vosfm.data.video import Video
from vosfm.files import whole
from vosfm.flow import DIS
from vosfm.metrics import VideoSegmentation
from vosfm.task import score
from vosfm.tracker import Result, Tracker

MODEL = "aot_nano"
SEEDS = (0, 1, 2)  # held out: no training clip shows these scenes
DIFFICULTY = 0.5  # occlusion, leaving and returning, look-alikes, fast motion
SHOWN = ("J&F", "J", "F")

Method = Callable[[Video], Iterator[Result]]


def main() -> int:
    """Run the demonstration; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m vosfm.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the results")
    args = parser.parse_args()
    out: Path = args.out
    begin = perf_counter()
    layers = f"--config model/{MODEL} --config data/procedural"
    test = f"--data.init_args.test.init_args.difficulty {DIFFICULTY}"
    checkpoint = out / "fit" / "checkpoints" / "final.ckpt"
    log = f"--trainer.logger.init_args.save_dir {out.parent}"
    shutil.rmtree(out / "track", ignore_errors=True)  # of an earlier demonstration
    clip, first = film(out)
    for line in (
        f"fit {layers} --config trainer/demo {log} --trainer.logger.init_args.name {out.name}",
        f"test {layers} {test} --trainer.logger false --ckpt_path {checkpoint}",
        f"track {clip} --masks {first} --model {MODEL} --checkpoint {checkpoint}"
        f" --out {out / 'track'}",
    ):
        print(f"\n$ vosfm {line}", flush=True)
        code = subprocess.run([sys.executable, "-m", "vosfm", *shlex.split(line)]).returncode
        if code:
            return code
    scores = compare(checkpoint)
    with whole(out / "scores.json") as partial:
        partial.write_text(json.dumps(scores, indent=1) + "\n")
    Console().print(tabulate(scores))
    minutes = (perf_counter() - begin) / 60
    print(f"All of it took {minutes:.1f} minutes. Look at:")
    for path, what in (
        (out / "track" / "overlay.mp4", "the clip with the model's masks"),
        (out / "track", "the same masks as palette PNGs, one per frame"),
        (out / "fit" / "metrics.csv", "loss and validation scores of the training"),
        (out / "scores.json", "the table above, with recall and decay"),
        (checkpoint, "the weights"),
    ):
        print(f"  {path}  {what}")
    return 0


def film(out: Path) -> tuple[Path, Path]:
    """Render one held-out clip to a video file, with the index mask of its first frame."""
    out.mkdir(parents=True, exist_ok=True)
    video = ProceduralVideos(SEEDS[:1], difficulty=DIFFICULTY)[0]
    with VideoWriter(out / "clip.mp4", rate=12) as writer:
        for frame in video.frames():
            writer.write(frame)
    labels = sum(mask.astype("uint8") * object_id for object_id, mask in video.prompts()[0].items())
    write_labels(out / "first.png", labels)
    return out / "clip.mp4", out / "first.png"


def compare(checkpoint: Path) -> dict[str, dict[str, float]]:
    """Measure the model and what it must beat over the held-out scenes.

    Args:
        checkpoint: of the model.

    Returns:
        Method -> metric -> value in [0, 1], the model first.
    """
    segmenter = zoo.build(MODEL)
    load(segmenter, checkpoint)

    def tracked(video: Video) -> Iterator[Result]:
        return Tracker(segmenter).track(video.frames(), video.prompts())

    def cleared(video: Video) -> Iterator[Result]:
        return Tracker(segmenter, Forgetful()).track(video.frames(), video.prompts())

    methods: dict[str, Method] = {
        f"{MODEL}, trained": tracked,
        "the same, its memory cleared": cleared,
        "first mask repeated": lambda video: repeat(video.frames(), video.prompts()),
        "mask carried by DIS flow": lambda video: carry(video.frames(), video.prompts(), DIS()),
    }
    scores = {}
    for name, method in methods.items():
        metric = VideoSegmentation("davis2017")
        for video in ProceduralVideos(SEEDS, difficulty=DIFFICULTY):
            score(metric, video, method(video))
        scores[name] = {key: float(value) for key, value in metric.compute().items()}
    return scores


def tabulate(scores: dict[str, dict[str, float]]) -> Table:
    """Set the first method beside the others, in percent."""
    table = Table(title=f"Scenes {', '.join(map(str, SEEDS))}, difficulty {DIFFICULTY}, in %")
    table.add_column("method", no_wrap=True)
    for name in (*SHOWN, "model ahead by"):
        table.add_column(name, justify="right")
    model = next(iter(scores.values()))["J&F"]
    for row, (name, values) in enumerate(scores.items()):
        shown = [f"{100 * values[key]:.1f}" for key in SHOWN]
        table.add_row(name, *shown, f"{100 * (model - values['J&F']):+.1f}" if row else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
