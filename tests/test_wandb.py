"""What a training leaves in a run of Weights & Biases, read from the file of an offline run."""

from __future__ import annotations

import csv
import json
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import pytest
import wandb
import yaml
from jsonargparse import Namespace
from models import CONFIG
from wandb.proto.wandb_internal_pb2 import Record

from vosfm.cli import main
from vosfm.loggers import settle

_BLOCK = 2**15  # bytes; wandb writes the log format of LevelDB, after seven bytes of its own
_WHOLE, _LAST = 1, 4  # kinds of parts that end a record


class Run:
    """A run as it lies on the disk.

    Args:
        folder: in which there is one run of W&B.
    """

    def __init__(self, folder: Path) -> None:
        (self.path,) = folder.rglob("run-*.wandb")
        self.files = self.path.parent / "files"
        self.group = ""
        self.config: dict[str, Any] = {}
        self.history: dict[str, list[Any]] = defaultdict(list)
        self.system: set[str] = set()
        for record in self._records():
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.group = record.run.run_group
                self._configure(record.run.config)
            elif kind == "config":
                self._configure(record.config)
            elif kind == "history":
                for item in record.history.item:
                    name = ".".join(item.nested_key) or item.key
                    self.history[name].append(json.loads(item.value_json))
            elif kind == "stats":
                self.system |= {item.key for item in record.stats.item}

    def _configure(self, told: Any) -> None:
        self.config |= {
            item.key: json.loads(item.value_json)
            for item in told.update
            if item.key and not item.key.startswith("_")
        }

    def _records(self) -> Iterator[Record]:
        data = self.path.read_bytes()
        at, record = 7, b""
        while at + 7 <= len(data):
            if _BLOCK - at % _BLOCK < 7:
                at += _BLOCK - at % _BLOCK
                continue
            _, size, kind = struct.unpack_from("<IHB", data, at)
            at += 7
            record += data[at : at + size]
            at += size
            if kind in (_WHOLE, _LAST):
                yield Record.FromString(record)
                record = b""


@contextmanager
def _anew() -> Iterator[None]:
    """W&B as in a process of its own: it reads the environment once, and ends with the process."""
    wandb.finish()
    wandb.teardown()
    yield
    wandb.finish()
    wandb.teardown()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training with the default trainer and W&B, as a sweep starts it."""
    folder = tmp_path_factory.mktemp("trained")
    configs = ("trainer/default", "trainer/wandb", str(CONFIG))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_RUN_GROUP", "some-study")
        patch.setenv("WANDB__STATS_SAMPLING_INTERVAL", "0.5")
        with _anew():
            options = [f"--config={name}" for name in configs]
            assert main(["fit", *options, "--trainer.log_every_n_steps=1"]) == 0
    return folder / "runs"


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    return Run(trained)


def test_metrics(trained: Path, run: Run) -> None:
    with (trained / "vosfm" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("train/loss", "val/J&F", "val/fps", "val/memory_mib", "val/evictions")
    for name in names:
        values = [float(row[name]) for row in rows if row[name]]
        assert len(values) == (4 if name == "train/loss" else 2)
        assert run.history[name] == pytest.approx(values)


def test_config(trained: Path, run: Run) -> None:
    config = yaml.safe_load((trained / "vosfm" / "version_0" / "config.yaml").read_text())
    assert config["model"]["segmenter"]["class_path"] == "vosfm.Segmenter"
    assert config["data"]["init_args"]["batch_size"] == 2
    assert run.config == config


def test_numbers_of_the_system(run: Run) -> None:
    assert {"proc.memory.rssMB", "memory_percent"} <= run.system


@pytest.mark.parametrize("video", ["procedural-0", "procedural-1"])
def test_pictures(run: Run, video: str) -> None:
    validations = run.history[f"overlays/{video}.filenames"]
    assert run.history[f"overlays/{video}.captions"] == [["00001", "00002", "00003"]] * 2
    assert [len(names) for names in validations] == [3, 3]
    for name in chain(*validations):
        assert name.startswith("media/")
        picture = cv2.imread(str(run.files / name))
        assert picture is not None
        assert picture.shape == (64, 64, 3)


def test_trials_of_a_sweep_are_one_group(run: Run) -> None:
    assert run.group == "some-study"


def test_other_commands_tell_their_config_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--config=trainer/wandb", f"--config={CONFIG}", "--oracle=box"]
    with _anew():
        assert main(["test", *options, "--data.init_args.validate.init_args.seeds=[0]"]) == 0
    run = Run(tmp_path)
    assert run.config["model"]["oracle"] == "box"
    assert run.config["data"]["init_args"]["test"]["init_args"]["seeds"] == [0]
    assert not list(tmp_path.rglob("config.yaml"))


class Gateway(BaseHTTPRequestHandler):
    """A proxy that does not reach the server behind it."""

    def do_GET(self) -> None:
        self.send_error(502)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture(params=["refused", "gateway"])
def unreachable(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a W&B that is not there."""
    server = HTTPServer(("127.0.0.1", 0), Gateway)
    if request.param == "gateway":
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        server.server_close()
    yield f"http://127.0.0.1:{server.server_port}"
    if request.param == "gateway":
        server.shutdown()
        server.server_close()


