"""Peers by name, beside models and on benchmarks in miniature."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from models import CONFIG, tiny
from sams import SIDE, WIDTH, config

from vosfm import zoo
from vosfm.baselines import repeat
from vosfm.compare import compare, peers
from vosfm.data import Davis, ProceduralVideos, write_labels
from vosfm.errors import InputError
from vosfm.metrics import VideoSegmentation
from vosfm.peers import NAMES, add_arguments, build, main
from vosfm.prompters import Prompter, SamPrompter
from vosfm.task import score

VIDEOS = list(ProceduralVideos([1], length=3, size=(48, 64), objects=2))
FEW = {
    "sam_grid_32": {"points": 3},
    "sam_grid_64": {"points": 3},
    "persam_f": {"steps": 3},
    "persam_f_image": {"steps": 3},
    "sam_pt": {"refinements": 1, "quality": 0.0},
    "sam_pt_reinit": {"refinements": 1, "quality": 0.0, "horizon": 2, "negatives": 5},
    "deva": {"points": 2, "every": 1, "clip": 2},
}


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Prompter:
    torch.manual_seed(0)
    return zoo.build_prompter(str(config(tmp_path_factory.mktemp("sam"))))


@pytest.mark.parametrize("name", NAMES)
def test_every_peer_runs_on_a_real_sam(name: str, sam: Prompter) -> None:
    """Of random weights: that all parts fit each other is all that it can show."""
    peer = build(name, sam, tiny() if name == "deva" else None, **FEW.get(name, {}))
    (video,) = VIDEOS
    results = list(peer.track(video.frames(), video.prompts()))
    assert [r.object_ids for r in results] == [(1, 2)] * 3
    assert all(r.masks.shape == (2, 48, 64) for r in results)
    assert all((r.masks.sum(0) <= 1).all() for r in results)
    assert all(((r.scores >= 0) & (r.scores <= 1)).all() for r in results)


def test_what_cannot_be_built(sam: Prompter) -> None:
    for name, changes, text in (
        ("nobody", {}, "no peer 'nobody'"),
        ("deva", {}, "propagates masks with a model"),
        ("persam", {"margin": -1}, "persam: margin is -1"),
        ("persam", {"colour": 1}, "persam: .*colour"),
    ):
        with pytest.raises(InputError, match=text):
            build(name, sam, **changes)
    with pytest.raises(InputError, match="needs a SAM"):
        build("sam_pt", SamPrompter(WIDTH, SIDE))
    with pytest.raises(InputError, match="persam asks a SAM"):
        build("persam", None)
    with pytest.raises(InputError, match=r"flow: .*margin"):
        build("flow", None, margin=1)
    with pytest.raises(InputError, match="masks of at least one frame"):
        next(build("flow", None).track(VIDEOS[0].frames()))


def test_peers_stand_beside_a_model(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "tiny.pth")
    others = peers(["persam"], str(config(tmp_path)), None, str(CONFIG), tmp_path / "tiny.pth")
    scores = compare(str(CONFIG), tmp_path / "tiny.pth", VIDEOS, others)
    assert list(scores)[-1] == "persam"
    assert set(scores["persam"]) == set(scores["first mask repeated"])
    assert not peers([], "no such file", None, "", tmp_path)


def test_the_command_writes_masks_and_metrics(tmp_path: Path) -> None:
    (video,) = VIDEOS
    root = tmp_path / "davis"
    for place, (name, picture) in enumerate(zip(video.frame_names, video.frames(), strict=True)):
        annotation = video.annotation(place)
        assert annotation is not None
        labels = np.zeros(video.size, np.uint8)
        for object_id, mask in zip(annotation.object_ids, annotation.masks, strict=True):
            labels[mask] = object_id
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / "480p" / "scene").mkdir(parents=True, exist_ok=True)
        write_labels(root / "Annotations/480p/scene" / f"{name}.png", labels)
        _save(root / "JPEGImages/480p/scene" / f"{name}.jpg", picture)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("scene\n")
    command = [str(root), "--peer", "persam", "--sam", str(config(tmp_path))]
    command += ["--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--set", "positives=1"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    main(parser.parse_args(command))
    (row,) = csv.DictReader((tmp_path / "out" / "metrics.csv").read_text().splitlines())
    assert 0 <= float(row["test/J&F"]) <= 1
    assert float(row["test/fps"]) > 0
    assert len(list((tmp_path / "out" / "scene").glob("*.png"))) == 3
    simple = [str(root), "--peer", "first_mask", "--stage", "val", "--out", str(tmp_path / "val")]
    main(parser.parse_args(simple))
    (row,) = csv.DictReader((tmp_path / "val" / "metrics.csv").read_text().splitlines())
    metric = VideoSegmentation("davis2017")
    (held,) = Davis(root)
    score(metric, held, repeat(held.frames(), held.prompts()))
    assert float(row["val/J&F"]) == pytest.approx(float(metric.compute()["J&F"]))
    with pytest.raises(InputError, match="--set margin: give NAME=VALUE"):
        main(parser.parse_args([*command, "--set", "margin"]))
    with pytest.raises(InputError, match="--sequences nowhere: no such video"):
        main(parser.parse_args([*command, "--sequences", "nowhere"]))


def _save(path: Path, picture: np.ndarray) -> None:
    assert cv2.imwrite(str(path), picture[..., ::-1])
