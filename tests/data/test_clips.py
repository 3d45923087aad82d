"""Training clips: what is drawn, what survives, what happens to broken files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from vosfm.data import (
    ArrayVideo,
    FrameFolder,
    MixedClips,
    VideoClips,
    collate,
    write_labels,
)
from vosfm.data.transforms import ColorJitter
from vosfm.data.warps import RandomWarp
from vosfm.errors import InputError
from vosfm.types import Clip


def _video(length: int = 12, objects: int = 4, size: tuple[int, int] = (24, 32)) -> ArrayVideo:
    """Frame t is of brightness 10 t. Object k appears at frame k; objects 1 and 2 overlap."""
    frames = np.stack([np.full((*size, 3), 10 * t, dtype=np.uint8) for t in range(length)])
    masks = np.zeros((length, objects, *size), dtype=np.bool_)
    for k in range(objects):
        masks[k:, k, 4 : 10 + 2 * k, 2 + 4 * k : 14 + 4 * k] = True
    return ArrayVideo(frames, masks)


def _times(clip: Clip) -> list[int]:
    return [round(float(frame.mean()) * 25.5) for frame in clip.images[0]]


def test_a_function_of_seed_epoch_and_index() -> None:
    def clips(seed: int) -> VideoClips:
        return VideoClips(
            [_video()], 3, (16, 16), warp=RandomWarp(), color=ColorJitter(), clips=5, seed=seed
        )

    first, again = clips(0)[7], clips(0).sample(1, 2)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.frames, clips(1)[7].frames)
    assert not torch.equal(first.frames, clips(0)[2].frames)


def test_gaps_direction_and_range() -> None:
    clips = VideoClips([_video(20)], 4, (24, 32), max_gap=3, clips=60)
    forward = backward = 0
    starts = set()
    for clip in clips:
        times = np.array(_times(clip))
        steps = np.diff(times)
        assert np.all((abs(steps) >= 1) & (abs(steps) <= 3))
        assert np.all(steps > 0) or np.all(steps < 0)
        forward += steps[0] > 0
        backward += steps[0] < 0
        starts.add(int(times.min()))
    assert forward > 15
    assert backward > 15
    assert len(starts) > 6
    assert min(starts) >= 0
    assert all(np.diff(_times(c)).min() > 0 for c in VideoClips([_video()], 3, reverse=0, clips=9))


def test_a_short_video_is_played_to_and_fro() -> None:
    clip = VideoClips([_video(3, 1)], 7, (24, 32), reverse=0)[0]
    assert _times(clip) == [0, 1, 2, 1, 0, 1, 2]
    assert _times(VideoClips([_video(1, 1)], 3, (24, 32))[0]) == [0, 0, 0]


def test_objects_are_seen_first_and_overlaps_survive() -> None:
    overlapping = 0
    for clip in VideoClips([_video()], 3, (24, 32), objects=2, clips=40):
        masks = clip.masks[0]
        assert 1 <= masks.shape[1] <= 2
        assert clip.present.all()
        assert masks[0].any(dim=(1, 2)).all()
        overlapping += int((masks.sum(dim=1) > 1).any())
    assert overlapping > 3


def test_every_object_gets_its_turn() -> None:
    counts = {clip.masks.shape[2] for clip in VideoClips([_video()], 2, objects=4, clips=40)}
    assert counts >= {2, 3, 4}


def test_only_annotated_frames_are_drawn(tmp_path: Path) -> None:
    for index in range(10):
        Picture.new("RGB", (32, 24), (20 * index,) * 3).save(tmp_path / f"{index}.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    labels = np.zeros((24, 32), dtype=np.uint8)
    labels[5:15, 5:15], labels[0, 0] = 3, 255
    for index in (0, 4, 8):
        write_labels(masks / f"{index}.png", labels)
    video = FrameFolder(tmp_path, masks)
    for clip in VideoClips([video], 2, (24, 32), clips=8):
        assert {round(float(f.mean()) * 255 / 20) for f in clip.images[0]} <= {0, 4, 8}
        assert clip.void is not None
        assert int(clip.void.sum()) == 2


def test_objects_of_a_second_video_are_pasted() -> None:
    y, x = np.mgrid[:24, :32]
    boxes = [(y < 8) & (x < 8), (y > 12) & (x > 12)]
    videos = [
        ArrayVideo(np.full((3, 24, 32, 3), 100 * k, np.uint8), np.stack([[box]] * 3), f"video{k}")
        for k, box in enumerate(boxes)
    ]
    names = set()
    for clip in VideoClips(videos, 2, (24, 32), merge=1.0, clips=30):
        names.add(clip.names[0])
        under, over = (int(name[-1]) for name in clip.names[0].split(" + "))
        expected = np.full((24, 32), under)
        expected[boxes[over]] = over
        assert np.array_equal(clip.frames[0, 0, 0].numpy(), 100 * expected)
        assert clip.masks.shape[2] == (1 if under == over else 2)
    assert names == {f"video{a} + video{b}" for a in (0, 1) for b in (0, 1)}
    alone = {clip.names[0] for clip in VideoClips(videos, 2, (24, 32), merge=0.5, clips=40)}
    assert len(alone) == 6


def test_small_objects_are_left_out() -> None:
    masks = np.zeros((2, 2, 24, 32), np.bool_)
    masks[:, 0, :2, :2] = masks[:, 1, 10:20, 10:20] = True
    video = ArrayVideo(np.zeros((2, 24, 32, 3), np.uint8), masks)
    for pixels, count in ((1, 2), (4, 2), (5, 1), (100, 1)):
        assert VideoClips([video], 2, (24, 32), pixels=pixels)[0].masks.shape[2] == count
    with pytest.raises(InputError, match="showed no object"):
        VideoClips([video], 2, (24, 32), pixels=101)[0]


def test_mixed_clips_show_an_epoch_of_each() -> None:
    few, many = (VideoClips([_video()], 2, (16, 16), clips=n, seed=n) for n in (2, 5))
    mixed = MixedClips({"few": few, "many": many})
    assert len(mixed) == 7
    for epoch in (0, 3):
        for index in range(7):
            part, place = (few, index) if index < 2 else (many, index - 2)
            expected = part.sample(epoch, place)
            assert torch.equal(mixed[7 * epoch + index].frames, expected.frames)
    with pytest.raises(ValueError, match="no clips"):
        MixedClips({})


def test_an_unannotated_video() -> None:
    bare = ArrayVideo(np.zeros((3, 8, 8, 3), dtype=np.uint8), name="bare")
    with pytest.warns(UserWarning, match="bare: no frame of this video has a mask"):
        clip = VideoClips([bare, _video()], 2, clips=2, allowed_corruption=1)[0]
    assert clip.names == ("array",)


def test_nothing_to_see() -> None:
    empty = ArrayVideo(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 1, 8, 8), np.bool_), "empty")
    with pytest.raises(InputError, match="last from empty"):
        VideoClips([empty], 2)[0]
    with pytest.raises(InputError, match="no videos"):
        len(VideoClips([], 2))


def _folders(root: Path, count: int, broken: int) -> list[FrameFolder]:
    videos = []
    for number in range(count):
        folder = root / f"video{number}"
        folder.mkdir()
        for index in range(3):
            Picture.new("RGB", (32, 24), (10 * index,) * 3).save(folder / f"{index}.jpg")
        write_labels(root / f"{number}.png", np.eye(24, 32, dtype=np.uint8))
        masks = root / f"masks{number}"
        masks.mkdir()
        for index in range(3):
            write_labels(masks / f"{index}.png", np.ones((24, 32), dtype=np.uint8))
        videos.append(FrameFolder(folder, masks))
        if number < broken:
            path = folder / "1.jpg"
            path.write_bytes(path.read_bytes()[:-30])
    return videos


def test_broken_samples_are_counted_reported_and_replaced(tmp_path: Path) -> None:
    clips = VideoClips(_folders(tmp_path, 10, 1), 3, (16, 16), allowed_corruption=0.3)
    with pytest.warns(UserWarning, match=r"video0/1\.jpg") as caught:
        first = [clip.names for clip in clips]
    assert len(caught) == 1
    assert 1 <= clips.broken <= 3
    assert len(first) == 10
    assert first[0] != ("video0",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [clip.names for clip in clips] == first


@pytest.mark.filterwarnings("ignore:skipped a training sample")
def test_too_many_broken_samples_are_an_error(tmp_path: Path) -> None:
    clips = VideoClips(_folders(tmp_path, 4, 2), 3, (16, 16), allowed_corruption=0.1)
    every = (clips.sample(epoch, index) for epoch in range(20) for index in range(4))
    message = r"\d+ of \d+ .* share of 0\.1; the last: .*1\.jpg"
    with pytest.raises(InputError, match=message):
        list(every)


def test_collate_pads_the_object_axis() -> None:
    one = VideoClips([_video(objects=1)], 2, (16, 16))[0]
    three = VideoClips([_video(2, objects=1), _video(objects=3)], 2, (16, 16), reverse=0)
    wide = next(c for c in (three.sample(e, 1) for e in range(50)) if c.masks.shape[2] == 3)
    batch = collate([one, wide])
    assert batch.frames.shape == (2, 2, 3, 16, 16)
    assert batch.masks.shape == (2, 2, 3, 16, 16)
    assert batch.present.tolist() == [[True, False, False], [True, True, True]]
    assert not batch.masks[0, :, 1:].any()
    assert torch.equal(batch.masks[1:], wide.masks)
    assert batch.void is None
    assert batch.names == ("array", "array")


def test_collate_joins_void() -> None:
    plain = VideoClips([_video()], 2, (16, 16))[0]
    void = torch.ones(1, 2, 16, 16, dtype=torch.bool)
    partly = Clip(plain.frames, plain.masks, plain.present, void, plain.names)
    joint = collate([plain, partly]).void
    assert joint is not None
    assert not joint[0].any()
    assert joint[1].all()


def test_collate_refuses_what_does_not_fit() -> None:
    two, three = (VideoClips([_video()], n, (16, 16))[0] for n in (2, 3))
    with pytest.raises(ValueError, match="array"):
        collate([two, three])
    with pytest.raises(ValueError, match="no clips"):
        collate([])


def test_bad_arrays() -> None:
    frames = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="frames"):
        ArrayVideo(frames[0])
    with pytest.raises(ValueError, match="masks"):
        ArrayVideo(frames, np.zeros((2, 1, 8, 8), np.bool_))
    with pytest.raises(ValueError, match="2 ids"):
        ArrayVideo(frames, np.zeros((3, 1, 8, 8), np.bool_), object_ids=[1, 2])
