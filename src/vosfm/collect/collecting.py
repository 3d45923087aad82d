"""Collect a corpus: cut all videos, do all clips, and tell what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vosfm.collect.corpus import Corpus
from vosfm.collect.engines import Engine, Processes
from vosfm.collect.jobs import Failure, Job, collect_clip, cut_source
from vosfm.collect.recipe import Recipe
from vosfm.collect.sources import Source
from vosfm.progress import shown

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Collection:
    """What a corpus holds, and what it lacks.

    Attributes:
        clips: clip -> what is known of it, as in the manifest.
        failures: what could not be collected by this run.
        resumed: how many clips an earlier run had finished.
    """

    clips: Mapping[str, Mapping[str, Any]]
    failures: tuple[Failure, ...]
    resumed: int = 0

    def summary(self) -> dict[str, float]:
        """One row: Table 1 of MUG-VOS, the clips and the failures.

        A clip's frames are all annotated; the density is the mean over all frames (Eq. 7).
        """
        frames = sum(len(clip["frames"]) for clip in self.clips.values())
        masks = sum(clip["masks"] for clip in self.clips.values())
        covered = sum(clip["density"] * len(clip["frames"]) for clip in self.clips.values())
        return {
            "clips": len(self.clips),
            "failures": len(self.failures),
            "density": covered / frames if frames else 0.0,
            "masks": masks,
            "tracks": sum(clip["tracks"] for clip in self.clips.values()),
            "masks_per_frame": masks / frames if frames else 0.0,
            "annotated_frames": frames,
        }


def collect(
    sources: Sequence[Source], recipe: Recipe, out: Path, engine: Engine | None = None
) -> Collection:
    """Collect the clips of videos into a folder, or go on with it.

    Every clip is written whole or not at all. What cannot be read, or shows nothing, is told in
    the manifest and tried again by the next run; it stops nothing else. The same bytes are
    written whatever the engine, and however often a run was stopped before.

    Args:
        sources: the videos, of different names.
        recipe: how.
        out: the folder: a new one, an empty one, or that of the same collection.
        engine: who does it; None for this process.

    Raises:
        InputError: if the folder holds something else or cannot be written, or the networks cannot
            be built.
    """
    corpus = Corpus(out.resolve())
    collection = {"version": 1, **recipe.told(), "sources": [asdict(one) for one in sources]}
    with corpus.opened(collection), engine or Processes() as doing:
        jobs: list[Job] = []
        failures: list[Failure] = []
        cutting = doing.each(partial(cut_source, recipe, corpus.root), sources, _lost_source)
        for cut in shown(cutting, "cutting", len(sources)):
            if isinstance(cut, Failure):
                failures.append(cut)
            else:
                jobs += cut
        left = [job for job in jobs if not corpus.has(job.clip)]
        done = doing.each(partial(collect_clip, recipe, corpus.root), left, _lost_clip)
        failures += [failure for failure in shown(done, "collecting", len(left)) if failure]
        names = sorted(job.clip for job in jobs if corpus.has(job.clip))
        clips = {name: corpus.record(name) for name in names}
        failures.sort(key=lambda failure: failure.name)
        found = Collection(clips, tuple(failures), len(jobs) - len(left))
        corpus.finish(
            {
                "version": 1,
                "summary": found.summary(),
                "failures": [asdict(failure) for failure in failures],
                "clips": clips,
            }
        )
    return found


def _lost_source(source: Source, reason: str) -> Failure:
    return Failure(source.name, reason)


def _lost_clip(job: Job, reason: str) -> Failure:
    return Failure(job.clip, reason)
