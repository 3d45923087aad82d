from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml
from models import CONFIG
from scenes import contents, save_scene, scene
from torch.utils.data import DataLoader, Dataset

from vosfm import InputError, build, cli, zoo
from vosfm.checkpoints.loading import load
from vosfm.cli import COMMANDS, LIGHTNING, main
from vosfm.data import Davis, VideoDataModule, read_labels
from vosfm.lightning_cli import TaskCLI, spell_out
from vosfm.task import SegmentationTask

MEMORY = "model.segmenter.init_args.memory.init_args"
CONFIGS = sorted(p for p in zoo.CONFIGS.glob("*/*.yaml") if p.parent.name != "prompter")


class Parsed(TaskCLI):
    """Parses and builds, and runs nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        self._prepare_subcommand_kwargs(subcommand)


class Unbuilt(TaskCLI):
    """Parses, and builds nothing."""

    def instantiate_classes(self) -> None: ...
    def _run_subcommand(self, subcommand: str) -> None: ...


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished training, with the default trainer and W&B."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        configs = ("trainer/default", "trainer/wandb", str(CONFIG))
        assert main(["fit", *(f"--config={name}" for name in configs)]) == 0
        wandb.finish()
        yield folder / "runs" / "vosfm" / "version_0"


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, which comes last."""
    text = capsys.readouterr().err
    lines = text.splitlines()
    assert "Traceback" not in text
    assert [line for line in lines if line.startswith("vosfm: error: ")] == lines[-1:]
    return lines[-1]


