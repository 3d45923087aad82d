"""The largest against a sort, and weighted sums against a loop."""

from __future__ import annotations

import pytest
import torch

from vosfm.ops.top_k import bags, gather, largest


@pytest.mark.parametrize(
    ("count", "k"), [(5, 5), (40, 1), (640, 3), (655, 3), (641, 20), (639, 20), (1000, 30)]
)
@pytest.mark.parametrize("levels", [10**6, 3])  # few levels: many numbers are equal
def test_finds_the_largest(count: int, k: int, levels: int) -> None:
    scores = torch.randint(levels, (2, 4, count)).float()
    scores[0, 1] = float("-inf")
    scores[0, 2, 4:] = float("-inf")
    places = largest(scores, k)
    assert places.shape == (2, 4, k)
    assert all(len(set(line)) == k for line in places.flatten(0, 1).tolist())
    ours = scores.gather(2, places).sort(descending=True).values
    assert torch.equal(ours, scores.sort(descending=True).values[..., :k])


@pytest.mark.parametrize("place", [0, 1, 15, 16, 39, 40, 639, 640, 654])
def test_finds_the_largest_wherever_it_is(place: int) -> None:
    scores = torch.rand(1, 1, 655)
    scores[0, 0, place] = 2
    assert place in largest(scores, 3)


@pytest.mark.parametrize("counts", [(30,), (10, 20), (1, 27, 2)])
def test_sums_over_tables(counts: tuple[int, ...]) -> None:
    whole = torch.randn(30, 4, dtype=torch.float64)
    weights = torch.rand(6, 5, dtype=torch.float64)
    places = torch.stack([torch.randperm(30)[:5] for _ in range(6)])
    places[2] = torch.arange(5) + 5  # all in one table, wherever there are two
    stops = torch.tensor(counts).cumsum(0).tolist()
    spans = [(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
    sorted_bags = bags(weights, places, spans)
    tables = whole.split(counts)
    ours = sum(gather(table, bag) for table, bag in zip(tables, sorted_bags, strict=True))
    theirs = (weights[..., None] * whole[places]).sum(1)
    torch.testing.assert_close(ours, theirs)
