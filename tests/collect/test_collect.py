"""`vosfm collect`: what lies on disk afterwards, what fails, and how a run goes on."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmed import SIZE, save_davis_scenes, save_pictures, save_video, scene
from scenes import contents

from vosfm.cli import main
from vosfm.collect import collecting, jobs, recipe
from vosfm.collect.cutting import cut
from vosfm.collect.prompting import Candidates, PromptedSegmenter
from vosfm.collect.recipe import Recipe, Tools, tools_of
from vosfm.collect.settings import Settings
from vosfm.collect.sources import list_sources
from vosfm.data import Image, MUGVOSTrain, Video, read_image
from vosfm.data.rle import decode
from vosfm.data.statistics import DatasetStatistics, describe
from vosfm.errors import InputError
from vosfm.flow import DIS

LENGTH = ("--length", "4", "--min-length", "3")
NETWORK = ("--segmenter", "sam_vit_b", "--device", "cpu", "--points-per-side", "4")


class Halves(PromptedSegmenter):
    """Answers every point with the half of the image that it is in, in the dark with nothing."""

    def look(self, image: Image, frame: int) -> None:
        self._size = image.shape[:2]
        self._dark = image.mean() < 5
        if image.mean() > 250:
            raise RuntimeError("too bright for this network")

    def candidates(self, points: np.ndarray, offset: float = 1.0) -> Candidates:
        height, width = self._size
        masks = np.zeros((len(points), 1, height, width), bool)
        for row, query in enumerate(points):
            left = query[0, 0] < width / 2
            if self._dark:
                continue
            masks[row, 0, :, slice(0, width // 2) if left else slice(width // 2, None)] = True
        certain = np.ones((len(points), 1), np.float32)
        return Candidates(masks, certain, certain)


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "tools_of", lambda recipe: Tools(Halves(), DIS()))


def collect_davis(root: Path, out: Path, *options: str) -> int:
    given = ("collect", str(root), "--format", "davis", "--oracle", "--out", str(out))
    return main([*given, *LENGTH, *options])


def collect_halves(out: Path, *given: str | Path) -> int:
    return main(["collect", *map(str, given), "--out", str(out), *NETWORK, *LENGTH])


def manifest(out: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return told


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_corpus_is_what_the_format_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 8 and 7 frames, 4, 4, 4 and 3; the summary is that of `vosfm stats`."""
    root, out = save_davis_scenes(tmp_path / "davis"), tmp_path / "out"
    assert collect_davis(root, out) == 0
    clips = ["one_00000", "one_00004", "two_00000", "two_00004"]
    assert MUGVOSTrain(out).names == tuple(clips)
    told = manifest(out)
    assert list(told["clips"]) == clips
    assert told["clips"]["two_00004"]["frames"] == [4, 5, 6]
    assert told["failures"] == []
    dataset = DatasetStatistics()
    for truth in MUGVOSTrain(out).truths():
        dataset.add(describe(truth))
    counted = dataset.summary()
    for name in ("masks", "tracks", "masks_per_frame", "annotated_frames"):
        assert told["summary"][name] == counted[name]
    assert told["summary"]["density"] == pytest.approx(counted["density"])
    shown = capsys.readouterr().out
    assert "masks per frame" in shown
    assert "4 clips, see" in shown
    for clip, video, start in (("one_00004", "one", 4), ("two_00000", "two", 0)):
        for place in range(4):
            source = root / "JPEGImages/480p" / video / f"{start + place:05d}.jpg"
            written = out / "JPEGImages" / clip / f"{place:05d}.jpg"
            assert written.read_bytes() == source.read_bytes()
    records = json.loads((out / "Annotations/one_00000/00001.json").read_text())
    for record in records:
        mask = decode(record["segmentation"], "")
        assert mask.shape == SIZE
        assert record["area"] == mask.sum()
        assert 0 < record["iou"] <= 1
        assert len(record["point_coords"]) == 5
    first = json.loads((out / "Annotations/one_00000/00000.json").read_text())
    assert [record["id"] for record in first] == list(range(len(first)))
    assert {(record["iou"], record["point_coords"]) for record in first} == {(1.0, None)}


