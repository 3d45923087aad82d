"""The benchmark of a whole corpus, in miniature."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from vosfm.data.shards.schedule import Epoch

BENCHMARK = run_path(str(Path(__file__).parents[1] / "benchmarks" / "corpus.py"))
SMALL = [
    *("--clips", "14", "--size", "24", "32", "--shard", "60000"),
    *("--ranks", "3", "--batch", "2", "--epochs", "4"),
]


def test_all_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    BENCHMARK["main"](SMALL)
    told = capsys.readouterr().out
    assert "14 clips, 9,2" in told  # some of the 9,240 masks lie under no pixel
    assert len(re.findall(r"3 ranks x 2 steps x 2: 12 samples once, 2 left out", told)) == 4
    assert "77,994 clips x 10 frames x 97 kB = 75.7 GB" in told


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (lambda numbers: np.concatenate([numbers[:-1], numbers[:1]]), "seen twice"),
        (lambda numbers: np.arange(len(numbers)), "left out again"),
    ],
)
def test_a_wrong_order_is_found(order: object, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Epoch.order.func  # type: ignore[attr-defined]
    monkeypatch.setattr(Epoch, "order", property(lambda self: order(right(self))))  # type: ignore[operator]
    with pytest.raises(SystemExit, match=why):
        BENCHMARK["main"](SMALL)
