"""Tracking from the first prompt of each object in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from models import square, tiny
from numpy.typing import NDArray
from scenes import contents, save_scene, save_tiny, scene

from vosfm.both_ways import STREAM, STREAM_BACKWARD, MasksBefore, first_frames, first_masks
from vosfm.cli import main
from vosfm.data import ArrayVideo, Image, Video, read_labels, write_labels
from vosfm.data.results import ResultFolder
from vosfm.fusion import fuse
from vosfm.provenance import RECORD
from vosfm.segmenter import Segmenter
from vosfm.track import track
from vosfm.tracker import Prompts, Result, Tracker

LENGTH, SIZE = 8, (64, 64)


def given(frames: dict[int, int]) -> Prompts:
    """Squares of objects, by the frame in which they are given, as {object: frame}."""
    prompts: dict[int, dict[int, NDArray[np.bool_]]] = {}
    for object_id, frame in frames.items():
        place = 18 * (object_id - 1)
        prompts.setdefault(frame, {})[object_id] = square(place, place, 16, SIZE)
    return prompts


def alone(
    segmenter: Segmenter, video: Video, prompts: Prompts, last: int, exclusive: bool = True
) -> list[Result]:
    """What a tracker makes of frames `last`, last-1, ..., 0."""
    frames = list(video.frames())[last::-1]
    turned = {last - frame: one for frame, one in prompts.items()}
    return list(Tracker(fuse(segmenter), exclusive=exclusive).track(frames, turned))


def of(result: Result, object_id: int) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = result.masks[result.object_ids.index(object_id)]
    return mask


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


class TestMasks:
    def test_frames_before_the_first_prompt(self, segmenter: Segmenter, tmp_path: Path) -> None:
        video, prompts = scene(LENGTH), given({1: 5})
        assert track(segmenter, video, tmp_path / "plain", prompts=prompts, rate=None) == 8
        both = tmp_path / "both"
        assert track(segmenter, video, both, prompts=prompts, rate=None, backward=True) == 8 + 6
        before = alone(segmenter, video, prompts, last=5)
        for t in range(LENGTH):
            name = f"{t:05d}.png"
            if t < 5:
                assert not read_labels(tmp_path / "plain" / name).any()
                mask = of(before[5 - t], 1)
                assert mask.any()
                assert np.array_equal(read_labels(both / name) == 1, mask)
            else:
                plain = (tmp_path / "plain" / name).read_bytes()
                assert (both / name).read_bytes() == plain

    def test_a_palindrome_gives_one(self, segmenter: Segmenter, tmp_path: Path) -> None:
        half = np.stack(list(scene(5).frames()))
        video = ArrayVideo(np.concatenate([half[:0:-1], half]))
        prompts = given({1: 4, 2: 4})
        track(segmenter, video, tmp_path / "out", prompts=prompts, rate=None, backward=True)
        files = sorted((tmp_path / "out").glob("*.png"))
        labels = np.stack([read_labels(file) for file in files])
        assert len(labels) == 9
        assert np.array_equal(labels, labels[::-1])
        assert not np.array_equal(labels[0], labels[1])
        assert set(np.unique(labels[0])) >= {1, 2}

    def test_every_object_from_its_own_frame(self, segmenter: Segmenter, tmp_path: Path) -> None:
        """Object 1 is tracked forward alone; 2 and 3 meet it, and each other, on the way back."""
        video, prompts = scene(LENGTH), given({1: 0, 2: 5, 3: 3})
        out = tmp_path / "out"
        track(segmenter, video, out, prompts=prompts, rate=None, backward=True)
        onward = list(Tracker(fuse(segmenter)).track(video.frames(), prompts))
        back = alone(segmenter, video, {5: prompts[5], 3: prompts[3]}, last=5)
        met = 0
        for t, result in enumerate(onward):
            labels = read_labels(out / f"{t:05d}.png")
            ahead = {i: of(result, i) for i in result.object_ids}
            taken = np.any(list(ahead.values()), axis=0)
            behind = {i: of(back[5 - t], i) for i, first in ((2, 5), (3, 3)) if first > t}
            assert ahead.keys() | behind.keys() == {1, 2, 3}
            for object_id, mask in ahead.items():
                assert np.array_equal(labels == object_id, mask)
            for object_id, mask in behind.items():
                assert np.array_equal(labels == object_id, mask & ~taken)
                met += int((mask & taken).sum())
        assert met > 0

    def test_masks_that_overlap_both_stay(self, segmenter: Segmenter, tmp_path: Path) -> None:
        video, prompts, out = scene(LENGTH), given({1: 0, 2: 5}), tmp_path / "out"
        track(segmenter, video, out, False, prompts=prompts, backward=True)
        back = alone(segmenter, video, {5: prompts[5]}, last=5, exclusive=False)
        results = ResultFolder(out, video.frame_names, overlap=True)
        shared = 0
        for t in range(LENGTH):
            annotation = results.read(t)
            assert annotation.object_ids == (1, 2)
            if t < 5:
                assert np.array_equal(annotation.masks[1], of(back[5 - t], 2))
                shared += int(annotation.masks.all(0).sum())
        assert shared > 0

    def test_corrections_are_left_to_the_pass_forward(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        video, prompts = scene(LENGTH), given({1: 3})
        corrected = {**prompts, 6: {1: square(40, 2, 20, SIZE)}}
        folders = []
        for name, one in (("plain", prompts), ("corrected", corrected)):
            folders.append(tmp_path / name)
            track(segmenter, video, folders[-1], prompts=one, rate=None, backward=True)
        plain, other = (contents(folder) for folder in folders)
        for t in range(LENGTH):
            assert (plain[f"{t:05d}.png"] == other[f"{t:05d}.png"]) == (t < 6)

    def test_nothing_to_do(self, segmenter: Segmenter, tmp_path: Path) -> None:
        video = scene(LENGTH)
        assert track(segmenter, video, tmp_path / "a", rate=None) == 8
        assert track(segmenter, video, tmp_path / "b", rate=None, backward=True) == 8
        one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
        assert one.pop(RECORD) != other.pop(RECORD)
        assert one == other


class TestMasksBefore:
    """Object 1 is given in frame 0, object 2 in frame 2, where the pass backward begins."""

    def write(
        self, masks: MasksBefore, frame: int, object_id: int, mask: NDArray[np.bool_]
    ) -> None:
        masks.write(Result(2 - frame, (object_id,), mask[None], np.ones(1, np.float32)))

    @pytest.mark.parametrize("overlap", [True, False])
    def test_the_first_prompt_belongs_to_the_pass_forward(
        self, tmp_path: Path, overlap: bool
    ) -> None:
        results = ResultFolder(tmp_path, ("a", "b", "c"), overlap)
        given = square(0, 0, 8, SIZE)
        results.write(Result(2, (2,), given[None], np.ones(1, np.float32)))
        before = contents(tmp_path)
        self.write(MasksBefore(results, {1: 0, 2: 2}, 2), 2, 2, ~given)
        assert contents(tmp_path) == before

    def test_a_frame_is_written_anew(self, tmp_path: Path) -> None:
        """Nothing is left of an earlier attempt."""
        results = ResultFolder(tmp_path, ("a", "b", "c"))
        ahead = square(0, 0, 8, SIZE)
        results.write(Result(1, (1,), ahead[None], np.ones(1, np.float32)))
        masks = MasksBefore(results, {1: 0, 2: 2}, 2)
        for behind in (square(30, 30, 9, SIZE), square(4, 4, 20, SIZE)):
            self.write(masks, 1, 2, behind)
            labels = read_labels(tmp_path / "b.png")
            assert np.array_equal(labels == 1, ahead)
            assert np.array_equal(labels == 2, behind & ~ahead)


class Stopping(ArrayVideo):
    """A video whose reading is interrupted after some frames."""

    def __init__(self, video: Video, after: int | None = None) -> None:
        super().__init__(np.stack(list(video.frames())))
        self._after = after
        self._read = count()

    def frames(self, start: int = 0) -> Iterator[Image]:
        for frame in super().frames(start):
            if next(self._read) == self._after:
                raise KeyboardInterrupt
            yield frame


def run(
    segmenter: Segmenter,
    out: Path,
    after: int | None = None,
    exclusive: bool = True,
    save_every: int = 50,
) -> int:
    """Track eight frames forward and six backward, or go on with it."""
    return track(
        segmenter,
        Stopping(scene(LENGTH), after),
        out,
        exclusive,
        resume=out.exists(),
        save_every=save_every,
        rate=None,
        prompts=given({1: 0, 2: 5, 3: 3}),
        backward=True,
    )


@pytest.fixture(scope="module")
def whole(
    segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory
) -> dict[bool, dict[str, bytes]]:
    """The results of unbroken runs, by whether objects exclude each other."""
    results = {}
    for exclusive in (True, False):
        out = tmp_path_factory.mktemp("whole") / "out"
        run(segmenter, out, exclusive=exclusive)
        results[exclusive] = contents(out)
    return results


class TestResume:
    @pytest.mark.parametrize(
        ("after", "exclusive"),
        [(0, True), (3, True), (8, True), (9, True), (11, True), (13, True), (11, False)],
    )
    def test_goes_on_bit_by_bit(
        self,
        segmenter: Segmenter,
        tmp_path: Path,
        whole: dict[bool, dict[str, bytes]],
        after: int,
        exclusive: bool,
    ) -> None:
        """No frame is tracked twice."""
        out = tmp_path / "out"
        with pytest.raises(KeyboardInterrupt):
            run(segmenter, out, after, exclusive)
        assert (out / STREAM).is_file() == (0 < after < 8)
        assert (out / STREAM_BACKWARD).is_file() == (after > 8)
        assert run(segmenter, out, exclusive=exclusive) == 14 - after
        assert contents(out) == whole[exclusive]

    @pytest.mark.parametrize(
        ("save_every", "left", "exclusive"), [(2, 4, True), (50, 6, True), (50, 6, False)]
    )
    def test_after_a_kill(
        self,
        segmenter: Segmenter,
        tmp_path: Path,
        whole: dict[bool, dict[str, bytes]],
        monkeypatch: pytest.MonkeyPatch,
        save_every: int,
        left: int,
        exclusive: bool,
    ) -> None:
        """Frames that are written already are written again, the same."""
        out = tmp_path / "out"
        save = Tracker.save
        monkeypatch.setattr(
            Tracker, "save", lambda self, path, beam=None: None if beam else save(self, path)
        )
        with pytest.raises(KeyboardInterrupt):
            run(segmenter, out, 11, exclusive, save_every)
        assert run(segmenter, out, exclusive=exclusive) == left
        assert contents(out) == whole[exclusive]

    def test_between_the_passes(
        self, segmenter: Segmenter, tmp_path: Path, whole: dict[bool, dict[str, bytes]]
    ) -> None:
        """The state of a finished pass may be left behind by a kill."""
        out = tmp_path / "out"
        with pytest.raises(KeyboardInterrupt):
            run(segmenter, out, 7)
        stale = (out / STREAM).read_bytes()
        with pytest.raises(KeyboardInterrupt):
            run(segmenter, out, 1)
        (out / STREAM).write_bytes(stale)
        assert run(segmenter, out) == 6
        assert contents(out) == whole[True]

    def test_only_with_the_same_choice(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        frames, first = save_scene(tmp_path, scene(LENGTH))
        weights, out = save_tiny(tmp_path / "tiny.pth"), tmp_path / "out"
        model = str(Path(__file__).parent / "configs" / "tiny.yaml")
        command = ["track", str(frames), f"--masks={first}", f"--model={model}"]
        command += [f"--checkpoint={weights}", f"--out={out}", "--device=cpu", "--no-overlay"]
        assert main([*command, "--backward"]) == 0
        assert main([*command, "--resume"]) == 2
        assert "begun with another choice of --backward" in capsys.readouterr().err


class TestFirst:
    def test_frames(self) -> None:
        prompts = {6: given({1: 6, 2: 6})[6], 2: given({1: 2})[2], 9: given({3: 9})[9]}
        assert first_frames(prompts) == {1: 2, 2: 6, 3: 9}

    def test_masks(self) -> None:
        """An object is given where it first has a pixel."""
        masks = np.zeros((4, 3, 8, 8), bool)
        masks[1:, 0, 0] = masks[3:, 1, 1] = True
        masks[2, 0, 5] = True
        video = ArrayVideo(np.zeros((4, 8, 8, 3), np.uint8), masks, object_ids=(7, 4, 2))
        found = first_masks(video)
        assert {frame: list(one) for frame, one in found.items()} == {1: [7], 3: [4]}
        assert np.array_equal(found[1][7], masks[1, 0])
        assert np.array_equal(found[3][4], masks[3, 1])

    def test_masks_of_a_folder_that_begins_later(self, tmp_path: Path) -> None:
        frames, _ = save_scene(tmp_path, scene(LENGTH))
        masks, out = tmp_path / "masks", tmp_path / "out"
        (masks / "00000.png").unlink()
        labels = np.zeros(SIZE, np.uint8)
        labels[2:12, 30:60] = 9
        write_labels(masks / "00002.png", labels)
        command = ["track", str(frames), f"--masks={masks}", f"--out={out}", "--device=cpu"]
        command += [f"--model={Path(__file__).parent / 'configs' / 'tiny.yaml'}"]
        command += [f"--checkpoint={save_tiny(tmp_path / 'tiny.pth')}"]
        assert main([*command, "--backward"]) == 0
        for t, object_id in ((2, 9), (4, 2)):
            expected = read_labels(masks / f"{t:05d}.png") == object_id
            assert np.array_equal(read_labels(out / f"{t:05d}.png") == object_id, expected)
        assert 9 in read_labels(out / "00001.png")
        assert 2 in read_labels(out / "00003.png")