def test_wandb_out_of_reach_stops_no_training(
    unreachable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", unreachable)
    options = ["--trainer.logger.init_args.offline=false", "--trainer.log_every_n_steps=1"]
    short = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
    configs = ["--config=trainer/wandb", f"--config={CONFIG}"]
    with _anew(), pytest.warns(UserWarning, match="wandb sync"):
        assert main(["fit", *configs, *options, *short]) == 0
    assert len(Run(tmp_path).history["train/loss"]) == 1


class Vanishing(BaseHTTPRequestHandler):
    """A W&B that takes a run, and is gone once the run sends what it logs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.startswith("/graphql"):
            self.close_connection = True
            threading.Thread(target=self.server.shutdown, daemon=True).start()
            return
        asked = json.loads(body)
        project = {"id": "p", "name": "vosfm", "entity": {"id": "e", "name": "e"}}
        bucket = {"id": "b", "config": "{}", "historyLineCount": 0, "project": project}
        told: dict[str, Any] = {
            "viewer": {"id": "u", "entity": "e", "username": "u", "teams": {"edges": []}},
            "serverInfo": {"features": []},
        }
        if "upsertBucket" in asked["query"]:
            bucket |= {"name": asked["variables"]["name"], "displayName": "run"}
            told["upsertBucket"] = {"bucket": bucket, "inserted": True}
        answer = json.dumps({"data": told}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: Any) -> None: ...


def test_wandb_that_is_gone_later_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "")
    monkeypatch.delenv("WANDB_FINISH_TIMEOUT")  # as it was, whatever the run sets
    monkeypatch.setattr("vosfm.loggers._LAST_WORDS", 2.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vanishing)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)  # of the server above, which is all it is sent to
    options = ["--trainer.logger.init_args.offline=false", "--trainer.log_every_n_steps=1"]
    short = ["--trainer.max_steps=2", "--trainer.limit_val_batches=0"]
    with _anew():
        configs = ["--config=trainer/wandb", f"--config={CONFIG}"]
        assert main(["fit", *configs, *options, *short]) == 0
        wandb.finish()  # as the end of the process does
    serving.join(5.0)
    assert not serving.is_alive()  # the run had begun there, and went on without it
    server.server_close()
    assert len(Run(tmp_path).history["train/loss"]) == 2


def test_a_trial_of_an_agent_logs_to_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc123")
    options = [f"--config={CONFIG}", "--trainer.log_every_n_steps=1"]
    short = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
    with _anew():
        assert main(["fit", "--config=trainer/default", *options, *short]) == 0
    assert len(Run(tmp_path).history["train/loss"]) == 1
    assert list(tmp_path.rglob("metrics.csv"))  # whatever else was asked for is there, too


def test_a_trial_of_an_agent_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc123")
    arguments = Namespace(save_dir="runs", offline=True)
    logger = Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=arguments)
    settle(Namespace(logger=[logger], default_root_dir=None))
    assert arguments.offline is False