def test_tracks_of_the_oracle_follow_the_truth(tmp_path: Path) -> None:
    """Masks are taken from the frames that the pictures are of, in their order."""
    root, out = save_davis_scenes(tmp_path / "davis", (8,)), tmp_path / "out"
    assert collect_davis(root, out) == 0
    video = scene(0)
    (clip,) = MUGVOSTrain(out, sequences=["one_00004"])
    for place in range(4):
        note, found = video.annotation(4 + place), clip.annotation(place)
        assert note is not None
        assert found is not None
        overlaps = [
            max((mask & true).sum() / (mask | true).sum() for true in note.masks)
            for mask in found.masks
        ]
        assert np.median(overlaps) > 0.75


def test_frames_are_shrunk_with_their_truth(tmp_path: Path) -> None:
    root, out = save_davis_scenes(tmp_path / "davis", (4,)), tmp_path / "out"
    assert collect_davis(root, out, "--short-edge", "32") == 0
    (clip,) = MUGVOSTrain(out)
    assert clip.size == (32, 48)
    assert read_image(out / "JPEGImages/one_00000/00000.jpg").shape == (32, 48, 3)
    assert manifest(out)["clips"]["one_00000"]["size"] == [32, 48]


def test_the_seed_decides(tmp_path: Path) -> None:
    root = save_davis_scenes(tmp_path / "davis", (4,))
    found = []
    for name, seed in (("one", "0"), ("same", "0"), ("other", "1")):
        assert collect_davis(root, tmp_path / name, "--seed", seed) == 0
        found.append(contents(tmp_path / name / "Annotations"))
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    root = save_davis_scenes(tmp_path / "davis")
    assert collect_davis(root, tmp_path / "one") == 0
    assert collect_davis(root, tmp_path / "two", "--workers", "2") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_there_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = save_davis_scenes(tmp_path / "davis"), tmp_path / "out"
    assert collect_davis(root, out) == 0
    before = contents(out)
    shutil.rmtree(out / "Annotations/two_00000")
    (out / "JPEGImages/.two_00004.1.partial").mkdir()
    (out / ".manifest.json.1.partial").write_text("{")
    done: list[str] = []
    collect_one = jobs._collect
    monkeypatch.setattr(jobs, "cut", None)
    monkeypatch.setattr(
        jobs,
        "_collect",
        lambda recipe, tools, job, folders: (
            done.append(job.clip) or collect_one(recipe, tools, job, folders)
        ),
    )
    assert collect_davis(root, out) == 0
    assert done == ["two_00000"]
    assert contents(out) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seed", "3"), "begun with another seed"),
        (("--length", "5"), "begun with another cutting: length"),
        (("--preset", "official"), "begun with another settings: acceptance, cycle_error, draws"),
        (("--points", "3"), "begun with another settings: points;"),
    ],
)
def test_another_collection_does_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    root, out = save_davis_scenes(tmp_path / "davis", (4,)), tmp_path / "out"
    assert collect_davis(root, out) == 0
    before = contents(out)
    assert collect_davis(root, out, *options) == 2
    assert words in error(capsys)
    assert contents(out) == before


def test_two_runs_do_not_write_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = save_davis_scenes(tmp_path / "davis", (4,)), tmp_path / "out"
    assert collect_davis(root, out) == 0
    with (out / "collection.json").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert collect_davis(root, out) == 2
    assert "another run writes into it" in error(capsys)
    assert collect_davis(root, out) == 0


