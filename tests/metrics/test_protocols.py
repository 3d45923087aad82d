import numpy as np
import pytest

from vosfm.errors import InputError
from vosfm.metrics import protocols

LABELS = np.array([[0, 1, 3], [3, 255, 0]], dtype=np.uint8)


def test_davis2017_counts_to_the_largest_id_without_void() -> None:
    rules = protocols.named("davis2017")
    assert rules.object_ids(LABELS) == (1, 2, 3)
    assert rules.object_ids(np.full((2, 2), 255, dtype=np.uint8)) == ()
    masks = rules.masks(LABELS, (1, 2, 3))
    assert masks.dtype == np.bool_
    assert masks.sum(axis=(1, 2)).tolist() == [1, 0, 2]


def test_davis2017_names_foreign_ids() -> None:
    rules = protocols.named("davis2017")
    assert rules.foreign(LABELS, (1, 2, 3)) == (255,)
    assert rules.foreign(LABELS, (1, 2)) == (3, 255)
    assert rules.foreign(LABELS[:1], (1, 2, 3)) == ()


def test_davis2016_unites_all_that_is_not_background() -> None:
    rules = protocols.named("davis2016")
    assert rules.object_ids(LABELS) == (1,)
    assert rules.object_ids(np.zeros((2, 2), dtype=np.uint8)) == ()
    assert rules.masks(LABELS, (1,)).tolist() == [[[False, True, True], [True, True, False]]]
    assert rules.foreign(LABELS, (1,)) == ()


@pytest.mark.parametrize("name", ["davis2016", "davis2017"])
def test_davis_leaves_out_the_first_and_the_last_frame(name: str) -> None:
    rules = protocols.named(name)
    assert rules.counted([3, 5, 8, 9]) == [5, 8]
    assert len(rules.counted([3, 5])) == 0


def test_every_object_weighs_the_same() -> None:
    rows = {
        key: dict.fromkeys(protocols.COLUMNS, value)
        for key, value in {("a", 1): 0.0, ("a", 2): 0.5, ("b", 1): 1.0}.items()
    }
    assert protocols.named("davis2017").overall(rows)["J&F"] == 0.5
    by_sequence = protocols.mean_by_sequence(rows)
    assert {name: row["F"] for name, row in by_sequence.items()} == {"a": 0.25, "b": 1.0}


def test_youtube_vos_counts_from_after_the_first_frame_to_the_last() -> None:
    rules = protocols.named("youtube_vos")
    assert rules.counted([3, 5, 8, 9]) == [5, 8, 9]
    assert len(rules.counted([9])) == 0


def test_youtube_vos_allows_the_objects_ids_alone() -> None:
    rules = protocols.named("youtube_vos")
    assert rules.foreign(LABELS, (1, 3, 255)) == ()
    assert rules.foreign(LABELS, (3,)) == (1, 255)
    assert rules.masks(LABELS, (3, 2)).sum(axis=(1, 2)).tolist() == [2, 0]


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


def test_no_frames_no_objects_no_score() -> None:
    assert np.isnan(list(protocols.mean_recall_decay(np.empty(0), np.empty(0)).values())).all()
    assert np.isnan(list(protocols.mean_over_objects({}).values())).all()
    assert np.isnan(list(protocols.means(np.empty(0), np.empty(0)).values())).all()
    assert np.isnan(list(protocols.mean_by_category({}, set()).values())).all()


def test_an_unknown_protocol_is_told_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"davis2018: unknown; choose .*davis2016, davis2017"):
        protocols.named("davis2018")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        protocols.register(protocols.davis2017)
