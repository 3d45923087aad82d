"""VIPSeg in miniature, read as VOSW: what its panoptic masks become, and how they score."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import run_config
from numpy.typing import NDArray
from PIL import Image
from squares import OFF, SIZE, Corner, save_frame, save_index, square

from vosfm.data import VOSW
from vosfm.data.formats.format import format_named
from vosfm.data.panoptic_truth import PanopticTruth
from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.evaluate import evaluate

NAMES = tuple(f"{number:08d}" for number in range(1, 5))
SKY, CAT, DOG, STRAY = 29, 7400, 7501, 200

VIDEOS: dict[str, list[dict[int, Corner]]] = {
    "1_-a": [
        {SKY: (0, 0), CAT: (30, 2)},
        {SKY: (0, 2), CAT: (30, 4), DOG: (30, 44)},
        {SKY: (0, 4), CAT: (30, 6), DOG: (30, 46)},
        {SKY: (0, 6), DOG: (30, 47), STRAY: (20, 20)},
    ],
    "2_b": [{CAT: (10, 10)}, {CAT: (10, 12)}, {CAT: (10, 14)}, {CAT: (10, 16)}],
}
"""Video -> value of the panoptic masks -> its square, for each frame."""


def panoptic(squares: dict[int, Corner]) -> NDArray[np.uint16]:
    labels = np.zeros(SIZE, np.uint16)
    for value, corner in squares.items():
        labels[square(corner)] = value
    return labels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "VIPSeg"
    for video, frames in VIDEOS.items():
        (root / "panomasks" / video).mkdir(parents=True)
        for index, (name, squares) in enumerate(zip(NAMES, frames, strict=True)):
            save_frame(root / "imgs" / video / f"{name}.jpg", index)
            save(root, video, name, panoptic(squares))
    (root / "videos.txt").write_text("2_b\n1_-a\n")
    (root / "val.txt").write_text("2_b\n")
    categories = [(28, "sky", 0), (73, "cat", 1), (74, "dog", 1)]
    told = [{"id": i, "name": name, "isthing": thing} for i, name, thing in categories]
    (root / "panoVIPSeg_categories.json").write_text(json.dumps(told))
    return root


def save(root: Path, video: str, name: str, labels: NDArray[np.uint16]) -> None:
    Image.fromarray(labels).save(root / "panomasks" / video / f"{name}.png")


def truth_of(root: Path, video: str = "1_-a", **choices: float) -> PanopticTruth:
    return VOSW(root, **choices).truth(video)  # type: ignore[arg-type]


def named(truth: Truth) -> dict[str, int]:
    """Category -> object id."""
    return {name: i for i, name in truth.captions.items()}


def test_things_and_stuff_are_objects(root: Path) -> None:
    videos = VOSW(root)
    assert videos.names == ("2_b", "1_-a")
    video = videos[1]
    assert (video.frame_names, video.size) == (NAMES, SIZE)
    ids = named(video.truth)
    assert sorted(ids) == ["cat", "dog", "sky"]
    assert sorted(ids.values()) == [1, 2, 3]
    given = video.prompts()
    assert {frame: set(masks) for frame, masks in given.items()} == {
        0: {ids["sky"], ids["cat"]},
        1: {ids["dog"]},
    }
    assert np.array_equal(given[1][ids["dog"]], square((30, 44)))
    assert np.array_equal(given[0][ids["sky"]], square((0, 0)))


def test_the_stray_value_of_vipseg_and_its_void_are_no_object(root: Path) -> None:
    truth = truth_of(root)
    assert len(truth.object_ids) == 3
    void = truth.void(3)
    assert void is not None
    assert np.array_equal(void, ~(square((0, 6)) | square((30, 47))))
    assert void[20:36, 20:36].all()
    full = np.full(SIZE, SKY, np.uint16)
    save(root, "1_-a", NAMES[0], full)
    assert truth_of(root).void(0) is None


def test_ids_are_shuffled_by_seed_and_name(root: Path) -> None:
    orders = {tuple(sorted(named(truth_of(root, seed=seed)).items())) for seed in range(20)}
    assert len(orders) == 6
    assert named(truth_of(root, seed=3)) == named(truth_of(root, seed=3))
    folder = root / "panomasks"
    for number in range(20):
        shutil.copytree(folder / "1_-a", folder / f"{number}")
    names = {tuple(sorted(named(truth_of(root, f"{number}")).items())) for number in range(20)}
    assert len(names) == 6


def test_small_parts_are_dropped(root: Path) -> None:
    """A frame has 48 * 64 = 3072 pixels, so that 0.002 of it are 6.1: parts of 6 are noise.

    The cat gets a part of 6 pixels, of which two touch by a corner alone, and one of 7; the dog
    starts with 6 pixels alone, in frame 0, where it is not seen then.
    """
    labels = panoptic(VIDEOS["1_-a"][0])
    small, large = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    small[20, 30:33] = small[21, 33:36] = True
    large[25, 30:37] = True
    labels[small | large] = CAT
    labels[0:2, 60:63] = DOG
    save(root, "1_-a", NAMES[0], labels)
    truth = truth_of(root, noise=0.002)
    ids = named(truth)
    assert truth.starts == {ids["sky"]: 0, ids["cat"]: 0, ids["dog"]: 1}
    masks = dict(zip(truth.object_ids, truth.masks(0), strict=True))
    assert np.array_equal(masks[ids["cat"]], square((30, 2)) | large)
    assert not masks[ids["dog"]].any()
    void = truth.void(0)
    assert void is not None
    assert void[small].all()
    assert void[0:2, 60:63].all()
    kept = truth_of(root, noise=0.0019)
    assert kept.starts[named(kept)["dog"]] == 0
    masks = dict(zip(kept.object_ids, kept.masks(0), strict=True))
    assert np.array_equal(masks[named(kept)["cat"]], square((30, 2)) | large | small)


def test_the_truth_needs_no_pictures(root: Path) -> None:
    shutil.rmtree(root / "imgs")
    (truth,) = format_named("vosw").truths(root, None, ["1_-a"])
    truth = pickle.loads(pickle.dumps(truth))
    assert (truth.name, truth.frame_names, truth.length) == ("1_-a", NAMES, 4)
    assert not truth.overlapping
    cat = truth.object_ids.index(named(truth)["cat"])
    assert not truth.masks(3)[cat].any()
    with pytest.raises(InputError, match=r"no folder imgs or images with frames"):
        VOSW(root)[0]


def test_at_720p(root: Path) -> None:
    """Brought to 720p by VIPSeg's script, frames lie in another folder."""
    (root / "imgs").rename(root / "images")
    assert len(list(VOSW(root)[1].frames())) == 4


