"""Videos cut into clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from packed import SIZE, NotedVideo
from truths import MemoryTruth

from vosfm.data.annotated import AnnotatedVideo
from vosfm.data.memory import ArrayVideo
from vosfm.data.shards.cutting import Cut, cut, key_of
from vosfm.data.shards.description import KEY
from vosfm.data.shards.sample import PackedVideo
from vosfm.errors import InputError


def clips(video: ArrayVideo | AnnotatedVideo, how: Cut | None = None) -> list[PackedVideo]:
    return [PackedVideo(packed) for packed in cut(video, how or Cut())]


def spoken(folder: Path, count: int = 9, bare: int = 0, seed: int = 0) -> AnnotatedVideo:
    """Pictures, the last of each `bare` + 1 annotated, with starts and ranges that have gaps."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    step = bare + 1
    files = [folder / f"{index:05d}.jpg" for index in range(step * count)]
    for file in files:
        cv2.imwrite(str(file), rng.integers(0, 255, (*SIZE, 3)))
    masks = rng.random((count, 3, *SIZE)) > 0.5
    masks[:2, 1] = False
    masks[4:, 2] = False
    numbers = [bare + step * place for place in range(count)]
    truth = MemoryTruth(
        masks,
        (3, 4, 9),
        name="spoken",
        starts={3: 0, 4: 2, 9: 1},
        ranges={
            i: tuple(place for place in own if place < count)
            for i, own in {3: (0, 1, 2, 3, 5, 8), 4: range(2, 9), 9: (1, 3, 4, 5)}.items()
        },
        numbers=numbers,
        overlapping=True,
        attributes=frozenset({"FM"}),
        length=step * count + 3,
    )
    truth.captions = {3: "a dog", 9: "its tail"}
    return AnnotatedVideo(truth, files, numbers)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 10])
def test_clips_share_the_frames_out(length: int) -> None:
    for count in range(1, 40):
        found = Cut(length).clips(count)
        assert [place for clip in found for place in clip] == list(range(count))
        assert all(len(clip) == length for clip in found[:-1])
        last = len(found[-1])
        assert count < length or length / 2 <= last < 1.5 * length
    assert Cut().clips(1000) == [range(1000)]


