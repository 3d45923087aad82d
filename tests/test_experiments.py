"""Every experiment is a sweep that W&B takes: full ones build, small ones run."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sams
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser
from squares import save_frame, square

from vosfm import Segmenter, zoo
from vosfm.cli import main
from vosfm.data import write_labels
from vosfm.lightning_cli import TaskCLI, spell_out
from vosfm.peers import NAMES
from vosfm.report import find_sweeps, markdown, read_results, studies, tabulate
from vosfm.report.command import file_name
from vosfm.report.published import study_of
from vosfm.report.results import SEED
from vosfm.sweeping import command, sweep_file
from vosfm.sweeping.outcome import last_values
from vosfm.sweeping.trials import Trial, expand

ROOT = zoo.CONFIGS.parent / "experiments"
RESULTS = ROOT / "results"
ALL = sorted(path for path in ROOT.rglob("*.yaml") if RESULTS not in path.parents)
SMALL = [path for path in ALL if path.parent.name == "small"]
PEERS = ROOT / "mug_vos" / "methods.yaml"
BASELINES = ROOT / "real_video" / "baselines.yaml"
REAL = sorted(path for path in (ROOT / "real_video").glob("*.yaml") if path != BASELINES)
FULL = [path for path in ALL if path not in (*SMALL, *REAL, PEERS, BASELINES)]

FAST = {
    "fit": (
        "--data.init_args.train.init_args.clips=2",
        "--data.init_args.train.init_args.size=[64,64]",
        "--data.init_args.batch_size=2",
        "--data.init_args.validate.init_args.length=4",
        "--data.init_args.validate.init_args.size=[64,96]",
        "--data.init_args.validate.init_args.seeds=[7]",
        "--trainer.fast_dev_run=1",
    ),
    "test": (
        "--data.init_args.test.init_args.length=4",
        "--data.init_args.test.init_args.size=[64,96]",
        "--data.init_args.test.init_args.seeds=[7]",
        "--trainer.fast_dev_run=1",
    ),
}
"""What makes a command of the small experiments a matter of seconds."""

LIKE_ANOTHER = {
    *(f"mmpm/small/{name}" for name in ("update_interval", "memory_size", "memory_filter")),
    *(f"sam2long/small/{name}" for name in ("pathways", "iou_threshold", "uncertainty")),
}
"""Small experiments that do what one beside them does, with other numbers."""

TOGETHER = {
    "interval": [f"memory.init_args.banks.{b}" for b in ("temporal", "sequential")],
    "identities": ["mask_encoder", "decoder"],
}
"""Arguments that parts of a model have in common."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trials run, with the weights that small experiments find there."""
    folder = tmp_path_factory.mktemp("place")
    for path in (ROOT / "aot/small/train.yaml", ROOT / "mmpm/small/train.yaml"):
        options = parsed(words(path, trials(path)[0]))
        model = on_meta(options).to_empty(device="cpu")
        where = next(
            folder / callback.init_args.dirpath
            for callback in options.trainer.callbacks
            if callback.class_path.endswith("ModelCheckpoint")
        )
        where.mkdir(parents=True)
        weights = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
        torch.save(weights, where / "seed0.ckpt")
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def trials(path: Path) -> list[Trial]:
    return expand(sweep_file.read(path))


def words(path: Path, trial: Trial, *extra: str) -> list[str]:
    """The command of a trial, without the program."""
    return command.words(sweep_file.read(path), trial, extra, Path("out"))[1:]


class Read(TaskCLI):
    """A command that is read, and does nothing."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Those of the experiments."""
        return {name: skip for name, skip in TaskCLI.subcommands().items() if name in FAST}

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _add_configure_optimizers_method_to_model(self, subcommand: str | None) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@cache
def parser() -> LightningArgumentParser:
    """What reads commands; it takes longer to make than to use."""
    command = ["test", "--config", "model/aot_nano", "--config", "data/procedural"]
    return Read(command).parser


