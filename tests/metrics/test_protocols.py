from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vosfm.data import Mask, write_labels
from vosfm.data.formats.format import FORMATS
from vosfm.data.index_truth import IndexTruth, UnitedTruth, up_to_largest
from vosfm.data.truth import Truth
from vosfm.errors import InputError
from vosfm.metrics import protocols
from vosfm.metrics.results import IndexResults, foreign

LABELS = np.array([[0, 1, 3], [3, 255, 0]], dtype=np.uint8)


class Sketch(Truth):
    """A truth without masks: object 1 is given at place 0, object 2 at place 2."""

    def __init__(self, frames: int, ranges: dict[int, tuple[int, ...]] | None = None) -> None:
        self.frame_names = tuple(map(str, range(frames)))
        self.object_ids = (1, 2)
        self.starts = {1: 0, 2: 2}
        self.ranges = ranges

    def masks(self, place: int) -> Mask:
        raise NotImplementedError


def truth(folder: Path, labels: np.ndarray = LABELS) -> IndexTruth:
    write_labels(folder / "00000.png", labels)
    return IndexTruth(folder, up_to_largest)


def counted(name: str, sketch: Truth, object_id: int = 1) -> list[int]:
    return list(protocols.named(name).counted(sketch, object_id))


def test_davis2017_counts_to_the_largest_id_without_void(tmp_path: Path) -> None:
    one = truth(tmp_path)
    assert one.object_ids == (1, 2, 3)
    assert one.masks(0).dtype == np.bool_
    assert one.masks(0).sum(axis=(1, 2)).tolist() == [1, 0, 2]
    assert truth(tmp_path, np.full((2, 2), 255, dtype=np.uint8)).object_ids == ()


def test_foreign_ids_are_named() -> None:
    assert foreign(LABELS, (1, 2, 3)) == (255,)
    assert foreign(LABELS, (1, 2)) == (3, 255)
    assert foreign(LABELS[:1], (1, 2, 3)) == ()
    assert foreign(LABELS, (1, 3, 255)) == ()
    assert foreign(LABELS, (3,)) == (1, 255)


def test_davis2016_unites_all_that_is_not_background(tmp_path: Path) -> None:
    rules = protocols.named("davis2016")
    united = UnitedTruth(truth(tmp_path))
    assert united.object_ids == (1,)
    expected = [[[False, True, True], [True, True, False]]]
    assert united.masks(0).tolist() == expected
    results = IndexResults(tmp_path, (1,), rules.told_by, rules.union)
    assert results.masks("00000", [1], LABELS.shape).tolist() == expected
    assert UnitedTruth(truth(tmp_path, np.zeros((2, 2), dtype=np.uint8))).object_ids == ()


@pytest.mark.parametrize("name", ["davis2016", "davis2017", "long_videos"])
def test_davis_leaves_out_the_first_and_the_last_frame(name: str) -> None:
    assert counted(name, Sketch(4)) == counted(name, Sketch(4), 2) == [1, 2]
    assert counted(name, Sketch(2)) == []


def test_youtube_vos_counts_from_after_the_first_frame_to_the_last() -> None:
    assert counted("youtube_vos", Sketch(5)) == [1, 2, 3, 4]
    assert counted("youtube_vos", Sketch(5), 2) == [3, 4]
    assert counted("youtube_vos", Sketch(3), 2) == []


@pytest.mark.parametrize("name", ["mose", "pumavos"])
def test_mose_leaves_out_the_last_frame(name: str) -> None:
    assert counted(name, Sketch(5)) == [1, 2, 3]
    assert counted(name, Sketch(5), 2) == [3]
    assert counted(name, Sketch(2), 2) == []


@pytest.mark.parametrize("name", ["lvos", "sav"])
def test_ranges_lose_their_own_ends(name: str) -> None:
    sketch = Sketch(6, {1: (0, 2, 3, 5), 2: (2, 3)})
    assert counted(name, sketch) == [2, 3]
    assert counted(name, sketch, 2) == []


def test_every_object_weighs_the_same() -> None:
    rows = {
        key: dict.fromkeys(protocols.COLUMNS, value)
        for key, value in {("a", 1): 0.0, ("a", 2): 0.5, ("b", 1): 1.0}.items()
    }
    assert protocols.named("davis2017").overall(rows, None)["J&F"] == 0.5
    by_sequence = protocols.mean_by_sequence(rows)
    assert {name: row["F"] for name, row in by_sequence.items()} == {"a": 0.25, "b": 1.0}


def test_youtube_vos_averages_seen_and_unseen_apart() -> None:
    scores = {("a", 1): (0.9, 0.8), ("a", 2): (0.7, 0.4), ("b", 1): (0.5, 0.3)}
    rows = {
        key: protocols.means(np.array([j, j]), np.array([f - 0.1, f + 0.1]))
        for key, (j, f) in scores.items()
    }
    whole = protocols.named("youtube_vos").overall(rows, {("b", 1), ("c", 1)})
    assert list(whole) == ["G", "J_seen", "J_unseen", "F_seen", "F_unseen", "J&F", "J", "F"]
    expected = {"J_seen": 0.8, "J_unseen": 0.5, "F_seen": 0.6, "F_unseen": 0.3, "G": 0.55}
    expected |= {"J": 0.7, "F": 0.5, "J&F": 0.6}
    assert whole == pytest.approx(expected)
    one_kind = protocols.named("youtube_vos").overall(rows, set())
    assert one_kind["J_seen"] == pytest.approx(0.7)
    assert np.isnan([one_kind[name] for name in ("G", "J_unseen", "F_unseen")]).all()


def test_an_object_counts_from_where_it_is_first_seen() -> None:
    rules = protocols.named("sav")
    j = np.array([1.0, 0.0, 0.5])
    seen, hidden = np.array([False, False, True]), np.zeros(3, bool)
    row = rules.row(j, j, shown=seen, found=hidden)
    assert row is not None
    assert row["J"] == 0.5
    early = rules.row(j, j, shown=seen, found=np.array([False, True, False]))
    assert early is not None
    assert early["J"] == 0.25
    assert rules.row(j, j, shown=hidden, found=seen) is None
    assert protocols.named("mose").row(j, j, shown=hidden, found=hidden) == {
        "J&F": 0.5,
        "J": 0.5,
        "F": 0.5,
    }


def test_no_frames_no_objects_no_score() -> None:
    nothing = np.empty(0)
    for statistics in (
        protocols.mean_recall_decay,
        protocols.means,
        protocols.means_and_stability,
    ):
        assert np.isnan(list(statistics(nothing, nothing).values())).all()
    assert np.isnan(list(protocols.mean_over_objects({}).values())).all()
    assert np.isnan(list(protocols.mean_by_category({}, set()).values())).all()
    for unseen in (None, set()):
        assert np.isnan(list(protocols.mean_of_kinds({}, unseen).values())).all()


def test_every_protocol_names_a_format_and_says_its_rules() -> None:
    for name, rules in protocols.PROTOCOLS.items():
        assert rules.name == name
        assert rules.format in FORMATS
        assert rules.rules.endswith(".")


def test_an_unknown_protocol_is_told_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"davis2018: unknown; choose .*davis2016, davis2017"):
        protocols.named("davis2018")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        protocols.register(protocols.davis2017)
