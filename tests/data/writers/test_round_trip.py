"""Truth -> another layout -> truth: masks, ids and starts are the same, for random truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from truths import Box, MemoryTruth, boxes

import vosfm.data.formats  # noqa: F401  # fills the registry
from vosfm.data.formats.format import FORMATS
from vosfm.data.truth import Truth
from vosfm.data.writers import WRITERS, Plan
from vosfm.data.writers.losses import losses
from vosfm.errors import InputError

A: Box = (0, 0, 10, 10)
B: Box = (20, 20, 5, 9)
SPLITS: Mapping[str, str | None] = {
    "davis": "2017/val",
    "youtube_vos": "valid",
    "sav": "val",
    "mug_vos": None,
}


def write(root: Path, layout: str, *truths: Truth) -> tuple[list[Plan], list[Truth]]:
    """Write truths, and read them again."""
    writer = WRITERS[layout](root, SPLITS[layout])
    plans = [writer.plan(truth) for truth in truths]
    for truth, plan in zip(truths, plans, strict=True):
        folder = writer.masks / plan.name
        folder.mkdir(parents=True)
        assert writer.write(truth, plan, folder) == []
    writer.finish(truths, plans)
    names = [plan.name for plan in plans]
    back = {one.name: one for one in FORMATS[layout].truths(root, SPLITS[layout], names)}
    return plans, [back[name] for name in names]


def scattered(seed: int, layout: str, name: str = "clip") -> MemoryTruth:
    """Noise as masks; of objects that overlap where the layout can hold it.

    Ids and numbers have gaps, objects start later, vanish, and are not spoken of in some frames,
    as far as the layout can hold it.
    """
    generator = np.random.default_rng(seed)
    frames, objects = (int(generator.integers(1, most)) for most in (7, 6))
    size = tuple(generator.integers(6, 40, 2))
    folders = layout in ("sav", "mug_vos")
    highest = objects if layout == "davis" else 254
    ids = sorted(generator.choice(np.arange(1, highest + 1), objects, replace=False).tolist())
    numbers = np.cumsum(generator.integers(1, 6, frames)).tolist()
    starts = generator.integers(0, frames, objects) * (layout != "davis")
    if folders:
        masks = generator.random((frames, objects, *size)) > generator.random()
    else:
        owner = generator.integers(0, objects + 1, (frames, *size))
        owner[:, 0] = 0
        masks = owner[:, None] == np.arange(1, objects + 1)[:, None, None]
    masks &= (generator.random((frames, objects)) > 0.2)[..., None, None]
    for row, start in enumerate(starts):
        masks[:start, row] = False
        masks[start, row, 0, row] = True
    ranges = {i: tuple(range(start, frames)) for i, start in zip(ids, starts, strict=True)}
    if folders:
        for object_id, own in ranges.items():
            heard = [p for p in own[1:] if generator.random() > 0.2]
            ranges[object_id] = (own[0], *heard)
            silent = [p for p in range(frames) if p not in ranges[object_id]]
            masks[silent, ids.index(object_id)] = False
    spoken = sorted(set().union(*ranges.values()))
    return MemoryTruth(
        masks[spoken],
        ids,
        name=name,
        starts={i: spoken.index(start) for i, start in zip(ids, starts.tolist(), strict=True)},
        ranges={i: tuple(map(spoken.index, own)) for i, own in ranges.items()},
        numbers=[numbers[place] for place in spoken],
        overlapping=folders,
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("layout", WRITERS)
def test_random_truths(layout: str, seed: int, tmp_path: Path) -> None:
    truths = [scattered(100 * seed + index, layout, f"clip{index}") for index in range(3)]
    plans, back = write(tmp_path, layout, *truths)
    assert losses(truths, plans, back) == []
    for truth, after in zip(truths, back, strict=True):
        assert after.name == truth.name
        assert after.object_ids == truth.object_ids
        assert after.starts == truth.starts
        assert after.frame_names == truth.frame_names
        assert after.numbers == truth.numbers
        assert after.overlapping == truth.overlapping
        for place in range(len(truth.frame_names)):
            assert after.ids(place) == truth.ids(place)
            np.testing.assert_array_equal(after.masks(place), truth.masks(place))
            assert after.void(place) is None


@pytest.mark.parametrize("layout", ["davis", "youtube_vos"])
def test_void(layout: str, tmp_path: Path) -> None:
    void = np.zeros((2, 40, 50), np.bool_)
    void[1, 30:] = True
    truth = MemoryTruth(boxes([A, A], [B, None]), [1, 2], void=void)
    _, (after,) = write(tmp_path, layout, truth)
    assert after.void(0) is None
    np.testing.assert_array_equal(after.void(1), void[1])
    np.testing.assert_array_equal(after.masks(1), truth.masks(1))


def test_overlap_in_an_index_mask(tmp_path: Path) -> None:
    truth = MemoryTruth(boxes([A, A], [B, (5, 5, 3, 3)]), [4, 9])
    with pytest.raises(InputError, match=r"clip, frame 00001: objects 4 and 9 overlap, .* sav"):
        write(tmp_path, "youtube_vos", truth)
    void = np.zeros((1, 40, 50), np.bool_)
    void[0, 3] = True
    with pytest.raises(InputError, match="overlaps with void"):
        write(tmp_path / "other", "davis", MemoryTruth(boxes([A]), [1], void=void))


@pytest.mark.parametrize("layout", WRITERS)
def test_too_many_objects(layout: str, tmp_path: Path) -> None:
    most = MemoryTruth(np.eye(254, dtype=np.bool_).reshape(1, 254, 2, 127), range(2, 256))
    plans, (after,) = write(tmp_path, layout, most)
    assert plans[0].object_ids == {i + 1: i for i in range(1, 255)}
    np.testing.assert_array_equal(after.masks(0), most.masks(0))
    more = MemoryTruth(np.ones((1, 255, 1, 1), np.bool_), range(1, 256))
    with pytest.raises(InputError, match=f"clip: 255 objects, but {layout} holds 254"):
        WRITERS[layout](tmp_path, SPLITS[layout]).plan(more)


@pytest.mark.parametrize(
    ("layout", "ids", "renumbered"),
    [
        ("davis", [1, 2], [1, 2]),
        ("davis", [1, 3], [1, 2]),
        ("youtube_vos", [1, 254], [1, 254]),
        ("youtube_vos", [0, 7], [1, 2]),
        ("sav", [1, 254], [1, 254]),
        ("sav", [7, 255], [1, 2]),
        ("mug_vos", [1, 254], [1, 254]),
        ("mug_vos", [0, 3], [1, 2]),
    ],
)
def test_ids_are_kept_where_they_can_be(
    layout: str, ids: list[int], renumbered: list[int], tmp_path: Path
) -> None:
    truth = MemoryTruth(boxes([A, None], [B, A]), ids)
    plans, (after,) = write(tmp_path, layout, truth)
    assert plans[0].object_ids == dict(zip(ids, renumbered, strict=True))
    assert list(after.object_ids) == renumbered
    np.testing.assert_array_equal(after.masks(1), truth.masks(1))


@pytest.mark.parametrize(
    ("layout", "names", "written"),
    [
        ("davis", ["frame08", "frame12"], ["frame08", "frame12"]),
        ("davis", ["8", "12"], ["00030", "00031"]),
        ("davis", ["12", "8"], ["00030", "00031"]),
        ("sav", ["12", "08"], ["00030", "00031"]),
        ("youtube_vos", ["00000001", "00000006"], ["00000001", "00000006"]),
        ("mug_vos", ["00000001", "00000006"], ["00001", "00006"]),
        ("mug_vos", ["8", "12"], ["00008", "00012"]),
        ("mug_vos", ["frame08", "frame12"], ["00030", "00031"]),
    ],
)
def test_frames_are_named_in_the_order_of_time(
    layout: str, names: list[str], written: list[str], tmp_path: Path
) -> None:
    truth = MemoryTruth(boxes([A, B]), [1], frame_names=names, numbers=[30, 31])
    plans, (after,) = write(tmp_path, layout, truth)
    assert list(plans[0].frame_names) == list(after.frame_names) == written
    np.testing.assert_array_equal(after.masks(0), truth.masks(0))


def test_frames_that_cannot_be_ordered(tmp_path: Path) -> None:
    truth = MemoryTruth(boxes([A, B]), [1], frame_names=["b", "a"], numbers=[4, 4])
    with pytest.raises(InputError, match="neither the names of its frames nor their numbers"):
        write(tmp_path, "davis", truth)


def test_pictures_between_annotated_frames(tmp_path: Path) -> None:
    writer = WRITERS["mug_vos"](tmp_path, None)
    every = [f"img{index}" for index in range(12)]
    truth = MemoryTruth(boxes([A, B]), [1], frame_names=["img2", "img10"], numbers=[2, 10])
    plan = writer.plan(truth, every)
    assert plan.frame_names == ("00002", "00010")
    assert plan.pictures == tuple(f"{index:05d}" for index in range(12))
    elsewhere = MemoryTruth(boxes([A, B]), [1], frame_names=["img2", "img10"], numbers=[4, 20])
    with pytest.raises(InputError, match="img2 is picture 2 and frame 4"):
        writer.plan(elsewhere, every)
    assert writer.plan(elsewhere, ["img2", "img10"]).pictures == ("00004", "00020")
    with pytest.raises(InputError, match="no picture of the frame img10, which has masks"):
        writer.plan(truth, every[:5])


def test_objects_that_start_later(tmp_path: Path) -> None:
    truth = MemoryTruth(boxes([A, A], [None, B]), [1, 2], starts={1: 0, 2: 1})
    with pytest.raises(InputError, match=r"object 2 starts in frame 00001, .* youtube_vos"):
        write(tmp_path, "davis", truth)
    unseen = MemoryTruth(boxes([A, A], [None, B]), [1, 2])
    with pytest.raises(InputError, match="frame 00000: object 2 is not in sight, but DAVIS"):
        write(tmp_path, "davis", unseen)
    with pytest.raises(InputError, match="frame 00000: object 2 is given here but not in sight"):
        write(tmp_path / "other", "mug_vos", unseen)
    with pytest.raises(InputError, match="frame 00000: object 2 is given here but not in sight"):
        write(tmp_path / "another", "youtube_vos", unseen)
    _, (after,) = write(tmp_path / "sav", "sav", unseen)
    assert after.starts == {1: 0, 2: 0}


@pytest.mark.parametrize("layout", WRITERS)
def test_what_is_no_sequence(layout: str, tmp_path: Path) -> None:
    writer = WRITERS[layout](tmp_path, SPLITS[layout])
    with pytest.raises(InputError, match="no object in it"):
        writer.plan(MemoryTruth(boxes([A])[:, :0], []))
    for name in ("a/b", "..", ".hidden", "/a"):
        with pytest.raises(InputError, match="no name for a folder"):
            writer.plan(MemoryTruth(boxes([A]), [1], name=name))


@pytest.mark.parametrize(
    ("layout", "split"),
    [
        ("davis", "val"),
        ("davis", None),
        ("davis", "../val"),
        ("youtube_vos", "2017/val"),
        ("sav", None),
        ("sav", "/val"),
        ("mug_vos", "val"),
    ],
)
def test_splits_that_a_layout_has_not(layout: str, split: str | None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"split {split}"):
        WRITERS[layout](tmp_path, split)


def test_masks_that_nobody_speaks_of(tmp_path: Path) -> None:
    writer = WRITERS["sav"](tmp_path, "val")
    void = np.zeros((2, 40, 50), np.bool_)
    void[0, 30:] = True
    truth = MemoryTruth(boxes([A, A], [B, B]), [1, 2], ranges={1: (0, 1), 2: (0,)}, void=void)
    folder = tmp_path / "clip"
    folder.mkdir()
    lines = writer.write(truth, writer.plan(truth), folder)
    assert [line.partition(": ")[2][:28] for line in lines] == [
        "void pixels in 1 frames; sav",
        "masks of objects 2 in frames",
    ]
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.png")) == [
        "000/00000.png",
        "000/00001.png",
        "001/00000.png",
    ]


def test_starts_that_do_not_begin_the_annotation(tmp_path: Path) -> None:
    truth = MemoryTruth(boxes([A, A]), [1], starts={1: 1}, ranges={1: (0, 1)})
    with pytest.raises(InputError, match="object 1 is given in another frame than its annotation"):
        write(tmp_path, "sav", truth)
    _, (after,) = write(tmp_path, "youtube_vos", truth)
    assert after.starts == {1: 1}


class Told(MemoryTruth):
    """Says more of its objects than their masks."""

    def __init__(self, unseen: Sequence[int], captions: Mapping[int, str]) -> None:
        super().__init__(boxes([A], [B]), [1, 2], attributes=frozenset({"BC"}))
        self.unseen = frozenset(unseen)
        self.captions = captions


def test_categories_tell_the_unseen(tmp_path: Path) -> None:
    truth = Told([2], {1: "dog", 2: "anteater"})
    plans, back = write(tmp_path, "youtube_vos", truth)
    assert back[0].unseen == {2}
    assert back[0].captions == truth.captions
    (lost,) = losses([truth], plans, back)
    assert lost.startswith("1 of 1 sequences lose the challenges that the dataset names")


@pytest.mark.parametrize("captions", [{1: "a brown dog", 2: "anteater"}, {1: "dog"}])
def test_words_that_are_no_category(captions: Mapping[int, str], tmp_path: Path) -> None:
    plans, back = write(tmp_path, "youtube_vos", Told([2], captions))
    assert back[0].unseen is None
    found = "\n".join(losses([Told([2], captions)], plans, back))
    assert "which objects training has not shown" in found
    assert "what is said of the objects in words" in found


def test_losses_of_time(tmp_path: Path) -> None:
    truth = MemoryTruth(
        boxes([A, B, None]),
        [1],
        ranges={1: (0, 2)},
        numbers=[0, 5, 10],
        frame_names=["a", "b", "c"],
        length=40,
    )
    plans, back = write(tmp_path, "davis", truth)
    numbers, ranges = losses([truth], plans, back)
    assert "lose which frames of the video are annotated" in numbers
    assert "lose which frames an object's annotation speaks of" in ranges
    kept = MemoryTruth(boxes([A, B]), [1], numbers=[0, 5], frame_names=["001", "006"], length=9)
    plans, back = write(tmp_path / "kept", "davis", kept)
    (length,) = losses([kept], plans, back)
    assert "how long the video goes on" in length


def test_a_writer_that_does_not_fit_its_reader() -> None:
    truth = MemoryTruth(boxes([A]), [1])
    plan = Plan("clip", {1: 1}, ("00000",), None)
    with pytest.raises(RuntimeError, match="read back"):
        losses([truth], [plan], [MemoryTruth(boxes([A], [B]), [1, 2])])