def parsed(arguments: list[str]) -> Any:
    """The options of a command, all of them."""
    return parser().parse_args(spell_out(arguments))[arguments[0]]


def test_peers_are_swept_like_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = {name for one in study_of("mug_vos/methods").numbers for name in one.where.values()}
    swept = trials(PEERS)
    assert published == {trial.parameters["peer"] for trial in swept} <= set(NAMES)
    root = tmp_path / "mug_vos"
    (root / "mug_vos_test_v1/bear/track_000").mkdir(parents=True)
    for frame in range(3):
        save_frame(root / "JPEGImages/480p/bear" / f"{frame:05d}.jpg", frame)
        mask = square((2, 2 + 2 * frame)) * np.uint8(255)
        write_labels(root / "mug_vos_test_v1/bear/track_000" / f"{frame:03d}.png", mask)
    sam = str(sams.config(tmp_path))
    for trial in swept:
        if trial.parameters["peer"] in ("persam", "sam_grid_32"):
            monkeypatch.setenv("VOSFM_RUNS", str(tmp_path / trial.id))
            few = "points=2" if "grid" in trial.parameters["peer"] else "positives=1"
            assert main([*words(PEERS, trial), str(root), "--sam", sam, "--set", few]) == 0
            assert 0 <= last_values(tmp_path / trial.id)["test/J&F"] <= 1


def on_meta(options: Any) -> Segmenter:
    """The model of a command, without memory for its weights."""
    building = ArgumentParser(exit_on_error=False)
    building.add_argument("--model", type=Segmenter)
    config = building.parse_object({"model": options.model.segmenter.as_dict()})
    with torch.device("meta"):
        built = building.instantiate(config).model
    assert isinstance(built, Segmenter)
    return built


@pytest.mark.parametrize("path", ALL, ids=label)
def test_an_experiment_is_a_sweep_of_one_metric(path: Path) -> None:
    sweep = sweep_file.read(path)
    command.check(sweep)
    assert (sweep.method, sweep.maximize) == ("grid", True)
    (trial, *_) = expand(sweep)
    stage = {"fit": "val", "test": "test", "peers": "test"}[words(path, trial)[0]]
    if path == BASELINES:  # beside models that are validated
        stage = "val"
    assert sweep.metric == f"{stage}/J&F"
    alone = path in (*FULL, *REAL) or label(path) == "aot/small/train"
    if path not in (PEERS, BASELINES):  # they draw nothing
        assert sweep.parameters[SEED].listed() == ([0] if alone else [0, 1, 2])
    varied = [name for name, one in sweep.parameters.items() if len(one.listed() or ()) > 1]
    assert set(varied) - {SEED} or path.stem == "train" or path in REAL


def test_small_experiments_are_those_of_the_papers() -> None:
    small = {(path.parents[1].name, path.stem) for path in SMALL if path.stem != "train"}
    assert small == {(path.parent.name, path.stem) for path in FULL}


def test_every_layer_of_a_study_is_a_part_of_one() -> None:
    there = {f"study/{path.stem}" for path in (zoo.CONFIGS / "study").glob("*.yaml")}
    used = {word for path in ALL for trial in trials(path) for word in words(path, trial)}
    assert there == {
        name for word in used if (name := word.removeprefix("--config=")).startswith("study/")
    }


@pytest.mark.parametrize("folder", find_sweeps(RESULTS), ids=lambda p: str(p.relative_to(RESULTS)))
def test_results_say_what_they_are(folder: Path) -> None:
    swept = sweep_file.read(folder / "sweep.yaml")
    seeds = swept.parameters[SEED].listed() if SEED in swept.parameters else [None]
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(expand(swept))
    for told in map(json.loads, lines):
        assert told["parameters"].get(SEED) in (seeds or [])
        assert swept.metric in told["metrics"]
        assert re.fullmatch("[0-9a-f]{40}", told["commit"])
        assert not re.search(r"(^|=)/", " ".join(told["command"]))


