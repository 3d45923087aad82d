"""First light: train, test and run a small model on rendered video, and compare it honestly.

Runs the commands a user would run, each printed first; then one table sets the model beside three
things that it must beat, and names the files to look at. Options that are not known here are passed
on to the training, such as `--trainer.max_epochs 1`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console

from vosfm import zoo
from vosfm.compare import compare, tabulate
from vosfm.data import ProceduralVideos
from vosfm.data.file import VideoWriter
from vosfm.data.masks import write_labels
from vosfm.errors import InputError
from vosfm.files import whole

SEEDS = (0, 1, 2)  # held out: no training clip shows these scenes
DIFFICULTY = 0.5  # occlusion, leaving and returning, look-alikes, fast motion


def main() -> int:
    """Run the demonstration; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m vosfm.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the results")
    parser.add_argument(
        "--model", default="aot_nano", help="a small one under configs/model: *_nano, *_tiny"
    )
    args, passed_on = parser.parse_known_args()
    out: Path = args.out
    model: str = args.model
    try:
        recipe = " ".join(f"--config {layer}" for layer in layers_of(model))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    begin = perf_counter()
    layers = f"--config model/{model} --config data/procedural"
    test = f"--data.init_args.test.init_args.difficulty {DIFFICULTY}"
    checkpoint = out / "fit" / "checkpoints" / "final.ckpt"
    log = f"--trainer.logger.init_args.save_dir {out.parent}"
    shutil.rmtree(out / "track", ignore_errors=True)  # of an earlier demonstration
    clip, first = film(out)
    for line in (
        f"fit {layers} {recipe} {log} --trainer.logger.init_args.name {out.name}"
        f" {shlex.join(passed_on)}",
        f"test {layers} {test} --trainer.logger false --ckpt_path {checkpoint}",
        f"track {clip} --masks {first} --model {model} --checkpoint {checkpoint}"
        f" --out {out / 'track'}",
    ):
        print(f"\n$ vosfm {line}", flush=True)
        code = subprocess.run([sys.executable, "-m", "vosfm", *shlex.split(line)]).returncode
        if code:
            return code
    scores = compare(model, checkpoint, list(ProceduralVideos(SEEDS, difficulty=DIFFICULTY)))
    with whole(out / "scores.json") as partial:
        partial.write_text(json.dumps(scores, indent=1) + "\n")
    title = f"Scenes {', '.join(map(str, SEEDS))}, difficulty {DIFFICULTY}"
    Console().print(tabulate(scores, title))
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


def layers_of(model: str) -> tuple[str, ...]:
    """The configs that train a model in the demonstration.

    Args:
        model: its name under configs/model.

    Raises:
        InputError: if there is no such model.
    """
    if zoo.build(model).mask_encoder.identities is None:
        return "trainer/demo", "trainer/demo_per_object"
    return ("trainer/demo",)


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


if __name__ == "__main__":
    sys.exit(main())
