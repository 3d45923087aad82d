"""The truth of a clip as proposer and prompted segmenter: it shows whether the engine is right."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vosfm.collect.prompting import Candidates, PromptedSegmenter, Proposer
from vosfm.data.video import Image, Mask

_STABLE = 0.96
"""Least stability of a stable candidate; others lie below it by 0.02 to 0.2."""

_CANDIDATES = 3


class Oracle(Proposer, PromptedSegmenter):
    """Answers with the true masks of one clip, made as untidy as a network's.

    Proposals are the true masks with noise at their edges; some come twice, some are missing, and
    some show nothing. A query is answered with three candidates in random order: true masks that
    hold its points, the one that holds most of them for sure and another that holds at least half
    of them; what is left are distractors: the union with a neighbour, a fragment, another object.
    Quality is higher for true masks on the average only, and any candidate may be unstable, so
    that a wrong choice is possible at every query. Points that no true mask holds bring a disk.

    Args:
        masks: frame -> (O, H, W) true masks, empty where an object is out of sight; every frame
            has the same objects in the same order.
        edge: most pixels by which an edge is moved, worn off or thickened; at least 0.
        duplicates: share of the proposals that come twice, [0, 1]. The second lacks a tenth of the
            first at most, and comes after all that are not second.
        dropped: share of the true masks that are not proposed, [0, 1].
        false: proposals, at least 0, that are disks anywhere.
        unstable: share of the candidates that are not stable, [0, 1].
        seed: of the noise, at least 0; equal queries of a frame are answered equally.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        masks: Callable[[int], Mask],
        edge: int = 1,
        duplicates: float = 0.25,
        dropped: float = 0.0,
        false: int = 0,
        unstable: float = 0.1,
        seed: int = 0,
    ) -> None:
        for name, share in (
            ("duplicates", duplicates),
            ("dropped", dropped),
            ("unstable", unstable),
        ):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {share}")
        for name, count in (("edge", edge), ("false", false), ("seed", seed)):
            if count < 0:
                raise ValueError(f"{name} must be at least 0, not {count}")
        self._of = masks
        self.edge = edge
        self.duplicates = duplicates
        self.dropped = dropped
        self.false = false
        self.unstable = unstable
        self.seed = seed
        self._frame = 0
        self._seen: Mask = np.zeros((0, 1, 1), bool)
        self._areas: NDArray[np.intp] = np.zeros(0, np.intp)

    def propose(self, image: Image) -> Mask:
        true = self._in_sight(0)
        rng = np.random.default_rng([self.seed, 0])
        kept = true[rng.random(len(true)) >= self.dropped]
        first = [self._untidy(mask, rng) for mask in kept]
        second = [_worn(mask, rng) for mask in first if rng.random() < self.duplicates]
        invented = [_anywhere(image.shape[:2], rng) for _ in range(self.false)]
        found = first + invented + second
        return np.stack(found) if found else np.zeros((0, *image.shape[:2]), bool)

    def look(self, image: Image, frame: int) -> None:
        self._frame = frame
        self._seen = self._in_sight(frame)
        self._areas = np.count_nonzero(self._seen, axis=(1, 2))

    def candidates(self, points: NDArray[np.float32], offset: float = 1.0) -> Candidates:
        answers = [self._answer(query) for query in points]
        masks, quality, stability = zip(*answers, strict=True)
        return Candidates(np.stack(masks), np.stack(quality), np.stack(stability))

    def _in_sight(self, frame: int) -> Mask:
        true = self._of(frame)
        return true[true.any(axis=(1, 2))]

    def _answer(
        self, points: NDArray[np.float32]
    ) -> tuple[Mask, NDArray[np.float32], NDArray[np.float32]]:
        content = zlib.crc32(np.ascontiguousarray(points, np.float32).tobytes())
        rng = np.random.default_rng([self.seed, 1, self._frame, content])
        height, width = self._seen.shape[1:]
        x, y = np.rint(points).astype(np.intp).T
        x, y = x.clip(0, width - 1), y.clip(0, height - 1)
        held = self._seen[:, y, x].sum(axis=1)
        if held.any():
            order = np.lexsort((self._areas, -held))
            meant = [row for row in order[:2] if held[row] * 2 >= len(points)] or [order[0]]
            masks = [self._untidy(self._seen[row], rng) for row in meant]
            right = len(masks)
            masks += [self._distraction(int(order[0]), rng) for _ in range(_CANDIDATES - right)]
        else:
            disk = _disk((height, width), float(x.mean()), float(y.mean()), height / 8)
            masks, right = [disk, _worn(disk, rng), _worn(disk, rng)], 0
        mean = np.where(np.arange(_CANDIDATES) < right, 0.9, 0.8)
        quality = (mean + rng.uniform(-0.1, 0.1, _CANDIDATES)).astype(np.float32)
        loose = rng.random(_CANDIDATES) < self.unstable
        below, above = rng.uniform(0.02, 0.2, _CANDIDATES), rng.uniform(0, 0.04, _CANDIDATES)
        stability = np.where(loose, _STABLE - below, _STABLE + above).astype(np.float32)
        order = rng.permutation(_CANDIDATES)
        return np.stack(masks)[order], quality[order], stability[order]

    def _distraction(self, row: int, rng: np.random.Generator) -> Mask:
        """What could be taken for an object: more than it, less of it, or another one."""
        others = np.flatnonzero(np.arange(len(self._seen)) != row)
        kind = int(rng.integers(3)) if len(others) else 1
        if kind == 1:
            return _fragment(self._seen[row], rng)
        other = self._untidy(self._seen[rng.choice(others)], rng)
        return self._seen[row] | other if kind == 0 else other

    def _untidy(self, mask: Mask, rng: np.random.Generator) -> Mask:
        """Move, wear off or thicken a mask by up to `edge` pixels; never to nothing."""
        reach = int(rng.integers(self.edge + 1))
        dx, dy = (int(d) for d in rng.integers(-reach, reach + 1, 2))
        kind = int(rng.integers(3))
        if not reach:
            return mask
        rows, columns = _around(mask, reach)
        part = np.ascontiguousarray(mask[rows, columns]).view(np.uint8)
        if kind == 0:
            shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            other = cv2.warpAffine(part, shift, part.shape[::-1], flags=cv2.INTER_NEAREST)
        else:
            side = (2 * reach + 1, 2 * reach + 1)
            disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, side)
            other = (cv2.erode if kind == 1 else cv2.dilate)(part, disk)
        if not other.any():
            return mask
        moved = np.zeros_like(mask)
        moved[rows, columns] = other.astype(bool)
        return moved


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The box of a mask and so many pixels around it, as far as the frame reaches."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (
        slice(max(top - margin, 0), top + height + margin),
        slice(max(left - margin, 0), left + width + margin),
    )


def _worn(mask: Mask, rng: np.random.Generator) -> Mask:
    """A mask without its last rows, up to a tenth of its pixels."""
    pixels = np.flatnonzero(mask)
    cut = int(rng.integers(len(pixels) // 20, len(pixels) // 10 + 1))
    worn = mask.copy()
    worn.ravel()[pixels[len(pixels) - cut :]] = False
    return worn


def _fragment(mask: Mask, rng: np.random.Generator) -> Mask:
    """A third to two thirds of a mask, from its top or its bottom."""
    pixels = np.flatnonzero(mask)
    count = max(1, int(len(pixels) * rng.uniform(1 / 3, 2 / 3)))
    kept = pixels[:count] if rng.random() < 0.5 else pixels[-count:]
    fragment = np.zeros_like(mask)
    fragment.ravel()[kept] = True
    return fragment


def _anywhere(size: tuple[int, ...], rng: np.random.Generator) -> Mask:
    x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
    return _disk(size, x, y, rng.uniform(0.05, 0.15) * size[0])


def _disk(size: tuple[int, ...], x: float, y: float, radius: float) -> Mask:
    """The pixels nearer than a radius to a place, its own among them."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray(np.hypot(rows - y, columns - x) <= max(radius, 1.0))
