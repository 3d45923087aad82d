"""How fast the evaluation of a results folder is: `python benchmarks/evaluate.py`.

Times, in one process and one thread, over the same PNGs:

- Pillow: only decoding the masks that are scored, with Pillow, as evaluation tools do;
- decode: only decoding them with `vosfm.data.masks.read_labels`;
- ours: `vosfm.evaluate.evaluate`, from files to scores;
- reference: the same definition written plainly, sequence by sequence over full frames, with the
  boundaries dilated by OpenCV with a disk, as the DAVIS tool does.

The reference is written for this comparison and is itself about 3 times as fast as the DAVIS 2017
tool, run beside it on seven DAVIS sequences at 480p (8 objects): multiply the first ratio printed
here by 3 for ours against that tool. With more objects a sequence the tool falls further behind
(13 times slower than the reference with seven).

Without folders it makes its own masks: drifting, wobbling blobs at 480p, and a displaced copy of
them as the result.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vosfm.data.masks import read_labels, write_labels
from vosfm.evaluate import evaluate

Answer = TypeVar("Answer")


def main() -> None:
    """Print the times and their ratios, and fail if the scores differ."""
    parser = argparse.ArgumentParser(description="Time the evaluation of a folder of masks.")
    parser.add_argument("--annotations", type=Path, help="folder of sequence folders of PNGs")
    parser.add_argument("--results", type=Path, help="folder of the same layout")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of them is told")
    args = parser.parse_args()
    if (args.annotations is None) != (args.results is None):
        parser.error("give both --annotations and --results, or neither")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if args.annotations is None:
            args.annotations, args.results = Path(folder, "annotations"), Path(folder, "results")
            draw_clips(args.annotations, args.results)
        compare(args.annotations, args.results, args.repeats)


def compare(annotations: Path, results: Path, repeats: int) -> None:
    """Time the three on the sequences that both folders hold."""
    names = sorted(
        folder.name for folder in results.iterdir() if (annotations / folder.name).is_dir()
    )
    pillow, _ = fastest(lambda: decode_only(annotations, results, names, read_pillow), repeats)
    decode, _ = fastest(lambda: decode_only(annotations, results, names, read_labels), repeats)
    ours, scores = fastest(lambda: evaluate(annotations, results, sequences=names), repeats)
    plain, expected = fastest(lambda: reference(annotations, results, names), 1)
    found = np.array([[row["J"], row["F"]] for row in scores.objects.values()])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    pairs = sum(scores.frames.values())
    print(f"{len(names)} sequences, {len(scores.objects)} objects, {pairs} scored frames")
    for name, seconds in (
        ("Pillow", pillow),
        ("decode", decode),
        ("ours", ours),
        ("reference", plain),
    ):
        print(f"{name:10} {seconds:8.3f} s   {1e3 * seconds / pairs:8.3f} ms a frame")
    print(f"reference / ours  {plain / ours:6.1f}")
    print(f"ours / Pillow     {ours / pillow:6.2f}")
    print(f"ours / decode     {ours / decode:6.2f}")


def fastest(run: Callable[[], Answer], repeats: int) -> tuple[float, Answer]:
    """Run several times; give the shortest time and the last answer."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = run()
        times.append(time.perf_counter() - start)
    return min(times), answer


def read_pillow(path: Path) -> NDArray[np.uint8]:
    """Decode an index mask the usual way."""
    return np.asarray(Image.open(path))


def decode_only(
    annotations: Path,
    results: Path,
    names: list[str],
    read: Callable[[Path], NDArray[np.uint8]],
) -> None:
    """Read what an evaluation must read: the first annotation, and both masks between the ends."""
    for name in names:
        truths = sorted((annotations / name).glob("*.png"))
        read(truths[0])
        for truth in truths[1:-1]:
            read(truth)
            read(results / name / truth.name)


def reference(annotations: Path, results: Path, names: list[str]) -> NDArray[np.float64]:
    """Score plainly: (objects, 2) mean J and F, whole sequences of full frames at a time."""
    rows = []
    for name in names:
        files = sorted((annotations / name).glob("*.png"))
        truth = np.stack([read_pillow(file) for file in files])
        truth[truth == 255] = 0
        found = np.stack([read_pillow(results / name / file.name) for file in files[1:-1]])
        for object_id in range(1, truth[0].max() + 1):
            target, pred = truth[1:-1] == object_id, found == object_id
            overlap = np.sum(target & pred, axis=(1, 2))
            union = np.sum(target | pred, axis=(1, 2))
            j = np.where(union == 0, 1.0, overlap / np.maximum(union, 1))
            f = [plain_f(one, other) for one, other in zip(pred, target, strict=True)]
            rows.append((j.mean(), np.mean(f)))
    return np.array(rows)


def plain_f(pred: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Boundary F of one full frame."""
    radius = int(np.ceil(0.008 * np.sqrt(pred.shape[0] ** 2 + pred.shape[1] ** 2)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    pred_edge, target_edge = plain_boundaries(pred), plain_boundaries(target)
    if not pred_edge.any() or not target_edge.any():
        return float(pred_edge.any() == target_edge.any())
    near_target = cv2.dilate(target_edge.astype(np.uint8), disk).astype(bool)
    near_pred = cv2.dilate(pred_edge.astype(np.uint8), disk).astype(bool)
    precision = np.sum(pred_edge & near_target) / np.sum(pred_edge)
    recall = np.sum(target_edge & near_pred) / np.sum(target_edge)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def plain_boundaries(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that differ from the right, lower or lower right one; at the edge it repeats."""
    wide = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    edge: NDArray[np.bool_] = (
        (mask ^ wide[:-1, 1:]) | (mask ^ wide[1:, :-1]) | (mask ^ wide[1:, 1:])
    )
    return edge


def draw_clips(annotations: Path, results: Path, frames: int = 40) -> None:
    """Write two sequences of 480x854 masks, of one object and of three."""
    y, x = np.mgrid[:480, :854]
    for name, objects in (("one", 1), ("three", 3)):
        for folder in (annotations, results):
            (folder / name).mkdir(parents=True)
        for frame in range(frames):
            for folder, off in ((annotations, 0), (results, 5)):
                labels = np.zeros((480, 854), np.uint8)
                for one in range(objects):
                    dy, dx = y - 150 - 60 * one - off, x - 200 - 180 * one - 4 * frame + off
                    wobble = 1 + 0.2 * np.sin(5 * np.arctan2(dy, dx) + 0.3 * frame + off / 10)
                    labels[np.hypot(dy, dx) < 90 * wobble] = one + 1
                write_labels(folder / name / f"{frame:05d}.png", labels)


if __name__ == "__main__":
    main()
