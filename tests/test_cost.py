"""What a validation says that it cost, and where runs write to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from models import tiny

from vosfm import cost, loggers
from vosfm.data import ProceduralVideo
from vosfm.data.video import Image
from vosfm.metrics.cost import TrackingCost
from vosfm.tracker import Tracker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(ProceduralVideo):
    """A video whose frames take ten seconds each to read."""

    clock: Clock

    def frames(self, start: int = 0) -> Iterator[Image]:
        for frame in super().frames(start):
            self.clock.now += 10
            yield frame


def test_only_tracking_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(cost, "perf_counter", clock)
    video = Slow(0, 5, (64, 64), objects=2)
    video.clock = clock
    tracker = Tracker(tiny())
    step = tracker.step

    def timed(*args: Any) -> Any:
        clock.now += 0.5
        return step(*args)

    monkeypatch.setattr(tracker, "step", timed)
    told = TrackingCost()
    for _ in cost.measured(tracker, video, told):
        clock.now += 100  # what the caller does is not counted either
    assert told.compute()["fps"] == pytest.approx(2.0)
    assert told.frames == 5


def test_costs_of_videos_are_added_up() -> None:
    told = TrackingCost()
    told.update(memory_mib=1)
    assert "fps" not in told.compute()
    told.reset()
    told.update(frames=10, seconds=1.0, evictions=2)
    told.update(frames=10, seconds=4.0, evictions=0)
    told.update(memory_mib=300)
    told.update(memory_mib=200)
    values = {name: value.item() for name, value in told.compute().items()}
    assert values == {"evictions": 2, "memory_mib": 300, "fps": 4}


def test_the_peak_of_memory_is_that_of_the_process() -> None:
    before = cost.peak_mib(torch.device("cpu"))
    held = torch.ones(64 * 2**20, dtype=torch.uint8) + 1
    after = cost.peak_mib(torch.device("cpu"))
    assert before <= after < 2**20
    assert after >= held.numel() / 2**20


@pytest.fixture
def settings() -> Namespace:
    def logger(name: str, **arguments: Any) -> Namespace:
        return Namespace(class_path=name, init_args=Namespace(**arguments))

    return Namespace(
        default_root_dir=None,
        logger=[
            logger("lightning.pytorch.loggers.CSVLogger", save_dir="runs"),
            logger("lightning.pytorch.loggers.WandbLogger", save_dir="/else", offline=False),
        ],
    )


def test_a_trial_keeps_its_files_to_itself(
    settings: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    loggers.settle(settings)
    assert settings.default_root_dir is None
    assert settings.logger[0].init_args.save_dir == "runs"
    monkeypatch.setenv("VOSFM_RUNS", "/trial")
    loggers.settle(settings)
    assert settings.default_root_dir == "/trial"
    assert [one.init_args.save_dir for one in settings.logger] == ["/trial/runs", "/else"]
    settings.logger = True
    loggers.settle(settings)


@pytest.mark.parametrize("answers", [True, False])
def test_wandb_out_of_reach_stops_nothing(
    settings: Namespace, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(loggers, "_answers", lambda: answers)
    if answers:
        loggers.settle(settings)
    else:
        with pytest.warns(UserWarning, match="wandb sync"):
            loggers.settle(settings)
    assert os.environ.get("WANDB_MODE") == (None if answers else "offline")


def test_whether_wandb_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"220 another protocol\n")

    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WANDB_BASE_URL", address)
    assert loggers._answers()  # it refuses the page, and so is there
    monkeypatch.setattr(BaseHTTPRequestHandler, "do_GET", answer, raising=False)
    assert not loggers._answers()
    server.shutdown()
    server.server_close()
    assert not loggers._answers()
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    assert not loggers._answers()
