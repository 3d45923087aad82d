"""Every config runs, and the commands agree on what they measure."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
import youtube
from commands import run_config
from layouts import save_long_videos, save_lvos, save_mose, save_pumavos, save_sav
from models import CONFIG
from sharded import save_shards, squares

from vosfm import zoo
from vosfm.cli import main
from vosfm.data import ProceduralVideos, Sequences, Stills, write_labels
from vosfm.evaluate import evaluate

ROOT = zoo.CONFIGS.parent / "experiments"
SHARED = zoo.CONFIGS.parents[1] / "shared" / "data" / "train"
SWEEPS = sorted(ROOT.rglob("*.yaml"))

FAST = (
    "--data.init_args.train.init_args.clips=2",
    "--data.init_args.train.init_args.size=[64,64]",
    "--data.init_args.batch_size=2",
    "--data.init_args.num_workers=0",
    "--data.init_args.validate.init_args.length=4",
    "--data.init_args.validate.init_args.seeds=[7]",
    "--trainer.fast_dev_run=1",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def layers(*names: str) -> list[str]:
    return [word for name in names for word in ("--config", name)]


_VIT = {"image_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1]}
_SMALLER = {
    name: [
        f"--model.segmenter.init_args.{part}.init_args.{key}={value}"
        for part in ("encoder", "mask_encoder")
        for key, value in _VIT.items()
    ]
    for name in ("mmpm", "mmpm_long", "mmpm_official")
}
_HIERA = {"image_size": 64, "embed_dim": 16, "stages": "[1,1,2,1]", "global_blocks": "[3]"}
_SMALLER |= {
    name: [f"--model.segmenter.init_args.encoder.init_args.{k}={v}" for k, v in _HIERA.items()]
    for name in ("sam2_tiny", "sam2_1_tiny", "sam2_1_tiny_long")
}
"""Models that a CPU takes minutes for, smaller."""

_OF_OTHER_SIZES = [
    name for name in zoo.names() if name.startswith("sam2_") and name not in _SMALLER
]
"""Models that differ from one that is run in the sizes of their encoder alone."""


@pytest.mark.parametrize("name", [name for name in zoo.names() if name not in _OF_OTHER_SIZES])
def test_a_model_runs(name: str) -> None:
    smaller = _SMALLER.get(name, [])
    assert main(["fit", *layers(f"model/{name}", "data/procedural"), *FAST, *smaller]) == 0


@pytest.mark.parametrize("path", sorted(zoo.CONFIGS.glob("trainer/*.yaml")), ids=lambda p: p.stem)
def test_a_trainer_runs(path: Path) -> None:
    # The others go on top of the default; these stand alone.
    options = yaml.safe_load(path.read_text()).get("trainer", {})
    below = [] if path.stem == "default" or "logger" in options else ["trainer/default"]
    model = "aost_nano" if path.stem == "scalable" else "aot_nano"
    names = (f"model/{model}", "data/procedural", *below, f"trainer/{path.stem}")
    assert main(["fit", *layers(*names), *FAST]) == 0


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two rendered videos in the layout of DAVIS."""
    root = tmp_path / "DAVIS"
    videos = ProceduralVideos([3, 4], length=6, size=(64, 80), objects=2)
    for video in videos:
        frames, masks = (
            root / part / "480p" / video.name for part in ("JPEGImages", "Annotations")
        )
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index, frame in enumerate(video.frames()):
            truth = video.annotation(index)
            assert truth is not None
            labels = np.zeros(video.size, np.uint8)
            for object_id, mask in zip(truth.object_ids, truth.masks, strict=True):
                labels[mask] = object_id
            cv2.imwrite(str(frames / f"{index:05d}.jpg"), frame[..., ::-1])
            write_labels(masks / f"{index:05d}.png", labels)
    sets = root / "ImageSets" / "2017"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("".join(f"{video.name}\n" for video in videos))
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures with masks, and two sequences of four frames, in one folder."""
    labels = np.zeros((48, 64), np.uint8)
    labels[4:30, 4:40], labels[20:46, 30:60] = 1, 2
    names = [f"images/set/{n}.jpg" for n in "abc"]
    names += [f"JPEGImages/{video}/{t:05d}.jpg" for video in ("run", "walk") for t in range(4)]
    for name in names:
        image = tmp_path / name
        mask = tmp_path / name.replace("images", "masks").replace("JPEGImages", "Annotations")
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((*labels.shape, 3), 90, np.uint8))
        write_labels(mask.with_suffix(".png"), labels)
    return tmp_path


_CLIPS = ("clips=2", "size=[64,64]", "pixels=1")
_ROOT = "init_args.videos.init_args.root={}"
_TRAIN = "--data.init_args.train.init_args."
DATA = {
    ("stills",): [_TRAIN + _ROOT.removeprefix("init_args."), *(_TRAIN + o for o in _CLIPS)],
    ("stills_small",): [
        _TRAIN + _ROOT.removeprefix("init_args."),
        *(_TRAIN + option for option in _CLIPS),
    ],
    **{
        (name,): [_TRAIN + _ROOT.removeprefix("init_args."), *(_TRAIN + o for o in _CLIPS)]
        for name in ("videos", "mmpm_static", "mmpm_video")
    },
    ("shards",): [
        _TRAIN + "root={}/shards",
        *(f"{_TRAIN}drawer.init_args.{option}" for option in _CLIPS[1:]),
    ],
    ("mixed_small",): [
        *(f"{_TRAIN}parts.{part}.{_ROOT}" for part in ("videos", "stills")),
        *(
            f"{_TRAIN}parts.{part}.init_args.{option}"
            for part in ("videos", "stills")
            for option in _CLIPS
        ),
    ],
    ("youtube_vos_davis",): [
        f"{_TRAIN}parts.youtube_vos.{_ROOT}/youtube",
        f"{_TRAIN}parts.davis.{_ROOT}/DAVIS",
        f"{_TRAIN}parts.davis.init_args.videos.init_args.split=2017/val",
        f"{_TRAIN}parts.davis.init_args.clips=2",
        *(f"{_TRAIN}parts.youtube_vos.init_args.{option}" for option in _CLIPS),
    ],
}
"""Configs of training data on disk, with the options that make them small."""

HELD_OUT = [
    *("blackswan", "bmx-trees", "car-shadow", "cows", "dance-twirl", "drift-straight", "libby"),
    "schoolgirls",
]
"""The sequences that the training on two cores is tested on."""


BENCHMARKS = {
    "lvos": (save_lvos, []),
    "mose": (save_mose, ["--data.init_args.test.init_args.split=train"]),
    "sav": (save_sav, ["--model.exclusive=false"]),
    "long_videos": (save_long_videos, []),
    "pumavos": (save_pumavos, []),
}
"""Benchmarks by the names of their configs: what writes one in miniature, and further options."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_tested_by_its_config(name: str, tmp_path: Path) -> None:
    save, options = BENCHMARKS[name]
    save(tmp_path)
    run_config(name, tmp_path, *options)


