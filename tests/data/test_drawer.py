"""Drawing a clip of one video: nothing is decoded that the clip does not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from vosfm.data import ArrayVideo
from vosfm.data.datasets import to_clip
from vosfm.data.drawer import ClipDrawer
from vosfm.data.shards import columns
from vosfm.data.shards.cutting import Cut, cut
from vosfm.data.shards.sample import PackedVideo
from vosfm.data.transforms import ColorJitter
from vosfm.data.video import Annotation, Image, Mask
from vosfm.data.warps import BalancedCrop, RandomWarp
from vosfm.errors import InputError

SIZE = (60, 80)


class Listed(ArrayVideo):
    """Knows areas, and counts what it is asked to decode: (frame, object) and frames."""

    def __init__(self, frames: np.ndarray, masks: np.ndarray) -> None:
        super().__init__(frames, masks)
        self.decoded: list[tuple[int, int]] = []
        self.read: list[int] = []

    def annotation(self, index: int) -> Annotation | None:
        raise AssertionError("all objects of a frame would be decoded")

    def frames(self, start: int = 0) -> Iterator[Image]:
        for index in range(start, len(self)):
            self.read.append(index)
            yield next(super().frames(index))

    def areas(self, index: int) -> dict[int, int]:
        told = ArrayVideo.annotation(self, index)
        counts = told.masks.sum(axis=(1, 2)).tolist()
        return {i: n for i, n in zip(told.object_ids, counts, strict=True) if n}

    def masks_of(self, index: int, ids: Sequence[int]) -> Mask:
        self.decoded += [(index, i) for i in ids]
        told = ArrayVideo.annotation(self, index)
        return told.masks[[told.object_ids.index(i) for i in ids]]

    def void(self, index: int) -> Mask | None:
        return None


def arrays(length: int = 12, objects: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of 10 x 8 pixels over the whole frame, row by row; some overlap."""
    frames = np.random.default_rng(0).integers(0, 256, (length, *SIZE, 3), dtype=np.uint8)
    masks = np.zeros((length, objects, *SIZE), dtype=np.bool_)
    for k in range(objects):
        top, left = 6 * (k // 10 * 2 % 10), 8 * (k % 10)
        masks[:, k, top : top + 10, left : left + 8] = True
    return frames, masks


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_only_sampled_objects_are_decoded() -> None:
    video = Listed(*arrays())
    clip = ClipDrawer(3, SIZE, objects=2).draw(video, rng())
    assert clip is not None
    assert clip.masks.shape == (1, 3, 2, *SIZE)
    # Two objects in three frames, each once.
    assert len(video.decoded) == len(set(video.decoded)) == 6
    assert len({i for _, i in video.decoded}) == 2
    assert len(video.read) == len({index for index, _ in video.decoded}) == 3


@pytest.mark.parametrize("warp", [RandomWarp(area=(0.1, 0.2)), BalancedCrop(short_edge=200)])
def test_a_narrow_window_takes_a_few_more_looks(warp: RandomWarp | BalancedCrop) -> None:
    looks = 0
    for seed in range(30):
        video = Listed(*arrays())
        clip = ClipDrawer(3, (40, 40), objects=1, warp=warp).draw(video, rng(seed))
        assert clip is not None
        assert clip.masks[0, 0].any()
        frames = Counter(index for index, _ in video.decoded)
        assert sorted(frames.values())[:2] == [1, 1]
        looks += max(frames.values())
    assert 30 < looks < 30 * 10


def test_all_objects_as_of_a_video_that_decodes_everything() -> None:
    frames, masks = arrays(objects=12)
    drawer = ClipDrawer(4, (30, 50), objects=12)
    for seed in range(5):
        clips = [drawer.draw(kind(frames, masks), rng(seed)) for kind in (ArrayVideo, Listed)]
        assert clips[0] is not None
        assert clips[1] is not None
        assert torch.equal(clips[0].frames, clips[1].frames)
        assert torch.equal(clips[0].masks, clips[1].masks)


def test_frames_and_masks_by_the_same_view() -> None:
    frames, masks = arrays(objects=9)
    frames = np.where(masks.any(axis=1)[..., None], np.uint8(200), np.uint8(20)) + 0 * frames
    drawer = ClipDrawer(3, (90, 120), objects=9, warp=RandomWarp(area=(0.7, 1.0)))
    for seed in range(10):
        clip = drawer.draw(Listed(frames, masks), rng(seed))
        assert clip is not None
        shown = clip.frames[0, :, 0] > 110
        covered = clip.masks[0].any(dim=1)
        # What was not among the objects of the first frame is not covered.
        assert float((covered & ~shown).float().mean()) < 0.03
        assert float((covered & shown).sum() / covered.sum()) > 0.9


def test_every_visible_object_gets_its_turn() -> None:
    video = Listed(*arrays(objects=5))
    drawer = ClipDrawer(2, SIZE, objects=1)
    seen: Counter[int] = Counter()
    for seed in range(100):
        video.decoded.clear()
        drawer.draw(video, rng(seed))
        seen[video.decoded[0][1]] += 1
    assert set(seen) == {1, 2, 3, 4, 5}
    assert min(seen.values()) > 8


def test_a_frame_shown_twice_is_decoded_once() -> None:
    video = Listed(*arrays(length=2))
    clip = ClipDrawer(5, SIZE, objects=1, color=ColorJitter(together=False)).draw(video, rng())
    assert clip is not None
    assert clip.frames.shape[1] == 5
    assert sorted(video.read) == [0, 1]
    # The first frame is shown again later, and once more decoded for it.
    assert Counter(index for index, _ in video.decoded).most_common()[0][1] <= 2


class Noted(Listed):
    """Object 1 is good throughout, object 2 bad in frame 3, of object 3 nobody noted anything."""

    def quality(self, index: int) -> dict[int, float] | None:
        return {1: 0.95, 2: 0.5 if index == 3 else 0.99}


class NotedArray(Noted):
    """The same, of a video that decodes everything."""

    lists_areas = False
    annotation = ArrayVideo.annotation


@pytest.mark.parametrize("kind", [Noted, NotedArray])
def test_objects_that_are_bad_in_any_frame_of_the_clip_are_left_out(kind: type[Noted]) -> None:
    drawer = ClipDrawer(2, SIZE, objects=9, max_gap=1, reverse=0, quality=0.9)
    counts = set()
    for seed in range(30):
        video = kind(*arrays(length=6, objects=3))
        clip = drawer.draw(video, rng(seed))
        assert clip is not None
        bad = 3 in video.read
        counts.add((bad, clip.masks.shape[2]))
    assert counts == {(True, 2), (False, 3)}


def test_nothing_to_see() -> None:
    frames, masks = arrays(objects=2)
    video = Listed(frames, np.zeros_like(masks))
    assert ClipDrawer(2, SIZE).draw(video, rng()) is None
    assert ClipDrawer(2, SIZE, warp=BalancedCrop()).draw(video, rng()) is None
    assert not video.decoded
    assert ClipDrawer(2, SIZE, pixels=100).draw(Listed(frames, masks), rng()) is None
    assert ClipDrawer(2, SIZE, pixels=80).draw(Listed(frames, masks), rng()) is not None
    tiny = Listed(frames, masks)
    assert ClipDrawer(2, SIZE, pixels=500).draw(tiny, rng()) is None
    assert not tiny.decoded  # their areas tell
    with pytest.raises(InputError, match="no frame of this video has a mask"):
        ClipDrawer().draw(ArrayVideo(frames), rng())


def test_pixels_without_a_truth_are_kept() -> None:
    frames, masks = arrays(objects=2)
    void = np.zeros(SIZE, np.bool_)
    void[:, :40] = True

    class Unsure(Listed):
        def void(self, index: int) -> Mask | None:
            return void if index % 2 else None

    clip = ClipDrawer(4, SIZE, max_gap=1).draw(Unsure(frames, masks), rng())
    assert clip is not None
    assert clip.void is not None
    assert sorted(clip.void[0].float().mean(dim=(1, 2)).tolist()) == [0, 0, 0.5, 0.5]


def test_samples_of_shards_decode_what_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = next(cut(ArrayVideo(*arrays()), Cut()))
    decoded = []

    def counted(*told: object) -> Mask:
        decoded.append(told)
        return original(*told)

    original = columns.decode
    monkeypatch.setattr(columns, "decode", counted)
    video = PackedVideo(packed)
    clip = ClipDrawer(3, (48, 48), objects=2, warp=RandomWarp(area=(0.9, 1.0))).draw(video, rng())
    assert clip is not None
    assert clip.masks.shape[2] == 2
    assert len(decoded) in (6, 7)  # of 150 masks; one may be outside of the window


def test_what_videos_know_by_default() -> None:
    frames, masks = arrays(length=2, objects=3)
    masks[1, 1] = False
    video = ArrayVideo(frames, masks)
    assert not video.lists_areas
    assert video.areas(0) == {1: 80, 2: 80, 3: 80}
    assert video.areas(1) == {1: 80, 3: 80}
    assert np.array_equal(video.masks_of(0, [3, 1]), masks[0, [2, 0]])
    assert not video.masks_of(1, [2, 9]).any()
    assert video.quality(0) is None
    assert video.void(0) is None
    bare = ArrayVideo(frames)
    assert bare.areas(0) == {}
    assert bare.masks_of(0, [1]).shape == (1, *SIZE)
    assert Listed(frames, masks).lists_areas


def test_pixels_are_bytes_and_become_shares_of_255() -> None:
    frames, masks = arrays(length=3, objects=2)
    clip = to_clip(list(frames), masks, "name")
    assert torch.equal(clip.frames[0], torch.from_numpy(frames).permute(0, 3, 1, 2))
    assert torch.equal(clip.images, clip.frames.float() / 255)
    assert clip.frames.is_contiguous()
    assert torch.equal(clip.masks[0], torch.from_numpy(masks))


def test_bad_arguments() -> None:
    for name in ("length", "objects", "max_gap", "pixels"):
        with pytest.raises(ValueError, match=name):
            ClipDrawer(**{name: 0})
    with pytest.raises(ValueError, match="quality"):
        ClipDrawer(quality=1.5)
