"""Which memory finds an object again, and what depth costs: small trainings on long videos.

    vosfm fit --config model/ddmemory_nano --config data/procedural --config trainer/demo
    vosfm fit --config model/aost_nano --config data/procedural --config trainer/demo \
        --config trainer/scalable
    (their checkpoints become OUT/start/ddmemory_nano.ckpt and OUT/start/aost_nano.ckpt)
    python benchmarks/long_video_study.py prepare --out OUT
    taskset -c 0 python benchmarks/long_video_study.py work --out OUT &
    taskset -c 1 python benchmarks/long_video_study.py work --out OUT
    python benchmarks/long_video_study.py table --out OUT

As in the papers, models first learn on easier clips, with all their memories, and are then trained
further for the long videos, each arm by itself. Trained from scratch for a few minutes they are a
matter of luck: of two runs of one arm, one had learned to match and the other had not.

`prepare` renders the clips of the second part and the held-out videos of data/procedural_long once,
for all runs. `work` does what is not done yet, one run after another, each in a process of its own;
any number of workers share the runs, and the next does again what was stopped. `run` does one.

Studies, the trained ones with three seeds, which are those of the second part:

- baseline: no mask at all, the first mask repeated, and carried by optical flow.
- rgl: ddmemory_nano with every subset of its reference, global and local memory, trained further
  without the others.
- depth: aost_nano, trained further once and then read with 1, 2 and 3 layers. The three trackers
  see every frame one after the other, so that their times can be compared.

Every line of OUT/results.jsonl is one arm: J&F, J and F over all objects and all frames but the
first and the last (no mask where no object is counts as 1); V, the standard deviation of an
object's J&F over its frames; `seen`, J&F where the object is in sight; `returned`, the same after
it was away for 100 frames; `absent`, the share of the frames without it in which no mask is.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

import vosfm
from vosfm import zoo
from vosfm.baselines import carry, repeat
from vosfm.callbacks import EMA
from vosfm.data import ArrayVideo, Clips, Video
from vosfm.data.datamodules import VideoDataModule
from vosfm.data.datasets import to_clip
from vosfm.files import whole
from vosfm.flow import DIS
from vosfm.losses import ClipLoss, SegmentationLoss
from vosfm.metrics.functional import region_and_boundary
from vosfm.scalable_loss import ScalableLoss
from vosfm.segmenter import Segmenter
from vosfm.task import SegmentationTask
from vosfm.tracker import Result, Tracker
from vosfm.types import Clip

SEEDS = (0, 1, 2)
BANKS = {"R": "reference", "G": "global", "L": "local"}
ARMS = {
    "baseline": ("nothing", "repeat", "flow"),
    "rgl": ("RGL", "RL", "L", "R", "GL", "RG", "G"),
    "depth": ("aost_nano",),
}
PUBLISHED = {"RGL": 61.9, "RL": 57.9, "GL": 54.9, "RG": 47.8, "R": 44.2, "G": 42.7, "L": 18.3}
"""J&F of the arms of rgl on LVOS, fine-tuned (LVOS, Table 9)."""
MODELS = {"rgl": "ddmemory_nano", "depth": "aost_nano"}
SHOWN = ("J&F", "J", "F", "V", "seen", "returned", "absent")
LONG = 100  # frames without an object, after which its return is counted apart

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """One training, or one baseline."""

    study: str
    arm: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.study}:{self.arm}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Run:
        """Read what `str` writes.

        Raises:
            ValueError: if there is no such run.
        """
        study, arm, seed = text.split(":")
        if arm not in ARMS.get(study, ()):
            raise ValueError(f"{text}: no such run")
        return cls(study, arm, int(seed))


def runs() -> list[Run]:
    """All of them, so that every seed of all arms is done before the next seed."""
    trained = [
        Run(study, arm, seed) for seed in SEEDS for study in ("rgl", "depth") for arm in ARMS[study]
    ]
    return [*(Run("baseline", arm) for arm in ARMS["baseline"]), *trained]


# Models


def pruned(name: str, banks: str) -> Segmenter:
    """A model with some of its banks left out.

    Args:
        name: of the model, whose reader is an LSTT.
        banks: letters of those to keep, of R, G, L.
    """
    config = yaml.safe_load((zoo.CONFIGS / "model" / f"{name}.yaml").read_text())
    memory = config["model"]["segmenter"]["init_args"]["memory"]
    kept = {BANKS[letter] for letter in banks}
    arguments = memory["init_args"]
    reader = arguments["reader"]["init_args"]
    reader["long"] = [bank for bank in reader["long"] if bank in kept]
    if reader["short"] not in kept:
        reader["short"] = None
    if "global" in kept:
        kept.add("local")  # where it is not read, it still delays what the global memory takes
    else:
        arguments.pop("spill", None)
    arguments["banks"] = {key: bank for key, bank in arguments["banks"].items() if key in kept}
    return vosfm.build(name, memory=memory)


def build(run: Run, model: str) -> Segmenter:
    """The untrained model of a run."""
    return vosfm.build(model) if run.study == "depth" else pruned(model, run.arm)


# Data, rendered once


class Rendered(Clips):
    """Clips from arrays on disk.

    Args:
        folder: with `frames.npy` (N, T, H, W, 3) and `labels.npy` (N, T, H, W), both uint8.
    """

    def __init__(self, folder: Path) -> None:
        self._frames = np.load(folder / "frames.npy", mmap_mode="r")
        self._labels = np.load(folder / "labels.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._frames)

    def sample(self, epoch: int, index: int) -> Clip:
        labels = np.asarray(self._labels[index])
        return to_clip(list(self._frames[index]), split(labels), f"clip {index}")


def split(labels: NDArray[np.uint8]) -> Masks:
    """(T, O, H, W) masks of the objects that the first of (T, H, W) labels shows."""
    ids = np.unique(labels[0])
    return np.stack([labels == i for i in ids[ids > 0]], 1)


def join(masks: Masks) -> NDArray[np.uint8]:
    """Labels (..., H, W) of masks (..., O, H, W) that do not overlap."""
    ids = np.arange(1, masks.shape[-3] + 1, dtype=np.uint8)
    return np.asarray((masks * ids[:, None, None]).sum(-3, dtype=np.uint8))


def configured() -> VideoDataModule:
    """The data of data/procedural_long."""
    parser = ArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    parser.add_subclass_arguments(L.LightningDataModule, "data")
    data = parser.instantiate(parser.parse_path(zoo.CONFIGS / "data" / "procedural_long.yaml")).data
    assert isinstance(data, VideoDataModule)
    return data


def prepare(out: Path, steps: int) -> None:
    """Render what is not rendered yet."""
    data = configured()
    assert data.train is not None
    assert data.test is not None
    with alone(out / "prepare.lock") as mine:
        if not mine:
            sys.exit("another process is preparing")
        folder = out / "clips"
        wanted = steps * data.batch_size
        if not (folder / "labels.npy").exists() or len(Rendered(folder)) < wanted:
            print(f"rendering {wanted} clips", flush=True)
            clips = [data.train[index] for index in range(wanted)]
            frames = [clip.frames[0] for clip in clips]
            save(folder / "frames.npy", torch.stack(frames).permute(0, 1, 3, 4, 2).numpy())
            save(folder / "labels.npy", np.stack([join(clip.masks[0].numpy()) for clip in clips]))
        for video in data.test:
            folder = out / "videos" / video.name
            if not (folder / "labels.npy").exists():
                print(f"rendering {video.name}", flush=True)
                save(folder / "frames.npy", np.stack(list(video.frames())))
                truths = (video.annotation(index) for index in range(len(video)))
                save(folder / "labels.npy", np.stack([join(t.masks) for t in truths if t]))


def save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, open(partial, "wb") as file:
        np.save(file, array)


def videos(out: Path) -> list[Video]:
    """The held-out videos."""
    found = []
    for folder in sorted((out / "videos").iterdir()):
        labels = np.load(folder / "labels.npy")
        found.append(ArrayVideo(np.load(folder / "frames.npy"), split(labels), folder.name))
    return found


# Training and measuring


class Log(L.Callback):
    """Prints the mean loss, and the seconds of the processor, every so many steps.

    Args:
        every: so many.
    """

    def __init__(self, every: int = 20) -> None:
        self.every = every
        self._losses: list[float] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        self._losses.append(float(outputs["loss"]))
        if trainer.global_step % self.every == 0:
            loss = np.mean(self._losses[-self.every :])
            print(
                f"step {trainer.global_step}: {loss:.4f}, {time.process_time():.0f} s", flush=True
            )


def recipe() -> dict[str, Any]:
    """The settings of trainer/long_study."""
    settings = yaml.safe_load((zoo.CONFIGS / "trainer" / "long_study.yaml").read_text())
    assert isinstance(settings, dict)
    return settings


def begin_with(segmenter: Segmenter, name: str, checkpoint: Path) -> None:
    """Take the weights over that a model shares with the whole one, which was trained before."""
    whole_model = vosfm.build(name)
    vosfm.checkpoints.load(whole_model, checkpoint)
    weights, own = whole_model.state_dict(), segmenter.state_dict()
    segmenter.load_state_dict({key: weights[key] for key in own})


def train(run: Run, segmenter: Segmenter, out: Path, steps: int) -> None:
    """Train by trainer/long_study; the model is left with averaged weights."""
    settings = recipe()
    task = SegmentationTask(segmenter, loss=loss_of(run), **settings["model"])
    data = configured()
    data = VideoDataModule(
        Rendered(out / "clips"), batch_size=data.batch_size, num_workers=0, seed=run.seed
    )
    (averaging,) = (c for c in settings["trainer"]["callbacks"] if c["class_path"].endswith("EMA"))
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        gradient_clip_val=settings["trainer"]["gradient_clip_val"],
        callbacks=[EMA(**averaging["init_args"]), Log()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)


def loss_of(run: Run) -> ClipLoss:
    """What is minimised: at every depth, where that is the study."""
    return ScalableLoss() if run.study == "depth" else SegmentationLoss()


Method = Callable[[Video], Iterator[Result]]


@dataclass
class Measured:
    """What one contestant found in all videos."""

    scores: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def line(self) -> dict[str, float]:
        """Means over objects, and the median of the seconds."""
        columns = {key: np.array([row[key] for row in self.scores]) for key in self.scores[0]}
        means = {key: mean(values[~np.isnan(values)]) for key, values in columns.items()}
        return {**means, "seconds_per_frame": float(np.median(self.seconds))}


def nothing(video: Video) -> Iterator[Result]:
    """Find no object in any frame but the first: what absences alone are worth."""
    for result in repeat(video.frames(), video.prompts()):
        yield result if not result.frame else replace(result, masks=result.masks & False)


def measure(methods: dict[str, Method], watched: Sequence[Video]) -> dict[str, Measured]:
    """Score and time methods, which take turns at each frame of each video."""
    measured = {name: Measured() for name in methods}
    names = list(methods)
    for video in watched:
        ids = sorted(video.prompts()[0])
        truth = masks_of(video)
        found: dict[str, list[Masks]] = {name: [] for name in names}
        streams = {name: method(video) for name, method in methods.items()}
        for index in range(len(video)):
            for turn in range(len(names)):
                name = names[(turn + index) % len(names)]
                start = time.process_time()
                result = next(streams[name])
                if index:
                    measured[name].seconds.append(time.process_time() - start)
                found[name].append(result.masks[[result.object_ids.index(i) for i in ids]])
        for name in names:
            measured[name].scores += score(np.stack(found[name]), truth)
    return measured


def masks_of(video: Video) -> Masks:
    """The true masks (T, O, H, W)."""
    annotations = (video.annotation(index) for index in range(len(video)))
    return np.stack([annotation.masks for annotation in annotations if annotation])


def score(found: Masks, truth: Masks) -> list[dict[str, float]]:
    """The scores of each object of a video, from masks (T, O, H, W)."""
    j, f = (values[1:-1] for values in region_and_boundary(found, truth))
    seen = truth.any((2, 3))
    back = returned(seen)[1:-1]
    seen, empty = seen[1:-1], ~found[1:-1].any((2, 3))
    rows = []
    for k in range(truth.shape[1]):
        s = (j[:, k] + f[:, k]) / 2
        rows.append(
            {
                "J&F": mean(s),
                "J": mean(j[:, k]),
                "F": mean(f[:, k]),
                "V": float(s.std()),
                "seen": mean(s[seen[:, k]]),
                "returned": mean(s[back[:, k]]),
                "absent": mean(empty[~seen[:, k], k]),
            }
        )
    return rows


def mean(values: NDArray[Any]) -> float:
    """Of any number of values; NaN of none."""
    return float(values.mean()) if values.size else float("nan")


def returned(seen: Masks) -> Masks:
    """(T, O), where an object is in sight and was away for long before."""
    back = np.zeros_like(seen)
    for k in range(seen.shape[1]):
        away, was_away = 0, False
        for t, here in enumerate(seen[:, k]):
            away = 0 if here else away + 1
            was_away |= away >= LONG
            back[t, k] = here and was_away
    return back


# Commands


def perform(run: Run, out: Path, steps: int, model: str | None) -> list[dict[str, Any]]:
    """One run; returns its lines."""
    begin = time.perf_counter()
    watched = videos(out)
    told: dict[str, Any] = {"study": run.study, "arm": run.arm, "seed": run.seed}
    if run.study == "baseline":
        flow = DIS()
        methods: dict[str, Method] = {
            "nothing": nothing,
            "repeat": lambda video: repeat(video.frames(), video.prompts()),
            "flow": lambda video: carry(video.frames(), video.prompts(), flow),
        }
        (measured,) = measure({run.arm: methods[run.arm]}, watched).values()
        return [{**told, **measured.line()}]
    L.seed_everything(run.seed, verbose=False)
    name = model or MODELS[run.study]
    segmenter = build(run, name)
    begin_with(segmenter, name, out / "start" / f"{name}.ckpt")
    train(run, segmenter, out, steps)
    trained = time.perf_counter() - begin
    torch.save(segmenter.state_dict(), out / f"{str(run).replace(':', '-')}.pt")
    fused = vosfm.fuse(segmenter)

    def tracked(depth: int | None) -> Method:
        return lambda video: Tracker(fused, depth=depth).track(video.frames(), video.prompts())

    depths = segmenter.depths if run.study == "depth" else (None,)
    parameters = sum(p.numel() for p in segmenter.parameters())
    told |= {"model": name, "steps": steps, "parameters": parameters, "training_seconds": trained}
    measured = measure({str(depth): tracked(depth) for depth in depths}, watched)
    lines = [{**told, **each.line()} for each in measured.values()]
    if run.study == "depth":
        deepest = lines[-1]["seconds_per_frame"]
        for line, depth in zip(lines, depths, strict=True):
            line |= {"arm": f"depth {depth}", "faster": deepest / line["seconds_per_frame"]}
    for line in lines:
        line["seconds"] = time.perf_counter() - begin
    return lines


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock until the end, or that of this process; False if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def results(out: Path) -> list[dict[str, Any]]:
    """The lines written so far."""
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_done(run: Run, out: Path) -> bool:
    return any(line["run"] == str(run) for line in results(out))


def do(run: Run, out: Path, steps: int, model: str | None) -> None:
    """One run, unless it is done or under way."""
    with alone(out / "locks" / str(run).replace(":", "-")) as mine:
        if not mine or is_done(run, out):
            return
        lines = [{"run": str(run), **line} for line in perform(run, out, steps, model)]
        text = "".join(json.dumps(rounded(line)) + "\n" for line in lines)
        with open(out / "results.jsonl", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(text)
        print(text, end="", flush=True)


def rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in line.items()}


def work(out: Path, steps: int, wanted: Sequence[Run]) -> None:
    """Every run that is not done, each in a process of its own."""
    for run in wanted:
        if is_done(run, out):
            continue
        command = [sys.executable, __file__, "run", str(run)]
        subprocess.run([*command, "--out", str(out), "--steps", str(steps)])


def table(out: Path) -> None:
    """Print mean and standard deviation over the seeds of every arm, in %, as Markdown."""
    arms: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in results(out):
        arms.setdefault((line["study"], line["arm"]), []).append(line)
    columns = (
        "study",
        "arm",
        *SHOWN,
        "seeds",
        "speed",
        "published J&F, LVOS",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for (study, arm), lines in sorted(arms.items(), key=lambda item: _order(*item[0])):
        row = [study, arm]
        for name in SHOWN:
            values = 100 * np.array([line[name] for line in lines])
            spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            row.append(f"{values.mean():.1f}{spread}")
        faster = [line["faster"] for line in lines if "faster" in line]
        row += [str(len(lines)), f"{np.mean(faster):.2f}" if faster else ""]
        row.append(str(PUBLISHED.get(arm, "")) if study == "rgl" else "")
        print(f"| {' | '.join(row)} |")


def _order(study: str, arm: str) -> tuple[int, int]:
    names = ARMS[study]
    return list(ARMS).index(study), names.index(arm) if arm in names else int(arm.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Which memory finds an object again; see above.")
    parser.add_argument("command", choices=("prepare", "run", "work", "table"))
    parser.add_argument("runs", nargs="*", type=Run.parse, help="STUDY:ARM:SEED; all if none")
    parser.add_argument("--out", type=Path, default=Path("runs/long_study"), help="of all results")
    parser.add_argument("--steps", type=int, default=recipe()["trainer"]["max_steps"])
    parser.add_argument("--model", help="another one than the study's")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    match args.command:
        case "prepare":
            prepare(args.out, args.steps)
        case "run":
            for run in args.runs:
                do(run, args.out, args.steps, args.model)
        case "work":
            work(args.out, args.steps, args.runs or runs())
        case "table":
            table(args.out)


if __name__ == "__main__":
    main()