def test_every_data_config_is_run_somewhere() -> None:
    elsewhere = {"procedural", "procedural_long", "davis", "youtube_vos", *BENCHMARKS}
    elsewhere |= {"burst", "mug_vos", "uvo", "vosw"}  # beside the tests of these formats
    there = {path.stem for path in zoo.CONFIGS.glob("data/*.yaml")}
    assert there == elsewhere | {name for names in DATA for name in names}


@pytest.mark.parametrize("names", DATA, ids="+".join)
def test_training_data_runs(names: tuple[str, ...], pictures: Path, davis: Path) -> None:
    youtube.save_split(pictures / "youtube", "train")
    save_shards(pictures / "shards", squares(4), (3, 1))
    options = [option.format(pictures) for option in DATA[names]]
    above = [f"data/{name}" for name in names]
    command = ["fit", *layers("model/aot_nano", "trainer/cpu_static", *above), *options]
    fast = ("--data.init_args.batch_size=2", "--data.init_args.num_workers=0")
    assert main([*command, *fast, "--trainer.fast_dev_run=1"]) == 0


@pytest.mark.parametrize("name", ["stills_small", "mixed_small"])
def test_the_training_on_two_cores_refuses_what_it_is_tested_on(
    name: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((zoo.CONFIGS / "data" / f"{name}.yaml").read_text())
    assert config["data"]["init_args"]["held_out"] == HELD_OUT
    if name == "stills_small":
        return
    for folder in ("JPEGImages", "Annotations"):
        (pictures / folder / "walk").rename(pictures / folder / "libby")
    options = [option.format(pictures) for option in DATA[(name,)]]
    command = ["fit", *layers("model/aot_nano", "trainer/cpu_video", f"data/{name}"), *options]
    assert main([*command, "--trainer.fast_dev_run=1"]) != 0
    assert "libby would be trained on and held out" in capsys.readouterr().err


@pytest.mark.parametrize("path", [*sorted(zoo.CONFIGS.rglob("*.yaml")), *SWEEPS], ids=_label)
def test_configs_name_held_out_sequences_only_to_hold_them_out(path: Path) -> None:
    named = re.sub(r"(?s)held_out:.*?\n +\[.*?\]", "", path.read_text())
    assert not [name for name in HELD_OUT if re.search(rf"\b{name}\b", named)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the pictures and videos of ../shared")
def test_training_data_beside_the_checkout_is_clean() -> None:
    videos = Sequences(SHARED / "video" / "davis2016_train")
    sources = [*videos.names, *Stills(SHARED).names]
    assert len(videos) == 30
    assert not [name for name in sources if set(re.split(r"[/_]", name)) & set(HELD_OUT)]


def test_commands_agree(davis: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`test` tells the scores that `evaluate` finds in the masks that `predict` wrote."""
    common = [*layers(str(CONFIG), "data/davis"), f"--data.init_args.test.init_args.root={davis}"]
    assert main(["test", *common, "--trainer.logger=false"]) == 0
    told = capsys.readouterr().out
    assert main(["predict", *common, "--out=masks"]) == 0
    scores = evaluate(davis / "Annotations" / "480p", Path("masks"), "davis2017")
    assert len(scores.objects) == 4
    for name in ("J&F", "J", "F"):
        (line,) = [line for line in told.splitlines() if f" test/{name} " in line]
        number = float(line.split("\u2502")[2])
        assert number == pytest.approx(scores.overall[name], abs=1e-6)
