from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
import yaml
from models import CONFIG, layered, tiny
from numpy.typing import NDArray
from scenes import contents, save_scene, save_tiny, scene

from vosfm.both_ways import STREAM
from vosfm.cli import main
from vosfm.data import FrameFolder, Image, VideoWriter, open_video, read_labels, write_labels
from vosfm.fusion import fuse
from vosfm.prompters import Prompter
from vosfm.provenance import RECORD
from vosfm.track import OVERLAY, track
from vosfm.tracker import Prompts, Tracker
from vosfm.types import Box, Points
from vosfm.zoo import build_prompter


class Files:
    """A scene, a model, and the command that tracks one with the other."""

    def __init__(self, folder: Path, length: int = 8) -> None:
        self.folder = folder
        self.frames, self.first = save_scene(folder, scene(length), ids=(3, 7))
        self.masks = folder / "masks"
        self.weights = save_tiny(folder / "tiny.pth")
        self.out = folder / "out"

    def command(self, *options: object, **changes: object) -> list[str]:
        given = {
            "video": self.frames,
            "masks": self.first,
            "model": CONFIG,
            "checkpoint": self.weights,
            "out": self.out,
        } | changes
        video = given.pop("video")
        named = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return ["track", str(video), *named, "--device=cpu", *map(str, options)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def _pixels(path: Path) -> NDArray[np.int64]:
    return np.stack(list(open_video(path).frames())).astype(int)


def _frame_count(path: Path) -> int:
    return len(_pixels(path))


class TestResults:
    def test_a_png_for_every_frame_and_an_overlay(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(files.command()) == 0
        expected = {f"{frame.stem}.png" for frame in files.frames.iterdir()}
        assert set(contents(files.out)) == expected | {OVERLAY, RECORD}
        assert np.array_equal(read_labels(files.out / "00000.png"), read_labels(files.first))
        for name in expected:
            assert set(np.unique(read_labels(files.out / name))) <= {0, 3, 7}
        assert len(set(contents(files.out).values())) > 5
        assert _frame_count(files.out / OVERLAY) == 8
        assert "8 frames" in capsys.readouterr().out

    def test_a_video_file_gives_its_rate_to_the_overlay(self, files: Files) -> None:
        with VideoWriter(files.folder / "clip.mp4", rate=12) as writer:
            for frame in scene(8).frames():
                writer.write(frame)
        assert main(files.command(video=files.folder / "clip.mp4")) == 0
        assert len(list(files.out.glob("*.png"))) == 8
        assert open_video(files.out / OVERLAY).rate == 12  # type: ignore[attr-defined]

    def test_an_object_joins_with_a_later_mask(self, files: Files) -> None:
        assert main(files.command(masks=files.masks)) == 0
        seen = [np.unique(read_labels(files.out / f"0000{t}.png")).tolist() for t in range(8)]
        assert all(7 not in ids for ids in seen[:4])
        given = read_labels(files.masks / "00004.png") == 7
        assert np.array_equal(read_labels(files.out / "00004.png") == 7, given)

    def test_overlapping_objects_have_folders_of_their_own(self, files: Files) -> None:
        write_labels(files.masks / "00004.png", np.full((64, 64), 7, np.uint8))
        assert main(files.command("--overlap", masks=files.masks)) == 0
        assert len(list((files.out / "3").glob("*.png"))) == 8
        assert sorted(file.name for file in (files.out / "7").iterdir())[0] == "00004.png"
        assert set(np.unique(read_labels(files.out / "7" / "00004.png"))) == {7}
        assert set(np.unique(read_labels(files.out / "3" / "00004.png"))) == {0, 3}
        assert _frame_count(files.out / OVERLAY) == 8

    def test_no_overlay_if_not_wanted(self, files: Files) -> None:
        assert main(files.command("--no-overlay")) == 0
        assert not (files.out / OVERLAY).exists()


def _stop(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Let the reading of frames fail once it comes to a frame."""
    whole = FrameFolder.frames

    def frames(self: FrameFolder, start: int = 0) -> Iterator[Image]:
        for index, frame in enumerate(whole(self, start), start):
            if index == at:
                raise error
            yield frame

    monkeypatch.setattr(FrameFolder, "frames", frames)


class TestResume:
    @pytest.mark.parametrize("options", [[], ["--overlap"]], ids=["exclusive", "overlap"])
    @pytest.mark.parametrize("at", [1, 4, 7])
    def test_goes_on_bit_by_bit(
        self,
        files: Files,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        at: int,
        options: list[str],
    ) -> None:
        command = files.command(*options, masks=files.masks)
        assert main([*command, f"--out={files.folder / 'whole'}"]) == 0
        with monkeypatch.context() as patch:
            _stop(patch, at, KeyboardInterrupt())
            assert main(command) == 130
        assert (files.out / STREAM).is_file()
        assert not (files.out / OVERLAY).exists()
        capsys.readouterr()
        assert main([*command, "--resume"]) == 0
        assert f"{8 - at} frames" in capsys.readouterr().out
        assert contents(files.out) == contents(files.folder / "whole")
        drawn, expected = (_pixels(f / OVERLAY) for f in (files.out, files.folder / "whole"))
        assert np.array_equal(drawn, expected)

    def test_after_a_kill_it_goes_on_from_the_last_saved_state(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(files.command(out=files.folder / "whole")) == 0
        with monkeypatch.context() as patch:
            _stop(patch, 6, KeyboardInterrupt())
            assert main(files.command("--save-every=4")) == 130
        early = files.folder / "early"
        with monkeypatch.context() as patch:
            _stop(patch, 4, KeyboardInterrupt())
            assert main(files.command(out=early)) == 130
        shutil.copy(early / STREAM, files.out / STREAM)
        (files.out / "00005.png").write_bytes(b"")
        assert main(files.command("--resume")) == 0
        assert contents(files.out) == contents(files.folder / "whole")

    def test_states_are_saved_on_the_way(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        saved = []
        monkeypatch.setattr("vosfm.track.Tracker.save", lambda self, path: saved.append(self.time))
        assert main(files.command("--save-every=3")) == 0
        assert saved == [3, 6]

    def test_an_error_keeps_what_is_done(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(files.command(out=files.folder / "whole")) == 0
        kept = (files.frames / "00005.jpg").read_bytes()
        (files.frames / "00005.jpg").write_bytes(kept[: len(kept) // 2])
        assert main(files.command()) == 2
        (files.frames / "00005.jpg").write_bytes(kept)
        assert main(files.command("--resume")) == 0
        assert contents(files.out) == contents(files.folder / "whole")

    def test_a_finished_folder_is_left_as_it_is(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(files.command("--resume")) == 0
        before = contents(files.out)
        monkeypatch.setattr("vosfm.track.Tracker.step", None)
        assert main(files.command("--resume")) == 0
        assert contents(files.out) == before

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda f: {"checkpoint": save_tiny(f.folder / "other.pth", seed=1)}, "another model"),
            (lambda f: {"masks": f.masks}, "another mask"),
            (lambda f: {"video": shutil.copytree(f.frames, f.folder / "more")}, "another video"),
        ],
        ids=["model", "mask", "video"],
    )
    def test_only_with_the_same_input(
        self,
        files: Files,
        capsys: pytest.CaptureFixture[str],
        change: Callable[[Files], dict[str, object]],
        words: str,
    ) -> None:
        assert main(files.command("--no-overlay")) == 0
        before = contents(files.out)
        assert main(files.command("--resume", **change(files))) == 2
        assert words in capsys.readouterr().err
        assert contents(files.out) == before

    def test_only_in_the_same_precision(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(files.command("--no-overlay")) == 0
        assert main(files.command("--no-overlay", "--precision=bf16", out=files.folder / "b")) == 0
        assert contents(files.out) != contents(files.folder / "b")
        assert main(files.command("--resume", "--precision=bf16")) == 2
        assert "another choice of --precision" in capsys.readouterr().err

    def test_ctrl_c(self, tmp_path: Path) -> None:
        files = Files(tmp_path, length=60)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "vosfm", *files.command()]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as run:
            limit = time.monotonic() + 60
            while len(list(files.out.glob("0*.png"))) < 5 and time.monotonic() < limit:
                time.sleep(0.005)
            run.send_signal(signal.SIGINT)
            assert run.stderr is not None
            errors = run.stderr.read()
        assert run.returncode == 130
        assert "Traceback" not in errors
        written = sorted(files.out.glob("*.png"))
        assert 5 <= len(written) < 60
        for path in written:
            read_labels(path)
        assert not list(files.out.glob(".*"))
        segmenter = tiny()
        assert track(segmenter, open_video(files.frames, files.first), files.out, resume=True) < 56
        track(segmenter, open_video(files.frames, files.first), tmp_path / "whole")
        assert contents(files.out) == contents(tmp_path / "whole")


class Prompted:
    """Options that name a small SAM with random weights, which finds most of the frame."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        torch.manual_seed(seed)
        sizes = {"image_size": 64, "embed_dim": 16, "depth": 1, "num_heads": 2, "out_chans": 32}
        encoder = {**sizes, "global_attn_indexes": [0]}
        arguments = {
            "embed_dim": 32,
            "image_size": 64,
            "encoder": {"class_path": "vosfm.encoders.SamViT", "init_args": encoder},
        }
        self.config = folder / f"sam{seed}.yaml"
        config = {"class_path": "vosfm.prompters.SamPrompter", "init_args": arguments}
        self.config.write_text(yaml.safe_dump({"prompter": config}))
        prompter = build_prompter(str(self.config))
        for network in prompter.mask_decoder.output_hypernetworks_mlps:
            torch.nn.init.normal_(network.layers[-1].weight, std=3.0)
        weights = {
            key.replace("encoder.vit.", "image_encoder."): value
            for key, value in prompter.state_dict().items()
        }
        self.weights = folder / f"sam{seed}.pth"
        torch.save(weights, self.weights)

    @property
    def options(self) -> tuple[str, str]:
        return f"--prompter={self.config}", f"--prompter-checkpoint={self.weights}"

    def build(self) -> Prompter:
        return build_prompter(str(self.config), checkpoint=str(self.weights))


class TestPrompts:
    BOX: ClassVar = ("--box", 3, 5, 6, 40.5, 50)
    POINTS: ClassVar = ("--point", 7, 50, 10, 1, "--point", 7, 2, 2, 0)

    def test_boxes_and_points_in_place_of_masks(self, files: Files) -> None:
        sam = Prompted(files.folder)
        options = ("--overlap", "--no-overlay", *self.BOX, *self.POINTS, *sam.options)
        assert main(files.command(*options, masks=None)) == 0
        prompts: Prompts = {
            0: {3: Box(5, 6, 40.5, 50), 7: Points(((50, 10), (2, 2)), (1, 0))},
        }
        tracker = Tracker(fuse(tiny()), exclusive=False, prompter=sam.build())
        for result in tracker.track(open_video(files.frames).frames(), prompts):
            for object_id, mask in zip(result.object_ids, result.masks, strict=True):
                written = read_labels(files.out / str(object_id) / f"0000{result.frame}.png")
                assert np.array_equal(written == object_id, mask)
        assert (read_labels(files.out / "3" / "00000.png") == 3).any()
        assert (read_labels(files.out / "7" / "00000.png") == 7).any()

    def test_beside_masks_and_from_a_file(self, files: Files) -> None:
        sam, path = Prompted(files.folder), files.folder / "prompts.json"
        path.write_text(
            '{"0": {"5": {"box": [5, 6, 40, 50]}}, "2": {"9": {"points": [[9, 9, 1]]}}}'
        )
        command = files.command("--overlap", "--no-overlay", f"--prompts={path}", *sam.options)
        assert main(command) == 0
        first = {int(folder.name) for folder in files.out.iterdir() if folder.is_dir()}
        assert first == {3, 5, 7, 9}
        assert not (files.out / "9" / "00001.png").exists()
        assert (files.out / "9" / "00002.png").exists()
        given = read_labels(files.first)
        assert np.array_equal(
            read_labels(files.out / "3" / "00000.png"), np.where(given == 3, 3, 0)
        )

    def test_a_box_with_points_and_corrections(self, files: Files) -> None:
        """Two objects, three prompted frames, and every form in which they are given."""
        sam, path = Prompted(files.folder), files.folder / "prompts.json"
        path.write_text(
            '{"3": {"7": {"points": [[20, 30, 1], [2, 2, 0]]}}, '
            '"5": {"3": {"box": [1, 2, 40, 40], "points": [[9, 9, 1]]}, '
            '"7": {"box": [30, 30, 60, 60]}}}'
        )
        command = files.command(
            "--no-overlay", *self.BOX, "--point", 3, 20, 30, 0, f"--prompts={path}", *sam.options,
            masks=None,
        )  # fmt: skip
        assert main(command) == 0
        prompts: Prompts = {
            0: {3: Points(((20, 30),), (0,), Box(5, 6, 40.5, 50))},
            3: {7: Points(((20, 30), (2, 2)), (1, 0))},
            5: {3: Points(((9, 9),), (1,), Box(1, 2, 40, 40)), 7: Box(30, 30, 60, 60)},
        }
        tracker = Tracker(fuse(tiny()), prompter=sam.build())
        seen = []
        for result in tracker.track(open_video(files.frames).frames(), prompts):
            labels = read_labels(files.out / f"0000{result.frame}.png")
            seen.append(result.object_ids)
            for object_id, mask in zip(result.object_ids, result.masks, strict=True):
                assert np.array_equal(labels == object_id, mask)
        assert seen == [(3,)] * 3 + [(3, 7)] * 5
        path.write_text('{"3": {"7": {"points": [[20, 30, 1], [2, 2, 0]]}}}')
        assert main([*command, f"--out={files.folder / 'plain'}"]) == 0
        plain, now = contents(files.folder / "plain"), contents(files.out)
        for t in range(8):
            assert (plain[f"0000{t}.png"] == now[f"0000{t}.png"]) == (t < 5)

    def test_the_first_one_may_come_late(self, files: Files) -> None:
        """Later than a state would be saved, and without a mask to draw until then."""
        sam, path = Prompted(files.folder), files.folder / "prompts.json"
        path.write_text('{"4": {"9": {"points": [[9, 9, 1]]}}}')
        given = ("--overlap", f"--prompts={path}", *sam.options, "--save-every=2")
        assert main(files.command(*given, masks=None)) == 0
        assert sorted(f.name for f in (files.out / "9").iterdir())[0] == "00004.png"
        assert _frame_count(files.out / OVERLAY) == 8

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ('{"8": {"3": {"box": [1, 2, 9, 9]}}}', "frame 8, object 3: no such frame, the video"),
            ('{"5": {"3": {"points": [[64, 2, 1]]}}}', "frame 5, object 3: point (64, 2) lies out"),
            ('{"5": {"3": {"box": [1, 2, 9, 65]}}}', "frame 5, object 3: box (1, 2, 9, 65) leaves"),
            ('{"5": {"4": {"points": [[6, 2, 0]]}}}', "frame 5, object 4: no point lies inside"),
        ],
    )
    def test_what_does_not_fit_the_video(
        self, files: Files, capsys: pytest.CaptureFixture[str], content: str, words: str
    ) -> None:
        """It is said before the first frame is tracked, in one line."""
        sam, path = Prompted(files.folder), files.folder / "prompts.json"
        path.write_text(content)
        given = (*self.BOX, f"--prompts={path}", *sam.options)
        assert main(files.command(*given, masks=None)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"vosfm: error: {words}")
        assert not files.out.exists()

    def test_goes_on_only_with_the_same(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sam, other = Prompted(files.folder), Prompted(files.folder, seed=1)
        common = ("--resume", "--no-overlay")
        assert main(files.command(*common, *self.BOX, *sam.options, masks=None)) == 0
        assert main(files.command(*common, *self.BOX, *sam.options, masks=None)) == 0
        capsys.readouterr()
        assert main(files.command(*common, *self.BOX, *other.options, masks=None)) == 2
        assert "begun with another prompter" in capsys.readouterr().err
        moved = ("--box", 3, 5, 6, 40, 50)
        assert main(files.command(*common, *moved, *sam.options, masks=None)) == 2
        assert "begun with another mask" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "nothing to track: give --masks, --box, --point or --prompts"),
            (BOX, "frame 0, object 3: this model takes masks, not box: name a prompter"),
            ((*BOX, "--prompter=sam_vit_b"), "--prompter and --prompter-checkpoint go together"),
            ((*BOX, *BOX), "--box: object 3 is given twice"),
            (("--prompts=none.json",), "none.json: no readable file of prompts"),
        ],
        ids=["nothing", "no prompter", "no weights", "twice", "no file"],
    )
    def test_what_it_refuses(
        self,
        files: Files,
        capsys: pytest.CaptureFixture[str],
        options: tuple[object, ...],
        words: str,
    ) -> None:
        assert main(files.command(*options, masks=None)) == 2
        assert words in capsys.readouterr().err
        assert not files.out.exists()