def test_tables_are_those_of_the_results() -> None:
    found = studies(map(read_results, find_sweeps(RESULTS)))
    assert found
    tables = {file_name(study.name): markdown(tabulate(study)) for study in found}
    kept = {path.stem: path.read_text() for path in (RESULTS / "tables").glob("*.md")}
    assert kept == tables


def test_the_grid_of_mmpm_has_36_cells() -> None:
    cells = trials(ROOT / "mmpm" / "grid.yaml")
    assert len({tuple(trial.parameters.values()) for trial in cells}) == len(cells) == 36


@pytest.mark.parametrize("path", [*FULL, *REAL], ids=label)
def test_a_full_experiment_builds(path: Path) -> None:
    check_built(path, trials(path)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("path", FULL, ids=label)
def test_every_arm_of_a_full_experiment_builds(path: Path) -> None:
    for trial in one_change_each(path):
        check_built(path, trial)


def one_change_each(path: Path) -> list[Trial]:
    """Every value of every parameter, but not every pair of them."""
    first, *others = trials(path)
    known = first.parameters
    return [
        first,
        *(t for t in others if sum(t.parameters[name] != known[name] for name in known) == 1),
    ]


def check_built(path: Path, trial: Trial) -> None:
    options = parsed(words(path, trial))
    on_meta(options)
    for name, value in trial.parameters.items():
        last = name.rpartition(".")[2]
        for part in TOGETHER.get(last, ()):
            assert options[f"model.segmenter.init_args.{part}.init_args.{last}"] == value


@pytest.mark.parametrize("path", [p for p in SMALL if label(p) not in LIKE_ANOTHER], ids=label)
def test_a_small_experiment_runs(path: Path) -> None:
    run(path, trials(path)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("path", SMALL, ids=label)
def test_every_arm_of_a_small_experiment_runs(path: Path) -> None:
    for trial in one_change_each(path):
        if trial.parameters[SEED] == 0:
            run(path, trial)


def test_no_experiment_is_left_out() -> None:
    assert set(map(label, SMALL)) > LIKE_ANOTHER


def run(path: Path, trial: Trial) -> None:
    given = [word for word in words(path, trial) if not word.startswith("--ckpt_path=")]
    assert main([*given, *FAST[given[0]]]) == 0


def test_models_on_real_video_are_one_study() -> None:
    assert {sweep_file.read(path).name for path in (*REAL, BASELINES)} == {"real_video/models"}
    for path in REAL:
        assert kept_in(path) == f"runs/real_video/{path.stem}"
        given = words(path, *trials(path))
        assert given.index(f"--config=study/real_video_{path.stem}") > given.index(
            f"model/{path.stem}"
        )


def test_baselines_on_real_video_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for frame in range(3):
        save_frame(Path("data/DAVIS/JPEGImages/480p/a") / f"{frame:05d}.jpg", frame)
        label_path = Path("data/DAVIS/Annotations/480p/a") / f"{frame:05d}.png"
        label_path.parent.mkdir(parents=True, exist_ok=True)
        write_labels(label_path, square((2, 2 + 2 * frame)).astype(np.uint8))
    Path("data/DAVIS/ImageSets/2017").mkdir(parents=True)
    Path("data/DAVIS/ImageSets/2017/val.txt").write_text("a\n")
    for trial in trials(BASELINES):
        monkeypatch.setenv("VOSFM_RUNS", trial.id)
        assert main(words(BASELINES, trial)) == 0
        assert 0 < last_values(Path(trial.id))["val/J&F"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL, ids=label)
def test_a_model_on_real_video_trains(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("blackswan", "bear")):
        for frame in range(3):
            picture, mask = np.full((96, 128, 3), 40 * frame, np.uint8), np.zeros((96, 128), bool)
            mask[20:60, 20 + 4 * frame : 60 + 4 * frame] = True
            picture[mask] = 200
            folder = Path("data/videos") if number else Path("data/DAVIS")
            end = name if number else f"480p/{name}"
            (folder / "JPEGImages" / end).mkdir(parents=True, exist_ok=True)
            (folder / "Annotations" / end).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / "JPEGImages" / end / f"{frame:05d}.jpg"), picture)
            write_labels(folder / "Annotations" / end / f"{frame:05d}.png", mask.astype(np.uint8))
    Path("data/DAVIS/ImageSets/2017").mkdir(parents=True)
    Path("data/DAVIS/ImageSets/2017/val.txt").write_text("blackswan\n")
    for folder, end in (("images", "jpg"), ("masks", "png")):
        Path("data/stills", folder, "some").mkdir(parents=True)
        source = "JPEGImages" if end == "jpg" else "Annotations"
        frame = Path("data/videos", source, "bear", f"00000.{end}")
        frame.rename(f"data/stills/{folder}/some/one.{end}")
    parts = "--data.init_args.train.init_args.parts"
    few = [f"{parts}.videos.init_args.clips=2", f"{parts}.stills.init_args.clips=2"]
    few += [f"{parts}.videos.init_args.size=[65,65]", "--data.init_args.batch_size=2"]
    few += ["--model.backbone=null"]
    steps = ["--trainer.max_steps=1", "--trainer.callbacks.init_args.every_n_train_steps=1"]
    assert main([*words(path, *trials(path)), *few, *steps]) == 0
    resume = f"--ckpt_path={kept_in(path)}/last.ckpt"
    assert main([*words(path, *trials(path)), *few, "--trainer.max_steps=2", resume]) == 0
    rows = list(csv.DictReader(next(Path("runs").rglob("metrics.csv")).open()))
    assert any(row.get("val/J&F") for row in rows)


