"""Runs that are killed again and again, and end in the bytes of an unbroken one."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import pytest
from filmed import save_davis_scenes
from scenes import contents

import vosfm.collect.command  # noqa: F401  # forked with it, runs begin at once
from vosfm.cli import main


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A process that is forked has none of the other threads, but waits for them to end."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def begin(given: list[str], kind: str) -> BaseProcess:
    process: BaseProcess = get_context(kind).Process(target=main, args=(given,))
    process.start()
    return process


def finish(given: list[str], kind: str) -> float:
    """Let a run end; returns how long it took."""
    start = time.perf_counter()
    process = begin(given, kind)
    process.join(120)
    assert process.exitcode == 0
    return time.perf_counter() - start


def kill_and_resume(tmp_path: Path, kills: int, workers: int = 1) -> list[int]:
    """Kill runs at random moments of their work, some of them between clips and some within one.

    Returns:
        How many clips there were after each kill.
    """
    root = save_davis_scenes(tmp_path / "davis", (12, 11, 10, 9))

    def given(out: str) -> list[str]:
        options = ("--format", "davis", "--oracle", "--length", "3", "--min-length", "2")
        where = ("--out", str(tmp_path / out), "--workers", str(workers))
        return ["collect", str(root), *options, *where]

    # A process that is forked begins at once, but cannot have workers of its own.
    kind = "fork" if workers == 1 else "spawn"
    work = finish(given("unbroken"), kind)
    whole = contents(tmp_path / "unbroken")
    start = finish(given("unbroken"), kind)
    assert contents(tmp_path / "unbroken") == whole
    rng = random.Random(kills)
    clips = []
    for _ in range(kills):
        process = begin(given("broken"), kind)
        # In all of them together, about as much is done as in the unbroken one.
        process.join(start * rng.uniform(0.5, 1) + rng.uniform(0, 2 * (work - start) / kills))
        process.kill()
        process.join()
        clips.append(len(list((tmp_path / "broken/Annotations").glob("[!.]*"))))
    finish(given("broken"), kind)
    assert contents(tmp_path / "broken") == whole
    return clips


def test_two_kills(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=2)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    clips = kill_and_resume(tmp_path, kills=20)
    assert clips == sorted(clips)
    assert len(set(clips)) > 3, f"kills hit the beginning or the end alone: {clips}"


@pytest.mark.slow
def test_kills_of_several_workers(tmp_path: Path) -> None:
    """Workers end with the run that they work for, or two would write one clip at once."""
    kill_and_resume(tmp_path, kills=2, workers=2)