def test_other_folders_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = save_davis_scenes(tmp_path / "davis", (4,)), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("all of it")
    assert collect_davis(root, out) == 2
    assert "holds what no collection wrote" in error(capsys)
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("halves")
def test_failures_are_told_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken file, one too short, one that the network dies of; the fourth is collected."""
    videos, out = tmp_path / "videos", tmp_path / "out"
    whole = save_video(videos / "d good.mp4", scene(0).frames())
    data = whole.read_bytes()
    (videos / "a_broken.mp4").write_bytes(data[: len(data) // 2])
    save_video(videos / "b_short.mp4", list(scene(0).frames())[:2])
    save_video(videos / "c_bright.mp4", [np.full((*SIZE, 3), 255, np.uint8)] * 4)
    (videos / "notes.txt").write_text("no video")
    assert collect_halves(out, videos) == 0
    told = manifest(out)
    reasons = {failure["name"]: failure["reason"] for failure in told["failures"]}
    assert list(reasons) == ["a_broken", "b_short", "c_bright_00000"]
    assert "broken" in reasons["a_broken"]
    assert "no scene of 3 frames" in reasons["b_short"]
    assert reasons["c_bright_00000"] == "RuntimeError: too bright for this network"
    assert list(told["clips"]) == ["d_good_00000", "d_good_00004"]
    assert told["clips"]["d_good_00000"]["tracks"] == 2
    assert told["summary"]["density"] == 1.0
    warnings = error(capsys)
    assert "b_short: b_short: no scene" in warnings
    assert "3 failures, see" in warnings
    assert not (out / "JPEGImages/c_bright_00000").exists()
    before = contents(out / "Annotations")
    save_video(videos / "a_broken.mp4", scene(1).frames())
    assert collect_halves(out, videos) == 0
    told = manifest(out)
    assert [failure["name"] for failure in told["failures"]] == ["b_short", "c_bright_00000"]
    assert list(told["clips"])[:2] == ["a_broken_00000", "a_broken_00004"]
    assert contents(out / "Annotations").items() >= before.items()


@pytest.mark.usefixtures("halves")
def test_frames_at_a_rate_and_lost_tracks(tmp_path: Path) -> None:
    """Of 18 frames at 25 a second every third is taken; their brightness tells which they are.

    Two clips of three; the last frame of the second is dark, so that its two tracks are lost.
    """
    levels = [60 + 10 * index for index in range(15)] + [0, 0, 0]
    frames = [np.full((*SIZE, 3), level, np.uint8) for level in levels]
    video, out = save_video(tmp_path / "a.mp4", frames), tmp_path / "out"
    assert main(["collect", str(video), "--out", str(out), *NETWORK, "--fps", str(25 / 3),
                 "--length", "3", "--scene-threshold", "none"]) == 0  # fmt: skip
    told = manifest(out)["clips"]
    assert [clip["frames"] for clip in told.values()] == [[0, 3, 6], [9, 12, 15]]
    assert [(c["tracks"], c["lost"], c["masks"]) for c in told.values()] == [(2, 0, 6), (2, 2, 4)]
    for clip, written in zip(MUGVOSTrain(out), told.values(), strict=True):
        brightness = [frame.mean() for frame in clip.frames()]
        expected = [levels[number] for number in written["frames"]]
        assert np.allclose(brightness, expected, atol=4)
    assert json.loads((out / "Annotations/a_00009/00002.json").read_text()) == []


def test_a_decoder_that_dies_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_or_die(video: Video, *given: Any) -> Iterator[tuple[int, ...]]:
        if video.name == "one":
            raise MemoryError("of the decoder")
        return cut(video, *given)

    monkeypatch.setattr(jobs, "cut", cut_or_die)
    root, out = save_davis_scenes(tmp_path / "davis"), tmp_path / "out"
    assert collect_davis(root, out) == 0
    told = manifest(out)
    assert told["failures"] == [{"name": "one", "reason": "MemoryError: of the decoder"}]
    assert list(told["clips"]) == ["two_00000", "two_00004"]


def test_a_full_disk_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    root, out = save_davis_scenes(tmp_path / "davis"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_record", full)
        assert collect_davis(root, out) == 2
    assert "out: cannot be written (No space left on device)" in error(capsys)
    assert not (out / "manifest.json").exists()
    assert not any((out / "Annotations").iterdir())
    assert collect_davis(root, out) == 0


@pytest.mark.usefixtures("halves")
def test_nothing_at_all_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_pictures(tmp_path / "frames", list(scene(0).frames())[:2])
    assert collect_halves(tmp_path / "out", folder) == 2
    assert "no clip could be collected; frames: frames: no scene" in error(capsys)
    assert manifest(tmp_path / "out")["summary"]["clips"] == 0


def test_an_oracle_fails_where_there_is_no_truth(tmp_path: Path) -> None:
    """A dataset whose video two has a mask of its first frame alone."""
    root, out = save_davis_scenes(tmp_path / "davis"), tmp_path / "out"
    for file in (root / "Annotations/480p/two").iterdir():
        if file.stem != "00000":
            file.unlink()
    assert collect_davis(root, out) == 0
    (failure,) = manifest(out)["failures"]
    assert failure["name"] == "two"
    assert "no scene of 3 frames" in failure["reason"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--segmenter", "sam_vit_b"), "--oracle answers in place of --segmenter"),
        (("--checkpoint", "sam.pth"), "--checkpoint: of what?"),
        (("--flow", "raft"), "flow raft needs weights"),
        (("--flow-weights", "raft.pth"), "flow dis takes no weights"),
        (("--workers", "0"), "workers is 0"),
        (("--draws", "0"), "draws is 0"),
        (("--short-edge", "8"), "short-edge is 8"),
        (("--seed", "-1"), "seed is -1"),
        (("--ray-address", "auto"), "--ray-address is of --engine ray"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    root = save_davis_scenes(tmp_path / "davis", (4,))
    assert collect_davis(root, tmp_path / "out", *options) == 2
    assert words in error(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "the grid has no segmenter to ask"),
        (("--oracle",), "an oracle needs the true masks of a dataset"),
        (("--segmenter", "samm"), "no prompter and no model 'samm'"),
        (("--segmenter", "sam_vit_b", "--checkpoint", "none.pth"), "none.pth: no such file of we"),
    ],
)
def test_somebody_must_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    folder = save_pictures(tmp_path / "frames", scene(0).frames())
    assert main(["collect", str(folder), "--out", str(tmp_path / "out"), *options]) == 2
    assert words in error(capsys)


def test_every_setting_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "vosfm.collect.command.collect",
        lambda sources, recipe, out, engine: (
            seen.append(recipe.settings) or collecting.Collection({"a": CLIP}, ())
        ),
    )
    root = save_davis_scenes(tmp_path / "davis", (4,))
    changes = ("--acceptance", "0.8", "0.4", "--nms-iou", "none", "--sampling", "kmeans")
    options = ("--preset", "official", *changes, "--max-tracks", "7", "--large", "0.5")
    assert collect_davis(root, tmp_path / "out", *options) == 0
    (settings,) = seen
    assert settings.acceptance == (0.8, 0.4)
    assert settings.nms_iou is None
    assert (settings.sampling, settings.max_tracks, settings.large) == ("kmeans", 7, 0.5)
    assert (settings.sample_from, settings.cycle_error, settings.draws) == ("warped", 3.0, 5)


CLIP = {"frames": [0], "masks": 1, "tracks": 1, "density": 0.5}


def test_clips_have_seeds_of_their_own() -> None:
    one = Recipe(Settings(), proposer="oracle")
    assert one.seed_of("one_00000") == one.seed_of("one_00000") >= 0
    assert one.seed_of("one_00000") != one.seed_of("one_00004")


def test_networks_are_built_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(recipe, "prompted", lambda name, *_: built.append(name) or Halves())
    one, same = (Recipe(Settings(), segmenter="a network") for _ in range(2))
    assert tools_of(one) is tools_of(same)
    assert built == ["a network"]


def test_sources(tmp_path: Path) -> None:
    save_video(tmp_path / "videos/b.v2.mp4", scene(0, 2).frames())
    save_pictures(tmp_path / "videos/a.1", scene(0, 2).frames())
    (tmp_path / "videos/empty").mkdir()
    named = save_pictures(tmp_path / "frames", scene(0, 2).frames())
    found = list_sources([tmp_path / "videos", named])
    assert [source.name for source in found] == ["a_1", "b_v2", "frames"]
    assert [len(source.open()) for source in found] == [2, 2, 2]
    save_pictures(tmp_path / "others/a_1", scene(0, 2).frames())
    with pytest.raises(InputError, match=r"a_1: clips of it would be called a_1.*a.1; rename one"):
        list_sources([tmp_path / "videos", tmp_path / "others"])
    with pytest.raises(InputError, match="neither frames such as"):
        list_sources([tmp_path / "videos/empty"])
    with pytest.raises(InputError, match="no such video or folder"):
        list_sources([tmp_path / "none"])
    with pytest.raises(InputError, match="of which dataset"):
        list_sources([named], split="train")