def kept_in(path: Path) -> str:
    """Where a small training keeps its weights."""
    option = "--trainer.callbacks.init_args.dirpath="
    (folder,) = [w.removeprefix(option) for w in words(path, trials(path)[0]) if option in w]
    return folder


@pytest.mark.parametrize(
    "path", [p for p in SMALL if p.stem == "train" and "aot" not in p.parts], ids=label
)
def test_what_is_trained_is_what_is_tested(path: Path) -> None:
    folder = kept_in(path)
    tested = [words(other, trials(other)[0]) for other in path.parent.glob("*.yaml")]
    read = {word for given in tested for word in given if word.startswith("--ckpt_path=")}
    assert read == {f"--ckpt_path={folder}/seed${{.seed_everything}}.ckpt"}


def test_encoders_that_are_known_have_been_trained() -> None:
    encoders = {f"{kept_in(ROOT / s / 'small/train.yaml')}/seed0.ckpt" for s in ("aot", "mmpm")}
    arms = [trials(path)[-1] for path in SMALL]
    used = {parsed(words(p, arm)).model.backbone for p, arm in zip(SMALL, arms, strict=True)}
    assert used == {None, *encoders}


def test_weights_lie_where_an_experiment_looks_for_them(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = Path("runs/start/aot_nano/seed0.ckpt")
    known.parent.mkdir(parents=True)
    known.symlink_to(place / known)
    folder = ROOT / "lvos" / "small"
    path = folder / "train.yaml"
    once = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    fast = [option for option in FAST["fit"] if "fast_dev_run" not in option]
    assert main([*words(path, trials(path)[1]), *fast, *once]) == 0
    assert [p.name for p in tmp_path.glob("runs/start/ddmemory_nano/*")] == ["seed1.ckpt"]
    path = folder / "oracles.yaml"
    assert main([*words(path, trials(path)[1]), *FAST["test"]]) == 0
    assert main([*words(path, trials(path)[2]), *FAST["test"]]) == 2  # of a seed that has none