def test_colors_where_there_is_nothing_else(root: Path) -> None:
    """VIPSeg's script gives each value a color; red 1, green 2, blue 3 is 1 + 2 * 256 + ..."""
    for video, frames in VIDEOS.items():
        folder = root / "panomasksRGB" / video
        folder.mkdir(parents=True)
        for name, squares in zip(NAMES, frames, strict=True):
            colors = np.zeros((*SIZE, 3), np.uint8)
            for value, corner in squares.items():
                if value != STRAY:
                    colors[square(corner)] = value % 251, value % 7, value % 241
            Image.fromarray(colors).save(folder / f"{name}.png")
    expected = [truth_of(root).masks(place) for place in range(4)]
    shutil.rmtree(root / "panomasks")
    truth = truth_of(root)
    assert truth.captions == {}
    assert sorted(truth.starts.values()) == [0, 0, 1]
    for place in range(4):
        found = {mask.tobytes() for mask in truth.masks(place)}
        assert found == {mask.tobytes() for mask in expected[place]}


def test_scores_by_hand(root: Path, tmp_path: Path) -> None:
    """Every object counts from the frame after its first to the last.

    Sky: right, one pixel off, not found: J = (1 + 15/17 + 0) / 3, F = 2/3. The cat of the first
    video: right, somewhere else, and not found where it is out of sight: J = F = 2/3. The dog, from
    frame 2 on: right twice: 1. The cat of the other video: right in all: 1.
    """
    ids = named(truth_of(root))
    sky, cat, dog = ids["sky"], ids["cat"], ids["dog"]
    save_index(
        tmp_path / "results" / "1_-a",
        {
            NAMES[1]: {sky: (0, 2), cat: (30, 4)},
            NAMES[2]: {sky: (0, 5), cat: (20, 26), dog: (30, 46)},
            NAMES[3]: {dog: (30, 47)},
        },
    )
    save_index(
        tmp_path / "results" / "2_b",
        {name: {1: VIDEOS["2_b"][at][CAT]} for at, name in enumerate(NAMES)},
    )
    scores = evaluate(root, tmp_path / "results", "vosw")
    assert scores.objects["1_-a", sky]["J"] == pytest.approx((1 + OFF) / 3)
    assert scores.objects["1_-a", sky]["F"] == pytest.approx(2 / 3)
    assert scores.objects["1_-a", cat]["J&F"] == pytest.approx(2 / 3)
    assert scores.objects["1_-a", dog] == {"J": 1, "F": 1, "J&F": 1}
    assert scores.objects["2_b", 1] == {"J": 1, "F": 1, "J&F": 1}
    assert scores.overall["J"] == pytest.approx(((1 + OFF) / 3 + 2 / 3 + 1 + 1) / 4)
    assert evaluate(root, tmp_path / "results", "vosw", split="val").overall["J"] == 1


