"""The layout of YouTube-VOS, in miniature: who is given when, and which frames are asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import CONFIG
from numpy.typing import NDArray
from youtube import NAMES, SIZE, STEP, labels, save_split

from vosfm.cli import main
from vosfm.data import VideoClips, YouTubeVOS, write_labels
from vosfm.data.formats.meta import SEEN
from vosfm.errors import InputError
from vosfm.metrics import VideoSegmentation
from vosfm.task import score

STARTS = {"0a": {0: [1], 2: [3]}, "1b": {1: [2, 5]}}
"""Video -> number of the frame among those at 6 frames per second -> objects that start there."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A training split and a validation split, both also with all frames."""
    for split in ("train", "valid"):
        save_split(tmp_path, split, all_frames=True)
    return tmp_path


def edit(root: Path, change: Callable[[dict[str, Any]], object], split: str = "valid") -> None:
    path = root / split / "meta.json"
    meta = json.loads(path.read_text())
    change(meta["videos"])
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("all_frames", [False, True])
@pytest.mark.parametrize("with_meta", [False, True])
def test_an_object_is_given_in_its_first_frame_only(
    root: Path, split: str, all_frames: bool, with_meta: bool
) -> None:
    if not with_meta:
        (root / split / "meta.json").unlink()
    videos = YouTubeVOS(root, split, all_frames=all_frames)
    assert videos.sequences == videos.names == ("0a", "1b")
    step = STEP if all_frames else 1
    for video in videos:
        prompts = video.prompts()
        found = {index: list(given) for index, given in prompts.items()}
        assert found == {step * place: ids for place, ids in STARTS[video.name].items()}
        for index, given in prompts.items():
            for object_id, mask in given.items():
                assert np.array_equal(mask, labels(video.name, index // step) == object_id)


def test_meta_json_says_when_an_object_starts(root: Path) -> None:
    """A mask may show an object before it counts, or one that does not count at all."""
    early = labels("0a", 0)
    early[50:60, 70:80], early[50:60, 84:90] = 3, 7
    write_labels(root / "valid/Annotations/0a/00000.png", early)
    prompts = YouTubeVOS(root)[0].prompts()
    assert {index: list(given) for index, given in prompts.items()} == STARTS["0a"]


def test_all_frames_are_seen_and_a_fifth_of_them_reported(root: Path) -> None:
    sparse, dense = YouTubeVOS(root, "train")[0], YouTubeVOS(root, "train", all_frames=True)[0]
    assert (sparse.frame_names, len(dense)) == (NAMES, 25)
    assert sparse.reported() == sparse.annotated() == (0, 1, 2, 3, 4)
    assert dense.reported() == dense.annotated() == (0, 5, 10, 15, 20)
    assert [dense.frame_names[index] for index in dense.reported()] == list(NAMES)
    assert [shown(frame) for frame in dense.frames()] == list(range(25))
    note = dense.annotation(10)
    assert note is not None
    assert np.array_equal((note.masks * np.array([1, 3])[:, None, None]).sum(0), labels("0a", 2))
    assert dense.annotation(11) is None
    assert YouTubeVOS(root, all_frames=True)[0].reported() == (0, 5, 10, 15, 20)
    assert YouTubeVOS(root, all_frames=True)[0].annotated() == (0, 10)


def test_unseen_are_the_categories_that_training_lacks(root: Path) -> None:
    assert len(SEEN) == 65
    assert [video.unseen for video in YouTubeVOS(root)] == [{3}, {5}]
    assert [v.unseen for v in YouTubeVOS(root, unseen=["cat", "dog"])] == [{1}, {2}]
    assert [v.unseen for v in YouTubeVOS(root, unseen=[])] == [frozenset(), frozenset()]
    edit(root, lambda videos: videos["0a"]["objects"]["3"].pop("category"))
    assert [v.unseen for v in YouTubeVOS(root)] == [None, {5}]
    (root / "valid/meta.json").unlink()
    assert [v.unseen for v in YouTubeVOS(root)] == [None, None]


def shown(frame: NDArray[np.generic]) -> int:
    """The index of a frame by its brightness, of 0 to 255."""
    return round((float(frame.mean()) - 19.5) / 8)


@pytest.mark.parametrize("all_frames", [False, True])
def test_training_clips(root: Path, all_frames: bool) -> None:
    videos = YouTubeVOS(root, "train", all_frames=all_frames)
    clips = VideoClips(videos, length=3, size=SIZE, max_gap=1, reverse=0.0, clips=20)
    seen = set()
    for clip in clips:
        (name,) = clip.names
        places = [shown(frame.numpy()) / STEP for frame in clip.frames[0]]
        truth = [labels(name, int(place)) for place in places]
        assert places == list(range(int(places[0]), int(places[0]) + 3))
        ids = np.setdiff1d(truth[0], 0)
        assert np.array_equal(clip.masks[0].numpy(), np.stack(truth)[:, None] == ids[:, None, None])
        seen |= {(name, int(places[0]))}
    # The first frame of the second video shows no object: clips that start in it are redrawn.
    assert seen == {("0a", 0), ("0a", 1), ("0a", 2), ("1b", 1), ("1b", 2)}


def test_only_some_videos(root: Path) -> None:
    shutil.rmtree(root / "valid/JPEGImages/0a")
    assert YouTubeVOS(root, sequences=["1b"])[0].name == "1b"


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    YouTubeVOS(tmp_path / "nowhere", all_frames=True, unseen=["cat"])


def write(path: Path, text: str) -> None:
    path.write_text(text)


BAD: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "no root": (lambda root: shutil.rmtree(root), {}, "no such folder; check the root"),
    "no split": (
        lambda root: None,
        {"split": "test"},
        "not laid out as YouTube-VOS, it has no folder test; expected <split>/JPEGImages/",
    ),
    "a split as root": (
        lambda root: (
            [(root / "train" / f.name).rename(root / f.name) for f in (root / "train").iterdir()]
            and shutil.rmtree(root / "valid")
        ),
        {},
        "is a split itself; give the folder that it lies in",
    ),
    "DAVIS": (
        lambda root: [
            shutil.rmtree(root / "valid"),
            (root / "JPEGImages/480p/dog").mkdir(parents=True),
        ],
        {},
        "it looks like DAVIS .it has a folder 480p; read it as davis",
    ),
    "DAVIS sets": (
        lambda root: [shutil.rmtree(root / "valid"), (root / "ImageSets").mkdir()],
        {},
        "it looks like DAVIS .it has ImageSets",
    ),
    "no masks": (
        lambda root: shutil.rmtree(root / "valid/Annotations"),
        {},
        "valid/Annotations: no such folder",
    ),
    "no frames": (
        lambda root: shutil.rmtree(root / "valid/JPEGImages"),
        {},
        "valid/JPEGImages: no such folder",
    ),
    "no dense frames": (
        lambda root: shutil.rmtree(root / "valid_all_frames"),
        {"all_frames": True},
        "valid_all_frames/JPEGImages: no such folder, .* unpack valid_all_frames into",
    ),
    "absent video": (
        lambda root: shutil.rmtree(root / "valid/JPEGImages/1b"),
        {},
        "JPEGImages: 1 of the 2 videos of valid are missing, the first is 1b",
    ),
    "absent masks": (
        lambda root: shutil.rmtree(root / "valid/Annotations/1b"),
        {},
        "Annotations: 1 of the 2 .* is 1b",
    ),
    "absent dense video": (
        lambda root: shutil.rmtree(root / "valid_all_frames/JPEGImages/0a"),
        {"all_frames": True},
        "all_frames/JPEGImages: 1 of the 2 .* is 0a",
    ),
    "unknown video": (
        lambda root: None,
        {"sequences": ["0a", "2c"]},
        "meta.json: no video 2c; there are 2, the first is 0a",
    ),
    "no video": (
        lambda root: edit(root, lambda videos: videos.clear()),
        {},
        "meta.json: no video in it",
    ),
    "cut JSON": (
        lambda root: write(root / "valid/meta.json", '{"videos": {"0a"'),
        {},
        "meta.json: damaged JSON, .* line 1 column 17",
    ),
    "no text": (
        lambda root: (root / "valid/meta.json").write_bytes(b"\xff\xfe\x80"),
        {},
        "meta.json: damaged JSON",
    ),
    "other JSON": (
        lambda root: write(root / "valid/meta.json", '["0a"]'),
        {},
        'meta.json: it has no "videos"',
    ),
    "no objects": (
        lambda root: edit(root, lambda videos: videos["1b"].clear()),
        {},
        'meta.json: video 1b has no "objects"',
    ),
    "no list of frames": (
        lambda root: edit(root, lambda videos: videos["1b"]["objects"]["2"].pop("frames")),
        {},
        "meta.json: object 2 of video 1b needs an id .* and a list",
    ),
    "an id that no PNG holds": (
        lambda root: edit(root, lambda v: v["1b"]["objects"].update({"255": {"frames": []}})),
        {},
        "meta.json: object 255 of video 1b needs an id from 1 to 254",
    ),
    "unknown category": (
        lambda root: None,
        {"unseen": ["cat", "unicorn"]},
        "meta.json: .* no object of the category unicorn; it has anteater, cat, dog",
    ),
    "categories without meta.json": (
        lambda root: (root / "valid/meta.json").unlink(),
        {"unseen": ["cat"]},
        "valid/meta.json: no such meta.json",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(root: Path, case: str) -> None:
    spoil, arguments, message = BAD[case]
    spoil(root)
    with pytest.raises(InputError, match=message) as caught:
        len(YouTubeVOS(root, **arguments))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # the remedy


def start_in(frame: str) -> Callable[[Path], None]:
    return lambda root: edit(root, lambda v: v["0a"]["objects"]["3"].update(frames=[frame]))


BAD_VIDEO: dict[str, tuple[Callable[[Path], object], str]] = {
    "no mask": (
        lambda root: (root / "valid/Annotations/0a/00010.png").unlink(),
        "object 3 starts in frame 00010 by meta.json, which has no mask",
    ),
    "not in its mask": (
        lambda root: write_labels(root / "valid/Annotations/0a/00010.png", labels("0a", 0)),
        "object 3 starts in frame 00010 by meta.json, which does not show it",
    ),
    "no frame": (start_in("00012"), "start of object 3: frame 00012 is not in .*JPEGImages/0a"),
    "no object": (
        lambda root: edit(root, lambda videos: videos["0a"]["objects"].clear()),
        "0a: no object in this video; leave it out",
    ),
}


@pytest.mark.parametrize("case", BAD_VIDEO)
def test_a_video_that_does_not_fit_its_description(root: Path, case: str) -> None:
    spoil, message = BAD_VIDEO[case]
    spoil(root)
    with pytest.raises(InputError, match=message):
        YouTubeVOS(root)[0].prompts()
    assert YouTubeVOS(root)[1].prompts()


def test_a_reported_frame_that_is_not_among_all(root: Path) -> None:
    (root / "valid_all_frames/JPEGImages/0a/00015.jpg").unlink()
    with pytest.raises(InputError, match=r"00015\.jpg: frame 00015 is not in .*all_frames"):
        YouTubeVOS(root, all_frames=True)[0].reported()


@pytest.mark.parametrize("index", [0, 1])
def test_first_masks_are_no_truth_to_score_by(root: Path, index: int) -> None:
    metric = VideoSegmentation("youtube_vos")
    with pytest.raises(InputError, match=r"3 frames have no mask .* 000(05|10); predict"):
        score(metric, YouTubeVOS(root, all_frames=True)[index], [])
    score(metric, YouTubeVOS(root, "train", all_frames=True)[index], [])


def test_categories_are_needed_to_tell_objects_apart(root: Path) -> None:
    (root / "train/meta.json").unlink()
    video = YouTubeVOS(root, "train")[0]
    with pytest.raises(InputError, match=r"0a: which of its objects .* is not known; test on"):
        score(VideoSegmentation("youtube_vos"), video, [])
    score(VideoSegmentation("davis2017"), video, [])


def test_the_config_trains(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    arguments = (
        f"--data.init_args.predict.init_args.root={root}",
        "--data.init_args.train.init_args.size=[64,64]",
        "--data.init_args.batch_size=2",
        "--data.init_args.num_workers=0",
        "--trainer.fast_dev_run=1",
    )
    config = ("--config", str(CONFIG), "--config", "data/youtube_vos")
    assert main(["fit", *config, *arguments]) == 0
