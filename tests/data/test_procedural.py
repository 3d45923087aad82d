"""Procedural scenes: the same in every process and order, with masks that nest."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vosfm.data import Difficulty, ProceduralClips, ProceduralVideo, ProceduralVideos
from vosfm.data.procedural.motion import Excursion, Wander
from vosfm.data.procedural.texture import KINDS, Texture, paint

SIZE = (72, 104)


def _video(seed: int = 3, length: int = 6, **more: object) -> ProceduralVideo:
    return ProceduralVideo(seed, length, SIZE, **more)  # type: ignore[arg-type]


def _masks(video: ProceduralVideo) -> NDArray[np.bool_]:
    return np.stack([video.annotation(index).masks for index in range(len(video))])


_DIGEST = """
import hashlib
from vosfm.data import ProceduralVideo
video = ProceduralVideo(7, 4, (72, 104), parts=True, difficulty=0.8)
digest = hashlib.sha256()
for index, frame in enumerate(video.frames()):
    digest.update(frame.tobytes() + video.annotation(index).masks.tobytes())
print(digest.hexdigest())
"""


def test_the_same_in_another_process_with_other_threads_and_generators(
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.random.seed(1)  # noqa: NPY002  # nothing may depend on it
    random.seed(1)
    torch.manual_seed(1)
    cv2.setRNGSeed(1)
    exec(_DIGEST, {})
    here = capsys.readouterr().out
    prepare = "import cv2, numpy; cv2.setNumThreads(3); numpy.random.seed(2); cv2.setRNGSeed(9)\n"
    other = subprocess.run(
        [sys.executable, "-c", prepare + _DIGEST], capture_output=True, text=True, check=True
    )
    assert other.stdout == here


def test_seeds_differ() -> None:
    assert not np.array_equal(next(_video(1).frames()), next(_video(2).frames()))


def test_a_longer_video_begins_with_the_shorter_one() -> None:
    short, long = _video(length=4), _video(length=9)
    frames = list(long.frames())
    assert len(frames) == 9
    for index, frame in enumerate(short.frames()):
        np.testing.assert_array_equal(frame, frames[index])
    np.testing.assert_array_equal(_masks(short), _masks(long)[:4])


def test_frames_can_be_read_from_anywhere() -> None:
    video = _video()
    np.testing.assert_array_equal(next(video.frames(4)), list(video.frames())[4])


def test_parts_lie_in_their_wholes_and_change_no_pixel() -> None:
    plain, parts = _video(length=4, difficulty=0.7), _video(length=4, difficulty=0.7, parts=2)
    for a, b in zip(plain.frames(), parts.frames(), strict=True):
        np.testing.assert_array_equal(a, b)
    masks = _masks(parts)
    np.testing.assert_array_equal(masks[:, :3], _masks(plain))
    assert parts.object_ids == tuple(range(1, 10))
    assert parts.wholes == {4: 1, 5: 1, 6: 2, 7: 2, 8: 3, 9: 3}
    for part, whole in parts.wholes.items():
        assert masks[0, part - 1].any()
        assert not np.any(masks[:, part - 1] & ~masks[:, whole - 1])
        assert masks[0, part - 1].sum() < masks[0, whole - 1].sum()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("objects", [1, 5, 9])
def test_every_object_is_seen_in_the_first_frame_and_wholes_do_not_overlap(
    level: float, objects: int
) -> None:
    for seed in (0, 1, 13, 18):  # the last two need more than one layout
        masks = _masks(_video(seed, length=2, objects=objects, difficulty=level))
        assert np.all(masks[0].mean(axis=(1, 2)) >= 0.01)
        assert masks.sum(axis=1).max() == 1


def test_difficulty_brings_motion_occlusion_and_absence() -> None:
    def overlap(level: float) -> tuple[float, float]:
        scores, seen = [], []
        for seed in range(4):
            masks = _masks(_video(seed, length=40, difficulty=level))
            joint = (masks & masks[:1]).sum(axis=(2, 3)) / (masks | masks[:1]).sum(axis=(2, 3))
            scores.append(joint[1:].mean())
            seen.append(masks.any(axis=(2, 3)).mean())
        return float(np.mean(scores)), float(np.mean(seen))

    easy, hard = overlap(0.1), overlap(0.75)
    assert easy[0] > hard[0] + 0.1
    assert easy[1] > hard[1]
    assert hard[0] < 0.3


def test_an_object_that_leaves_returns() -> None:
    returned = 0
    for seed in range(6):
        knobs = Difficulty(leaving=1.0, occlusion=0, look_alikes=0, speed=0.01)
        seen = _masks(_video(seed, length=60, objects=1, difficulty=knobs)).any(axis=(1, 2, 3))
        away = np.flatnonzero(~seen)
        returned += bool(away.size and seen[away[0] :].any())
    assert returned >= 4


def test_motion_is_smooth_and_as_fast_as_asked() -> None:
    rng = np.random.default_rng(0)
    curves = [Wander.draw(rng, np.array([0.3, 0.2]), 0.02) for _ in range(50)]
    steps = [np.diff([curve(t) for t in range(200)], axis=0) for curve in curves]
    rms = np.sqrt(np.mean([np.sum(s**2, axis=1).mean() for s in steps]))
    assert rms == pytest.approx(0.02, rel=0.15)
    trip = Excursion.draw(rng, np.array([1.0, 1.0]), 0.2)
    path = np.array([trip(t) for t in np.arange(0, 200, 0.1)])
    jumps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    # It may only jump to the other side while it is outside.
    outside = np.linalg.norm(path[:-1], axis=1) > 1
    assert jumps[~outside].max() < 0.06


def test_difficulty_outside_its_range() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Difficulty.level(1.2)
    assert Difficulty.level(0.5) == Difficulty()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"parts": 4}, "parts"),
        ({"objects": 0}, "at least one object"),
        ({"length": 0}, "at least one frame"),
        ({"size": (16, 200)}, "32 x 32"),
    ],
)
def test_bad_arguments(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(ProceduralVideo(0, **{"size": SIZE, **more}).frames())  # type: ignore[arg-type]


def test_more_objects_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vosfm.data.procedural.scene._ATTEMPTS", 2)
    with pytest.raises(ValueError, match="400 objects do not fit"):
        next(ProceduralVideo(0, 1, (32, 32), objects=400).frames())


@pytest.mark.parametrize("kind", KINDS)
def test_textures_show_their_colors(kind: str) -> None:
    colors = np.array([[200, 30, 30], [30, 30, 200], [30, 200, 30]], dtype=np.float32)
    image = paint(Texture(kind, colors, 0.3, 0.4, 3.0, 5), (64, 96), 80.0)
    assert image.shape == (64, 96, 3)
    assert image.std(axis=(0, 1)).max() > 10


def test_unknown_texture() -> None:
    with pytest.raises(ValueError, match="plaid"):
        paint(Texture("plaid", np.zeros((3, 3), np.float32), 1, 0, 1, 0), (8, 8), 8)


def test_pickled_without_textures() -> None:
    video = _video(length=100)
    first = next(video.frames())
    data = pickle.dumps(video)
    assert len(data) < 5000
    np.testing.assert_array_equal(next(pickle.loads(data).frames()), first)


def test_prompts_are_the_first_masks() -> None:
    video = _video(parts=True)
    prompts = video.prompts()
    assert list(prompts) == [0]
    assert tuple(prompts[0]) == video.object_ids
    np.testing.assert_array_equal(np.stack(list(prompts[0].values())), video.annotation(0).masks)


def test_videos_are_named_by_seed() -> None:
    videos = ProceduralVideos((5, 9), 3, SIZE)
    assert [video.name for video in videos] == ["procedural-5", "procedural-9"]
    assert len(videos) == 2


def test_clips_are_functions_of_seed_epoch_and_index() -> None:
    clips = ProceduralClips(3, (64, 64), clips=4, parts=1)
    again = ProceduralClips(3, (64, 64), clips=4, parts=1)
    clip = clips[6]
    torch.testing.assert_close(clip.frames, again.sample(1, 2).frames, rtol=0, atol=0)
    assert torch.equal(clip.masks, again.sample(1, 2).masks)
    assert not torch.equal(clip.frames, clips[2].frames)
    assert clip.frames.shape == (1, 3, 3, 64, 64)
    assert clip.masks.shape[:2] == (1, 3)
    assert clip.masks.shape[2] % 2 == 0
    assert clip.present.all()
    assert clip.masks[0, 0].any(dim=(1, 2)).all()
    assert clip.images.min() >= 0
    assert 0.5 < clip.images.max() <= 1
    other = ProceduralClips(3, (64, 64), clips=4, parts=1, seed=1)
    assert not torch.equal(other[6].frames, clip.frames)


def test_a_clip_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clips(objects: int = 3, **more: object) -> ProceduralClips:
        return ProceduralClips(2, (64, 80), objects, clips=4, parts=1, **more)  # type: ignore[arg-type]

    folder = str(tmp_path / "rendered")
    kept, plain = clips(folder=folder)[6], clips()[6]
    others = clips(objects=1, folder=folder)[6], clips(folder=folder, seed=1)[6]
    monkeypatch.setattr("vosfm.data.procedural.datasets.Scene", None)
    for clip in (kept, clips(folder=folder)[6]):
        assert torch.equal(clip.frames, plain.frames)
        assert torch.equal(clip.masks, plain.masks)
        assert torch.equal(clip.present, plain.present)
        assert clip.names == plain.names
    for other in others:
        assert not torch.equal(other.frames, plain.frames)
    with pytest.raises(TypeError):
        clips(folder=folder)[7]
    monkeypatch.undo()
    for damaged in tmp_path.rglob("2.npz"):
        damaged.write_bytes(damaged.read_bytes()[:500])
    assert torch.equal(clips(folder=folder)[6].frames, plain.frames)
    assert torch.equal(clips(folder=folder)[6].masks, plain.masks)


def test_training_never_shows_a_held_out_scene() -> None:
    clip = ProceduralClips(1, SIZE, objects=1, difficulty=(0.5, 0.5)).sample(0, 0)
    for seed in range(3):
        frame = torch.from_numpy(next(_video(seed, objects=1).frames()))
        assert (clip.frames[0, 0].permute(1, 2, 0).float() - frame).abs().mean() > 8
