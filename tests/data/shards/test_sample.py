"""A clip of a shard as a video."""

from __future__ import annotations

import gc
import json
import pickle
import struct
import weakref
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from packed import SIZE, NotedVideo

from vosfm.data.shards import columns as columns_module
from vosfm.data.shards.cutting import Cut, cut
from vosfm.data.shards.sample import Packed, PackedVideo, SampleError
from vosfm.errors import InputError


def sample(**how: Any) -> Packed:
    (packed, *_) = cut(NotedVideo(), Cut(**how))
    return replace(packed, shard=3, place=7, origin="shard-000003.tar")


def changed(name: str, change: Callable[[bytes], bytes]) -> PackedVideo:
    """A clip of which one member is another."""
    packed = sample()
    members = [(n, change(data) if n == name else data) for n, data in packed.members]
    return PackedVideo(replace(packed, members=tuple(members)))


def told(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(json.loads(data) | fields).encode()


def test_masks_ids_void_and_qualities_survive() -> None:
    before, after = NotedVideo(), PackedVideo(sample())
    assert (after.name, after.source, after.size) == ("noted", "noted", SIZE)
    assert after.frame_names == before.frame_names
    assert after.annotated() == after.reported() == (0, 1, 2, 3)
    for index in range(4):
        note, kept = before.annotation(index), after.annotation(index)
        assert kept is not None
        assert kept.object_ids == ((2, 5, 200) if index == 0 else (2, 5))
        np.testing.assert_array_equal(kept.masks, note.masks[: len(kept.masks)])
        assert kept.masks.all(0).any(), "they overlap, and still do"
        assert (kept.void is None) == (index != 1)
        seen = zip(note.object_ids, note.masks.sum((1, 2)).tolist(), strict=True)
        assert after.areas(index) == {i: n for i, n in seen if n}
        assert after.quality(index) == pytest.approx(before.quality(index))
    np.testing.assert_array_equal(after.annotation(1).void, before.void)  # type: ignore[union-attr]
    assert not after.lists_areas


def test_pictures_are_those_that_were_packed() -> None:
    before, after = NotedVideo(), PackedVideo(sample(quality=100))
    kept = list(after.frames())
    for frame, again in zip(before.frames(), kept, strict=True):
        assert np.abs(frame.astype(int) - again).max() <= 2
    np.testing.assert_array_equal(next(after.frames(2)), kept[2])


def test_only_the_masks_asked_for_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    after, asked = PackedVideo(sample()), []
    decode = columns_module.decode

    def counted(rle: Any, whose: str) -> Any:
        asked.append(whose)
        return decode(rle, whose)

    monkeypatch.setattr(columns_module, "decode", counted)
    monkeypatch.setattr("vosfm.data.shards.sample.decode_image", None)
    assert set(after.areas(0)) == {2, 5, 200}
    assert after.quality(0) is not None
    assert asked == []
    masks = after.masks_of(1, [200, 5])
    np.testing.assert_array_equal(masks[1], NotedVideo().annotation(1).masks[1])
    assert not masks[0].any(), "out of sight"
    assert asked == ["shard-000003.tar: noted.00001.masks, object 5"]


def test_the_truth_can_be_sent_to_other_processes() -> None:
    truth = pickle.loads(pickle.dumps(PackedVideo(sample()).truth))
    assert (truth.name, truth.object_ids, truth.starts) == (
        "noted",
        (2, 5, 200),
        {2: 0, 5: 0, 200: 0},
    )
    assert truth.overlapping
    np.testing.assert_array_equal(truth.masks(2)[:2], NotedVideo().annotation(2).masks[:2])
    assert not truth.masks(2)[2].any()
    np.testing.assert_array_equal(truth.void(1), NotedVideo().void)
    assert truth.void(0) is None


def test_no_cycle_keeps_the_bytes_of_a_clip() -> None:
    gc.disable()
    try:
        video = PackedVideo(sample())
        assert video.truth.masks(0).any()
        gone = weakref.ref(video)
        del video
        assert gone() is None
    finally:
        gc.enable()


def huge(data: bytes) -> bytes:
    """A JPEG that declares 65500 x 65500 pixels."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", 65500, 65500) + data[at + 9 :]


def hidden(data: bytes) -> bytes:
    """One whose size lies behind a marker that a decoder passes over and a header does not have."""
    small = b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", *SIZE) + b"\x01\x01\x11\x00"
    lure = b"\xff\x01" + len(small).to_bytes(2, "big") + small
    return data[:2] + lure + huge(data[2:])


def twice(data: bytes) -> bytes:
    """One that declares two sizes, first the right one."""
    at = data.index(b"\xff\xc0")
    return data[:at] + data[at : at + 19] + huge(data[at:])


@pytest.mark.parametrize("change", [huge, hidden, twice, lambda data: b"\x80\x04cos\nsystem\n."])
def test_a_declared_size_is_looked_at_before_decoding(
    change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = changed("00001.jpg", change)
    decoded = []
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(arguments))
    with pytest.raises(SampleError, match=r"noted.00001.jpg: not a JPEG of 24 x 32") as caught:
        next(video.frames(1))
    assert (caught.value.shard, caught.value.place) == (3, 7)
    assert not decoded


def test_a_png_is_no_jpeg() -> None:
    png = cv2.imencode(".png", np.zeros((*SIZE, 3), np.uint8))[1].tobytes()
    with pytest.raises(SampleError, match="not a JPEG"):
        next(changed("00000.jpg", lambda data: png).frames())


def test_a_picture_that_is_cut_off_spares_the_others() -> None:
    video = changed("00001.jpg", lambda data: data[:-40])
    next(video.frames(0))
    next(video.frames(2))
    with pytest.raises(SampleError, match=r"00001.jpg: the picture is truncated"):
        next(video.frames(1))


def test_masks_that_are_damaged() -> None:
    video = changed("00002.masks", lambda data: zlib.compress(b"{}"))
    assert video.areas(1)
    for ask in (video.areas, video.annotation, video.quality):
        with pytest.raises(SampleError, match=r"shard-000003.tar: noted.00002.masks: not a run-"):
            ask(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"{", "damaged JSON"),
        (lambda data: b"[" * 100_000, "damaged JSON"),
        (told(version=2), "not of version 1"),
        (told(size=[50000, 20000]), "declares a mask of 50000 x 20000"),
        (told(size=[16000, 16000]), "declares frames of 16000 x 16000"),
        (told(size=[-1, 5]), "not a run-length mask"),
        (told(frames=[]), '"annotated" are not'),
        (told(frames=[], annotated=[], numbers=[], ids=[], starts=[]), "do not fit"),
        (told(frames=[1, 2, 3, 4]), '"frames" is 1'),
        (told(annotated=[0, 1, 2, 4]), '"annotated" are not'),
        (told(annotated=[0, 2, 1, 3]), '"annotated" do not ascend'),
        (told(numbers=[0]), '"numbers" are not 4'),
        (told(ids=[0, 5, 200]), "do not fit"),
        (told(ids=[2, 5, 255]), '"ids" are not'),
        (told(starts=[0, 0, 4]), '"starts" are not'),
        (told(ranges=[[0], [1]]), "do not fit"),
        (told(ranges=[[0], [1], [4]]), '"ranges" are not'),
        (told(video=3), '"video" is 3'),
        (told(captions={"2": 5}), '"captions" is 5'),
    ],
)
def test_descriptions_that_are_wrong(change: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(SampleError, match=message) as caught:
        changed("json", change)
    assert "noted.json" in str(caught.value)


def test_a_missing_member() -> None:
    packed = sample()
    members = tuple(member for member in packed.members if member[0] != "00001.masks")
    video = PackedVideo(replace(packed, members=members))
    with pytest.raises(SampleError, match=r"noted.00001.masks: missing"):
        video.areas(1)


def test_an_error_can_be_sent_to_other_processes() -> None:
    error = pickle.loads(pickle.dumps(SampleError("broken", 1, 2)))
    assert isinstance(error, InputError)
    assert (str(error), error.shard, error.place) == ("broken", 1, 2)
    assert SampleError("broken").place == -1, "as a loader makes it again, of its message alone"