def _logged(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


class TestCommands:
    @pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
    def test_help_lists_all(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        for name in LIGHTNING | COMMANDS:
            assert len([line for line in lines if line.startswith(f"  {name} ")]) == 1

    def test_help_of_the_program_imports_no_command(self) -> None:
        code = (
            "import sys; from vosfm.cli import main; main(['--help']);"
            "assert not {'lightning', 'cv2', 'rich.progress'} & set(sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    @pytest.mark.parametrize("name", [*LIGHTNING, *COMMANDS])
    def test_help_of_each(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"vosfm {'[options] ' if name in LIGHTNING else ''}{name}" in capsys.readouterr().out

    def test_an_unknown_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["trak"]) == 2
        assert "no command 'trak'" in _error(capsys)

    def test_ctrl_c(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(arguments: list[str]) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "_run", interrupt)
        assert main(["track"]) == 130
        assert capsys.readouterr().err == "vosfm: interrupted\n"


class Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise InputError("00000.jpg: truncated; copy it again")


def test_an_error_in_a_worker_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_run", lambda _: list(DataLoader(Broken(), num_workers=1)))
    assert main(["fit"]) == 2
    assert _error(capsys) == "vosfm: error: 00000.jpg: truncated; copy it again"


class TestConfigs:
    @pytest.mark.parametrize(
        ("command", "path"),
        [
            pytest.param(command, path, id=f"{command}-{path.parent.name}/{path.stem}")
            for command, path in product(LIGHTNING, CONFIGS)
            # All commands take models alike, and the next test takes every one of them.
            if path.parent.name != "model" or path.stem in ("aot_nano", "sam2_1_tiny_long")
            if path.parent.name != "study"  # layers for the models of tests/test_experiments.py
        ],
    )
    def test_each_parses_and_builds(self, here: Path, path: Path, command: str) -> None:
        rest = yaml.safe_load(CONFIG.read_text())
        del rest[path.parent.name]
        (here / "rest.yaml").write_text(yaml.safe_dump(rest))
        layers = ["--config=rest.yaml", f"--config={path}"]
        if path.parent.name == "trainer":
            layers.insert(1, "--config=trainer/default")
        out = ["--out=out"] if command == "predict" else []
        with torch.device("meta" if path.parent.name == "model" else "cpu"):
            parsed = Parsed([command, *layers, *out, "--trainer.accelerator=cpu"])
        assert isinstance(parsed.model, SegmentationTask)
        assert isinstance(parsed.datamodule, VideoDataModule)

    @pytest.mark.parametrize("name", zoo.names())
    def test_each_model_is_trained_by_name(self, here: Path, name: str) -> None:
        configs = [f"--config=model/{name}", "--config=data/procedural", "--config=trainer/default"]
        with torch.device("meta"):  # of any size, at no cost
            parsed = Parsed(["fit", *configs, "--trainer.accelerator=cpu"])
            assert type(parsed.model.segmenter) is type(build(name))

    def test_a_command_line_change_reaches_what_refers_to_it(self, here: Path) -> None:
        option = "--data.init_args.test.init_args.root=there"
        configs = [f"--config=model/{zoo.names()[0]}", "--config=data/davis"]
        parsed = Parsed(["validate", *configs, option, "--trainer.logger=false"])
        data = parsed.config.validate.data.init_args
        assert [data[part].init_args.root for part in ("test", "validate", "predict")] == (
            ["there"] * 3
        )
        assert isinstance(parsed.datamodule.validate, Davis)

    @pytest.mark.parametrize("form", ["--{}=null", "--{} null"])
    def test_null_on_the_command_line(self, here: Path, form: str) -> None:
        given = {
            "model.backbone": "a.pth",
            "model.depth": "1",
            "model.search": "Greedy",
            "data.init_args.train": "ProceduralClips",
            "data.init_args.test.init_args.sequences": "[bear]",
            "model.segmenter.init_args.encoder.init_args.checkpoint": "sam.pth",
            f"{MEMORY}.reader.init_args.top_k": "8",
            f"{MEMORY}.reader.init_args.state": "temporal",
            f"{MEMORY}.banks.sequential.init_args.training_interval": "2",
        }
        command = ["fit", "--config=model/mmpm_tiny", "--config=data/davis"]
        command += [f"--{name}={value}" for name, value in given.items()]
        nulls = " ".join(form.format(name) for name in given).split()
        for options, expected in (([], False), (nulls, True)):
            config = Unbuilt([*command, *options]).config.fit
            values = {name: reduce(getitem, name.split("."), config) for name in given}
            assert {name: value is None for name, value in values.items()} == dict.fromkeys(
                given, expected
            )

    def test_null_in_a_mapping_on_the_command_line(self, here: Path) -> None:
        reader = '{"init_args": {"state": null, "matched": ["temporal"]}}'
        command = ["fit", "--config=model/mmpm_tiny", "--config=data/davis"]
        config = Unbuilt([*command, f"--{MEMORY}.reader={reader}"]).config.fit
        memory = reduce(getitem, MEMORY.split("."), config)
        assert memory.reader.init_args.state is None
        assert memory.reader.init_args.matched == ("temporal",)
        assert memory.reader.init_args.key == 32

    def test_a_memory_type_of_the_ablations(self, here: Path) -> None:
        without = [f"--{MEMORY}.reader.init_args.state", "null"]
        without += ["--model.segmenter.init_args.decoder.init_args.readouts=[128]"]
        configs = ["--config=model/mmpm_tiny", "--config=data/procedural"]
        with torch.device("meta"):
            parsed = Parsed(["fit", *configs, *without, "--trainer.accelerator=cpu"])
        assert parsed.model.segmenter.memory.reader.state is None

    def test_short_names(self, here: Path) -> None:
        file = str(zoo.CONFIGS / "model" / "aot_t.yaml")
        spelled = ["fit", "--config", file, f"--config={file}", "-c", file]
        short = ["fit", "--config", "model/aot_t", "--config=model/aot_t.yaml", "-c", "model/aot_t"]
        assert spell_out(short) == spelled
        others = ["fit", "--name", "model/aot_t", "--config", "model/none", "model/aot_t"]
        assert spell_out(others) == others

    def test_a_file_of_the_users_own_comes_first(self, here: Path) -> None:
        (here / "model").mkdir()
        (here / "model" / "aot_t.yaml").write_text("{}")
        arguments = ["fit", "--config", "model/aot_t.yaml"]
        assert spell_out(arguments) == arguments


class TestFit:
    def test_leaves_all_of_a_run(self, run: Path) -> None:
        files = contents(run)
        assert {"config.yaml", "metrics.csv"} <= set(files)
        assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= set(files)
        assert len([name for name in files if name.endswith(".jpg")]) == 2 * 2 * 3
        assert list((run.parents[1] / "wandb").glob("offline-run-*/*.wandb"))
        assert len(_logged(run, "val/J&F")) == 2

    def test_its_config_describes_it(self, run: Path, here: Path) -> None:
        segmenter = build(str(run / "config.yaml"))
        load(segmenter, run / "checkpoints" / "best.ckpt")
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["trainer"]["max_steps"] == 4
        assert Parsed(["fit", f"--config={run / 'config.yaml'}"]).model is not None

    def test_goes_on_with_a_training_in_the_folder_of_a_run(self, run: Path, here: Path) -> None:
        (here / "version.yaml").write_text(
            "trainer: {logger: {class_path: lightning.pytorch.loggers.CSVLogger, "
            "init_args: {save_dir: runs, name: a, version: 0}}}"
        )
        command = ["fit", f"--config={run / 'config.yaml'}", "--config=version.yaml"]
        options = ["--trainer.max_steps=6", f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"]
        for _ in range(2):
            assert main([*command, *options]) == 0
            wandb.finish()
        last = torch.load("runs/a/version_0/checkpoints/last.ckpt", weights_only=True)
        assert last["global_step"] == 6

    def test_ctrl_c(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(SegmentationTask, "training_step", interrupt)
        handler = signal.getsignal(signal.SIGINT)
        try:
            assert main(["fit", f"--config={CONFIG}", "--trainer.logger=false"]) == 130
        finally:
            signal.signal(signal.SIGINT, handler)


class TestAfterFit:
    def test_test_measures_the_weights_that_were_validated(self, run: Path, here: Path) -> None:
        config, weights = run / "config.yaml", run / "checkpoints" / "last.ckpt"
        command = ["test", f"--config={config}", f"--ckpt_path={weights}"]
        assert main(command) == 0
        wandb.finish()
        validated = _logged(run, "val/J&F")[-1]
        assert _logged(Path("runs/vosfm/version_0"), "test/J&F") == [pytest.approx(validated)]
        assert not Path("runs/vosfm/version_0/config.yaml").exists()

    def test_predict_writes_what_track_writes(self, run: Path, here: Path) -> None:
        frames, first = save_scene(here / "scene", scene(6), ids=(2, 5))
        (here / "data.yaml").write_text(
            "data: {class_path: vosfm.data.VideoDataModule, init_args: {predict: {class_path: "
            f"vosfm.data.VideoList, init_args: {{paths: [{frames}], masks: [{first}]}}}}}}}}"
        )
        (here / "model.yaml").write_text(
            yaml.safe_dump({"model": yaml.safe_load((run / "config.yaml").read_text())["model"]})
        )
        weights = run / "checkpoints" / "best.ckpt"
        configs = ["--config=model.yaml", "--config=trainer/default", "--config=data.yaml"]
        assert main(["predict", *configs, f"--ckpt_path={weights}", "--out=predicted"]) == 0
        options = ["--model=model.yaml", f"--checkpoint={weights}", "--no-overlay"]
        files = [str(frames), f"--masks={first}", "--out=tracked"]
        assert main(["track", *files, *options]) == 0
        predicted = contents(here / "predicted" / "frames")
        tracked = contents(here / "tracked")
        assert sorted(predicted) == [f"{index:05d}.png" for index in range(6)]
        assert predicted == {k: v for k, v in tracked.items() if k.endswith(".png")}
        assert set(read_labels(here / "predicted" / "frames" / "00000.png").ravel()) == {0, 2, 5}
        assert not Path("runs").exists()


@pytest.fixture
def weights(run: Path, tmp_path: Path) -> dict[str, Path]:
    whole = run / "checkpoints" / "best.ckpt"
    other = tmp_path / "other.pth"
    torch.save({"decoder.exit.weight": torch.ones(1)}, other)
    code = tmp_path / "code.ckpt"
    torch.save({"state_dict": {}, "code": CONFIG}, code)  # a path is an object, not a tensor
    return {"whole": whole, "other": other, "code": code, "missing": tmp_path / "missing.ckpt"}


class TestBadInput:
    @pytest.mark.parametrize("command", LIGHTNING)
    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("other", "other.pth: a checkpoint of another model"),
            ("code", "code.ckpt: holds code"),
            ("missing", "missing.ckpt: no such checkpoint"),
        ],
    )
    def test_checkpoints(
        self,
        here: Path,
        weights: dict[str, Path],
        capsys: pytest.CaptureFixture[str],
        command: str,
        kind: str,
        words: str,
    ) -> None:
        options = [f"--config={CONFIG}", f"--ckpt_path={weights[kind]}", "--trainer.logger=false"]
        before = contents(here)
        out = ["--out=out"] if command == "predict" else []
        assert main([command, *options, *out]) == 2
        assert words in _error(capsys)
        assert contents(here) == before

    def test_weights_are_no_training(
        self, here: Path, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
        torch.save(content["state_dict"], here / "weights.pth")
        assert main(["fit", f"--config={CONFIG}", "--ckpt_path=weights.pth"]) == 2
        assert "no training to go on with" in _error(capsys)

    @pytest.mark.parametrize(
        ("command", "options", "words"),
        [
            ("fit", ["--model.lr=fast"], "model.lr"),
            ("fit", ["--config=model/none"], "model/none"),
            ("fit", ["--speed=1"], "--speed"),
            ("fit", ["--trainer.devices=0"], "devices"),
            ("fit", ["--data.init_args.batch_size=0"], "config: batch_size must be at least 1"),
            (
                "fit",
                ["--model.segmenter.init_args.encoder.init_args.name=mobile"],
                "timm has no model 'mobile'",
            ),
            ("fit", ["--data.init_args.train=null"], "data.train: nothing to train on"),
            ("test", ["--data.init_args.test=null"], "data.test: nothing to test on"),
            ("predict", [], "out"),
        ],
    )
    def test_configs(
        self,
        here: Path,
        capsys: pytest.CaptureFixture[str],
        command: str,
        options: list[str],
        words: str,
    ) -> None:
        options = [f"--config={CONFIG}", "--trainer.logger=false", *options]
        assert main([command, *options]) == 2
        assert words in _error(capsys)

    def test_data_that_breaks_on_the_way(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        frames, first = save_scene(here / "scene", scene(6))
        content = (frames / "00003.jpg").read_bytes()
        (frames / "00003.jpg").write_bytes(content[: len(content) // 2])
        videos = f"class_path: vosfm.data.VideoList, init_args: {{paths: [{frames}]"
        (here / "data.yaml").write_text(
            "data: {class_path: vosfm.data.VideoDataModule, init_args: {predict: "
            f"{{{videos}, masks: [{first}]}}}}}}}}"
        )
        model = yaml.safe_load(CONFIG.read_text())["model"]
        (here / "model.yaml").write_text(yaml.safe_dump({"model": model}))
        assert main(["predict", "--config=model.yaml", "--config=data.yaml", "--out=out"]) == 2
        assert "00003.jpg: the picture is truncated" in _error(capsys)
        written = here / "out" / "frames"
        assert sorted(contents(written)) == ["00000.png", "00001.png", "00002.png"]
        for path in written.iterdir():
            read_labels(path)
