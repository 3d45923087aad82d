"""The class: equal to the official tool, whatever the order, the process and the repeats."""

import socket
from pathlib import Path
from typing import Any

import goldens
import numpy as np
import pytest
import torch

from vosfm.errors import InputError
from vosfm.metrics import VideoSegmentation
from vosfm.metrics.protocols import COLUMNS

Update = dict[str, Any]


def updates() -> list[Update]:
    """The frames of the golden sequences, one update each."""
    golden = goldens.load("davis_sequences")
    calls = []
    for sequence, name in enumerate(golden.hyper["sequences"]):
        target, pred = golden.inputs[f"gt.{name}"], golden.inputs[f"pred.{name}"]
        target = torch.where(target == 255, 0, target)
        ids = list(range(1, int(target[0].max()) + 1))
        of_each = torch.tensor(ids)[:, None, None]
        for frame in range(len(target)):
            masks = {"pred": pred[frame] == of_each, "target": target[frame] == of_each}
            calls.append({**masks, "object_ids": ids, "sequence": sequence, "frame": frame})
    return calls


def expected() -> dict[str, float]:
    names = ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")
    return dict(zip(names, goldens.load("davis_sequences").outputs["global"].tolist(), strict=True))


def assert_equal(metric: VideoSegmentation) -> None:
    values = metric.compute()
    assert tuple(values) == COLUMNS
    for name, value in expected().items():
        assert values[name].item() == pytest.approx(value, abs=1e-9), name


def filled(calls: list[Update], **kwargs: Any) -> VideoSegmentation:
    metric = VideoSegmentation(**kwargs)
    for call in calls:
        metric.update(**call)
    return metric


def test_equals_the_davis_tool() -> None:
    golden = goldens.load("davis_sequences")
    metric = filled(updates())
    assert_equal(metric)
    rows = metric.per_object()
    order = [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert list(rows) == order
    for measure in ("J", "F"):
        columns = (measure, f"{measure}_recall", f"{measure}_decay")
        table = [[rows[key][column] for column in columns] for key in order]
        golden.check(f"{measure}_MRD", torch.tensor(table, dtype=torch.float64))
    means = metric.per_sequence()
    assert list(means) == [0, 1]
    assert means[0]["J"] == pytest.approx((rows[0, 1]["J"] + rows[0, 2]["J"]) / 2)


def test_takes_frames_in_any_order_and_counts_repeats_once() -> None:
    calls = updates()
    shuffled = [calls[at] for at in np.random.default_rng(0).permutation(len(calls))]
    assert_equal(filled([*shuffled, *calls[::3]]))


def test_takes_whole_clips() -> None:
    metric = VideoSegmentation()
    for sequence in (0, 1):
        calls = [call for call in updates() if call["sequence"] == sequence]
        halves = (calls[: len(calls) // 2], calls[len(calls) // 2 :])
        for half, frame in zip(halves, (0, [call["frame"] for call in halves[1]]), strict=True):
            metric.update(
                torch.stack([call["pred"] for call in half]).numpy(),
                torch.stack([call["target"] for call in half]),
                torch.tensor(calls[0]["object_ids"]),
                sequence,
                frame,
            )
    assert_equal(metric)


def test_merges_states_after_computing() -> None:
    calls = updates()
    one, other = filled(calls[::2]), filled(calls[1::2])
    before = one.compute()
    one.merge_state(other)
    assert_equal(one)
    assert before["J"] != one.compute()["J"]
    empty = VideoSegmentation()
    empty.update(**calls[0])
    empty.merge_state(one.metric_state)
    assert_equal(empty)


def test_starts_again_after_reset() -> None:
    calls = updates()
    metric = filled([{**call, "pred": ~call["pred"]} for call in calls])
    metric.compute()
    metric.reset()
    for call in calls:
        metric.update(**call)
    assert_equal(metric)


def test_davis2016_scores_the_union() -> None:
    calls = updates()
    metric = filled(calls, protocol="davis2016")
    united = [
        {**call, "object_ids": [1]}
        | {key: call[key].any(dim=0, keepdim=True) for key in ("pred", "target")}
        for call in calls
    ]
    assert list(metric.per_object()) == [(0, 1), (1, 1)]
    assert metric.compute() == filled(united).compute()
    assert metric.compute() != filled(calls).compute()


def test_void_is_taken_out() -> None:
    calls = updates()
    void = [{**call, "void": (call["pred"] ^ call["target"]).any(dim=0)} for call in calls]
    assert filled(void).compute()["J"] == 1
    stacked = VideoSegmentation()
    for sequence in (0, 1):
        of_one = [call for call in void if call["sequence"] == sequence]
        masks = [torch.stack([call[key] for call in of_one]) for key in ("pred", "target", "void")]
        stacked.update(*masks[:2], of_one[0]["object_ids"], sequence, 0, void=masks[2])
    assert stacked.compute() == filled(void).compute()


def test_official_decay_and_tolerance_are_passed_on() -> None:
    masks = torch.zeros(302, 1, 8, 8, dtype=torch.bool)
    masks[:, :, 2:5, 2:5] = True
    late = masks.clone()
    late[200:] = False
    for official in (False, True):
        metric = VideoSegmentation(official=official)
        metric.update(late, masks, [1], 0, 0)
        assert bool(metric.compute()["J_decay"].isnan()) is official
    moved = masks.roll(2, dims=-1)
    for tolerance, matched in ((1, False), (2, True)):
        metric = VideoSegmentation(tolerance=tolerance)
        metric.update(moved, masks, [1], 0, 0)
        assert bool(metric.compute()["F"] == 1) is matched


def test_without_counted_frames_it_is_nan() -> None:
    call = updates()[0]
    assert filled([call]).compute()["J&F"].isnan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"object_ids": [1]}, "give 2 ids"),
        ({"object_ids": [1, 1]}, "each once"),
        ({"target": torch.zeros(2, 4, 4, dtype=torch.bool)}, "twice"),
        ({"frame": [1, 2]}, "2 frame numbers for 1 frames"),
        ({"void": torch.zeros(3, 4, dtype=torch.bool)}, "void"),
    ],
)
def test_refuses_what_does_not_fit(change: Update, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoSegmentation().update(**(updates()[0] | change))
    with pytest.raises(InputError, match="unknown"):
        VideoSegmentation("davis")


def gathered(rank: int, world: int, port: int, folder: str) -> None:
    """One process: its share of the frames, filled up with repeats as a sampler does."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    calls = updates()
    uneven = filled(calls[rank::world] + ([calls[0]] if rank else []))
    answers: list[Any] = [uneven.compute(), uneven.per_object(), uneven.per_sequence()]
    one_has_all = filled(calls if rank else [])
    answers.append(one_has_all.compute())
    one_has_all.update(**calls[0])  # a repeat, after a sync
    answers.append(one_has_all.compute())
    torch.save(answers, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_score_as_one(tmp_path: Path, port: int) -> None:
    # Forked, since importing everything again takes ten times as long as the test.
    arguments = (2, port, str(tmp_path))
    torch.multiprocessing.start_processes(gathered, arguments, nprocs=2, start_method="fork")
    alone = filled(updates())
    for rank in (0, 1):
        uneven, rows, means, one_has_all, again = torch.load(
            tmp_path / f"{rank}.pt", weights_only=False
        )
        assert uneven == one_has_all == again == alone.compute()
        assert rows == alone.per_object()
        assert means == alone.per_sequence()
        for name, value in expected().items():
            assert uneven[name].item() == pytest.approx(value, abs=1e-9)