def test_a_whole_video_is_told_as_it_is(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames", bare=1)
    (clip,) = clips(video, Cut(pictures="all"))
    before, after = video.truth, clip.truth
    assert len(clip) == 18
    assert clip.annotated() == video.annotated()
    for name in vars(MemoryTruth(np.zeros((1, 0, *SIZE), bool), ())):
        if name[0] == "_":
            continue
        assert getattr(after, name) == getattr(before, name), name
    for place in range(9):
        np.testing.assert_array_equal(after.masks(place), before.masks(place))
    for index, given in video.prompts().items():
        for object_id, mask in given.items():
            np.testing.assert_array_equal(clip.prompts()[index][object_id], mask)


def test_parts_tell_of_what_they_show(tmp_path: Path) -> None:
    first, second, third = clips(spoken(tmp_path / "frames"), Cut(length=3))
    assert [clip.name for clip in (first, second, third)] == [
        "spoken-00000",
        "spoken-00003",
        "spoken-00006",
    ]
    assert {clip.source for clip in (first, second, third)} == {"spoken"}
    assert first.truth.starts == {3: 0, 4: 2, 9: 1}
    assert first.truth.ranges == {3: (0, 1, 2), 4: (2,), 9: (1,)}
    # Object 3 is not spoken of in place 4, and object 9 is in sight for the last time in place 3.
    assert second.truth.starts == {3: 0, 4: 0, 9: 0}
    assert second.truth.ranges == {3: (0, 2), 4: (0, 1, 2), 9: (0, 1, 2)}
    assert third.truth.starts == {3: 2, 4: 0}
    assert third.truth.ranges == {3: (2,), 4: (0, 1, 2)}
    assert third.truth.captions == {3: "a dog"}
    assert [clip.truth.numbers for clip in (first, third)] == [(0, 1, 2), (0, 1, 2)]
    assert [clip.truth.length for clip in (first, second, third)] == [3, 3, 6]
    assert third.frame_names == ("00006", "00007", "00008")
    for clip in (first, second, third):
        for index, given in clip.prompts().items():
            assert all(mask.any() for mask in given.values()), (clip.name, index)


def test_an_object_that_is_seen_before_it_is_given() -> None:
    video = ArrayVideo(np.zeros((6, *SIZE, 3), np.uint8), np.ones((6, 2, *SIZE), bool))
    video.truth = MemoryTruth(np.ones((6, 2, *SIZE), bool), (1, 2), starts={1: 0, 2: 4})
    assert [clip.truth.starts for clip in clips(video, Cut(length=3))] == [{1: 0}, {1: 0, 2: 1}]


def test_pictures_of_all_frames_are_shared_out(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames", bare=2)
    found = clips(video, Cut(length=4, pictures="all"))
    assert [name for clip in found for name in clip.frame_names] == list(video.frame_names)
    assert found[0].annotated() == (2, 5, 8, 11)
    assert found[1].annotated() == (0, 3, 6, 9, 12)
    alone = clips(video, Cut(length=4))
    assert [len(clip) for clip in alone] == [4, 5]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.truth.masks(2), other.truth.masks(2))
        frame = next(one.frames(one.annotated()[2]))
        np.testing.assert_array_equal(frame, next(other.frames(2)))


def test_clips_that_lie_there_are_left_out(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames")
    assert list(cut(video, Cut(3), skip=2)) == list(cut(video, Cut(3)))[2:]
    assert list(cut(video, Cut(3), skip=3)) == []


def members(video: AnnotatedVideo, how: Cut) -> dict[str, bytes]:
    (packed,) = cut(video, how)
    return dict(packed.members)


def test_jpegs_of_the_right_size_are_taken_as_they_are(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames", 3)
    png = video.files[1].with_suffix(".png")
    cv2.imwrite(str(png), cv2.imread(str(video.files[1])))
    video._files = (video.files[0], png, video.files[2])
    found = members(video, Cut(quality=90))
    assert found["00000.jpg"] == video.files[0].read_bytes()
    assert found["00001.jpg"].startswith(b"\xff\xd8")
    assert len(found["00001.jpg"]) < len(members(video, Cut(quality=100))["00001.jpg"])
    small = members(video, Cut(short_edge=12))
    assert small["00000.jpg"] != found["00000.jpg"]


def test_a_jpeg_that_says_how_to_turn_it_is_turned(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames", 1)
    data = cv2.imencode(".jpg", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))[1].tobytes()
    turn = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + turn
    video.files[0].write_bytes(
        data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    )
    (clip,) = clips(video)
    assert next(clip.frames()).shape == (*SIZE, 3)


def test_a_picture_that_is_broken_is_found(tmp_path: Path) -> None:
    video = spoken(tmp_path / "frames", 3)
    video.files[1].write_bytes(video.files[1].read_bytes()[:-30])
    with pytest.raises(InputError, match=r"00001.jpg: the picture is truncated"):
        members(video, Cut())


def test_smaller_frames_and_masks(tmp_path: Path) -> None:
    (whole,), (small,) = (clips(NotedVideo(), how) for how in (Cut(), Cut(short_edge=12)))
    assert small.size == (12, 16)
    assert next(small.frames()).shape == (12, 16, 3)
    for index in range(4):
        masks, smaller = whole.annotation(index).masks, small.annotation(index).masks
        assert smaller.shape == (len(masks), 12, 16)
        assert smaller.mean() == pytest.approx(masks.mean(), abs=0.1)
    assert small.quality(0) == whole.quality(0)
    assert clips(NotedVideo(), Cut(short_edge=24))[0].size == SIZE


def test_masks_that_do_not_overlap_still_do_not_when_smaller() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (2, *SIZE))
    masks = labels[:, None] == np.arange(1, 4)[:, None, None]
    video = ArrayVideo(np.zeros((2, *SIZE, 3), np.uint8), masks)
    (small,) = clips(video, Cut(short_edge=9))
    assert small.annotation(0).masks.sum(0).max() == 1
    assert not small.truth.overlapping


def test_keys() -> None:
    assert key_of("bear") == "bear"
    assert key_of("bear", 20) == "bear-00020"
    odd = ["a.b", "a b", "a/b", "../a", "x" * 100, "x" * 101, "ü", "", "a\n"]
    keys = [key_of(name, 123456) for name in odd]
    assert len(set(keys)) == len(odd)
    assert all(KEY.fullmatch(key) for key in keys)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"length": 0}, "length is 0"),
        ({"short_edge": 0}, "short edge is 0"),
        ({"quality": 101}, "quality is 101: give 1 to 100"),
    ],
)
def test_values_out_of_range(how: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cut(**how)  # type: ignore[arg-type]


def test_videos_that_cannot_be_packed() -> None:
    frames = np.zeros((2, *SIZE, 3), np.uint8)
    with pytest.raises(InputError, match="array: no frame of this video has a mask"):
        list(cut(ArrayVideo(frames), Cut()))
    masks = np.ones((2, 1, *SIZE), bool)
    with pytest.raises(InputError, match="array, frame 00000: object 300: ids are 1 to 254"):
        list(cut(ArrayVideo(frames, masks, object_ids=(300,)), Cut()))