def _no_first_mask(files: Files) -> dict[str, object]:
    (files.masks / "00000.png").unlink()
    return {"masks": files.masks}


def _mask(labels: NDArray[np.uint8]) -> Callable[[Files], dict[str, object]]:
    def spoil(files: Files) -> dict[str, object]:
        write_labels(files.first, labels)
        return {}

    return spoil


def _changing_size(files: Files) -> dict[str, object]:
    cv2.imwrite(str(files.frames / "00002.jpg"), np.zeros((32, 64, 3), np.uint8))
    return {}


def _truncated_jpeg(files: Files) -> dict[str, object]:
    content = (files.frames / "00002.jpg").read_bytes()
    (files.frames / "00002.jpg").write_bytes(content[: len(content) // 2])
    return {}


def _truncated_video(files: Files) -> dict[str, object]:
    path = files.folder / "clip.mp4"
    with VideoWriter(path) as writer:
        for frame in scene(60).frames():
            writer.write(frame)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    return {"video": path}


def _no_frames(files: Files) -> dict[str, object]:
    (files.folder / "empty").mkdir()
    return {"video": files.folder / "empty"}


def _not_empty(files: Files) -> dict[str, object]:
    files.out.mkdir()
    (files.out / "notes.txt").write_text("mine")
    return {}


EMPTY, VOID = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
SPOILED: dict[str, tuple[Callable[[Files], dict[str, object]], str]] = {
    "no masks": (lambda f: {"masks": f.folder / "none.png"}, "none.png: no such mask"),
    "no first mask": (_no_first_mask, "no mask for the first frame"),
    "mask of another size": (_mask(np.ones((32, 64), np.uint8)), "first.png: the mask measures"),
    "only void": (_mask(VOID), "255"),
    "empty mask": (_mask(EMPTY), "holds no object"),
    "frames of changing size": (_changing_size, "00002.jpg: the frame measures 32 x 64"),
    "truncated JPEG": (_truncated_jpeg, "00002.jpg: the picture is truncated"),
    "truncated video": (_truncated_video, "clip.mp4"),
    "no frames": (_no_frames, "empty: no frames"),
    "no video": (lambda f: {"video": f.folder / "none.mp4"}, "none.mp4: no such video"),
    "another model": (lambda f: {"model": "aot_t"}, "tiny.pth: a checkpoint of another model"),
    "no model": (lambda f: {"model": "aot_z"}, "no model 'aot_z'"),
    "no checkpoint": (lambda f: {"checkpoint": "none.pth"}, "none.pth: no such checkpoint"),
    "out not empty": (_not_empty, "out: not empty"),
    "out a file": (lambda f: {"out": f.first}, "first.png: is a file"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_bad_input_is_one_line(files: Files, capsys: pytest.CaptureFixture[str], case: str) -> None:
    spoil, words = SPOILED[case]
    changes = spoil(files)
    before = set(contents(files.out)) if files.out.is_dir() else set()
    assert main(files.command(**changes)) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("vosfm: error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert error.endswith(f"{lines[0]}\n")
    assert "Traceback" not in error
    # Frames before a broken one stay, and can be gone on from; nothing else does.
    left = set(contents(files.out)) - before if files.out.is_dir() else set()
    if left:
        assert left >= {RECORD, STREAM}
        for name in left - {RECORD, STREAM}:
            read_labels(files.out / name)
    else:
        assert files.out.is_dir() == bool(before)
    assert bool(left) == (case in ("frames of changing size", "truncated JPEG", "truncated video"))


class TestDepth:
    @pytest.fixture
    def deep(self, tmp_path: Path) -> Files:
        """With a model of three depths."""
        files = Files(tmp_path)
        torch.save(layered().state_dict(), files.weights)
        return files

    def command(self, files: Files, *options: str, **changes: object) -> list[str]:
        return files.command("--no-overlay", *options, **{"model": "aost_nano", **changes})

    def test_frames_are_tracked_at_the_depth_that_is_asked_for(
        self, deep: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for depth in (1, 2, 3):
            out = deep.folder / str(depth)
            assert main(self.command(deep, f"--depth={depth}", out=out)) == 0
            told = capsys.readouterr().out
            assert "8 frames in" in told
            assert told.endswith(
                f"frames/s of tracking alone; frames tracked: 7 at depth {depth}\n"
            )
        assert main(self.command(deep)) == 0
        assert "tracking alone" not in capsys.readouterr().out
        masks = [_masks(deep.folder / name) for name in ("1", "2", "3", "out")]
        assert masks[0] != masks[1] != masks[2] != masks[0]
        assert masks[3] == masks[2]

    def test_as_deep_as_a_rate_allows(
        self, deep: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(self.command(deep, "--target-fps=0.001", out=deep.folder / "slow")) == 0
        told = capsys.readouterr().out
        assert told.endswith("frames tracked: 7 at depth 3; the target of 0.001 was held\n")
        assert main(self.command(deep, "--target-fps=1e6", out=deep.folder / "fast")) == 0
        told = capsys.readouterr().out
        assert "5 at depth 1, 1 at depth 2, 1 at depth 3" in told
        assert "the target of 1e+06 was missed: even depth 1 came to" in told

    def test_both_directions_follow_one_pace(
        self, deep: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = self.command(deep, "--target-fps=1e6", "--backward", masks=deep.masks)
        assert main(command) == 0
        # Frames 0 and 4 are given forward, frame 4 begins the way back to frame 0.
        assert "8 at depth 1, 1 at depth 2, 1 at depth 3" in capsys.readouterr().out

    def test_a_stopped_run_goes_on_at_its_depth_alone(
        self, deep: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(self.command(deep, "--depth=1", out=deep.folder / "whole")) == 0
        with monkeypatch.context() as patch:
            _stop(patch, 5, KeyboardInterrupt())
            assert main(self.command(deep, "--depth=1")) == 130
        for other in ([], ["--depth=2"], ["--target-fps=9"]):
            assert main(self.command(deep, "--resume", *other)) == 2
            assert "another choice of --depth or --target-fps" in capsys.readouterr().err
        assert main(self.command(deep, "--resume", "--depth=1")) == 0
        assert contents(deep.out) == contents(deep.folder / "whole")

    def test_a_stopped_run_goes_on_at_another_rate(
        self, deep: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with monkeypatch.context() as patch:
            _stop(patch, 5, KeyboardInterrupt())
            assert main(self.command(deep, "--target-fps=1e6")) == 130
        capsys.readouterr()
        assert main(self.command(deep, "--resume", "--target-fps=0.001")) == 0
        assert "frames tracked: 3 at depth 3" in capsys.readouterr().out
        assert len(_masks(deep.out)) == 8

    def test_what_cannot_be(self, deep: Files, capsys: pytest.CaptureFixture[str]) -> None:
        for options, words in (
            (["--depth=4"], "depth 4: this model runs at depth 1 or 2 or 3"),
            (["--target-fps=0"], "target_fps is 0.0: give a number above 0"),
        ):
            assert main(self.command(deep, *options)) == 2
            assert words in capsys.readouterr().err
            assert not deep.out.exists()
        with pytest.raises(SystemExit):
            main(self.command(deep, "--depth=1", "--target-fps=5"))
        assert "not allowed with" in capsys.readouterr().err

    def test_a_model_of_one_depth_has_no_choice(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(files.command("--target-fps=5")) == 2
        told = capsys.readouterr().err
        assert (
            "a target of 5 frames/s needs a model of several depths, this one has depth 1" in told
        )
        assert main(files.command("--depth=2")) == 2
        assert "depth 2: this model runs at depth 1: leave the depth out" in capsys.readouterr().err
        assert not files.out.exists()


def _masks(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name.endswith(".png")}