def test_more_objects_than_results_hold(root: Path) -> None:
    """256 things of a pixel each in the first frame."""
    labels = panoptic({})
    labels[:4, :64] = np.arange(100, 356).reshape(4, 64) + 7000
    save(root, "1_-a", NAMES[0], labels)
    with pytest.raises(InputError, match=r"1_-a: \d+ objects, but results hold 254; raise the noi"):
        truth_of(root).object_ids  # noqa: B018
    assert len(truth_of(root, noise=0.002).object_ids) == 3


def test_damage_is_told(root: Path) -> None:
    path = root / "panomasks" / "1_-a" / f"{NAMES[1]}.png"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:60] + b"\0\0" + content[62:], b"x"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{NAMES[1]}.png: no PNG, or a damaged one"):
            truth_of(root).object_ids  # noqa: B018
    Image.fromarray(np.zeros((3, 5), np.uint16)).save(path)
    with pytest.raises(InputError, match=rf"{NAMES[1]}.png: the mask measures 3 x 5"):
        truth_of(root).object_ids  # noqa: B018
    Image.fromarray(np.full(SIZE, 12500, np.uint16)).save(path)
    with pytest.raises(InputError, match=r"holds 12500, but the values of VIPSeg end at 12499"):
        truth_of(root).object_ids  # noqa: B018
    Image.fromarray(np.zeros((*SIZE, 4), np.uint8)).save(path)
    with pytest.raises(InputError, match=r"a PNG of kind RGBA, not a panoptic mask"):
        truth_of(root).object_ids  # noqa: B018


def test_lists_are_files_that_users_give(root: Path) -> None:
    assert VOSW(root, "val").names == ("2_b",)
    with pytest.raises(InputError, match=r"the list val has no video 1_-a; it has 1"):
        VOSW(root, "val", sequences=["1_-a"]).names  # noqa: B018
    (root / "videos.txt").write_text("2_b\n3_c\n")
    with pytest.raises(InputError, match=r"1 of the 2 videos of the list videos are missing"):
        VOSW(root).names  # noqa: B018
    (root / "videos.txt").write_text("../2_b\n")
    with pytest.raises(InputError, match=r"'../2_b' is not the name of one folder"):
        VOSW(root).names  # noqa: B018
    (root / "videos.txt").write_text("\n")
    with pytest.raises(InputError, match=r"videos.txt: lists no video"):
        VOSW(root).names  # noqa: B018
    (root / "videos.txt").unlink()
    with pytest.raises(InputError, match=r"were never published, so write them there.*: val"):
        VOSW(root).names  # noqa: B018


def test_wrong_layouts_are_recognised(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"looks like VOSW \(VIPSeg; read it as vosw\)"):
        format_named("mug_vos").truths(root, None, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"not laid out as VOSW, it has no folder panomasks"):
        VOSW(tmp_path / "empty").names  # noqa: B018


def test_the_config_runs(root: Path) -> None:
    run_config("vosw", root)
