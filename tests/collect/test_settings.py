"""Settings of the data engine: what the presets say, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from vosfm.collect.settings import PRESETS, Settings
from vosfm.errors import InputError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_to_json_and_back(name: str) -> None:
    text = json.dumps(PRESETS[name].to_json())
    assert Settings.from_json(json.loads(text)) == PRESETS[name]


def test_the_paper_has_none_of_the_extras() -> None:
    paper, official = PRESETS["paper"], PRESETS["official"]
    assert paper == Settings()
    assert (paper.nms_iou, paper.max_tracks, paper.cycle_error, paper.min_stability) == (None,) * 4
    assert (paper.sample_from, paper.draws, paper.acceptance) == ("previous", 1, ())
    assert (official.nms_iou, official.max_tracks, official.cycle_error) == (0.7, 200, 3.0)
    assert (official.sample_from, official.draws, official.points) == ("warped", 5, 5)
    assert official.acceptance == (0.9, 0.8, 0.7, 0.6, 0.5)


def test_what_json_does_not_say_has_its_default() -> None:
    assert Settings.from_json({"draws": 3, "acceptance": [0.5, 0]}) == replace(
        Settings(), draws=3, acceptance=(0.5, 0)
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1], "is no JSON object"),
        ({"drafts": 3}, "no setting 'drafts'; there are points_per_side"),
        ({"draws": 2.5}, "draws is 2.5, not a whole number"),
        ({"draws": True}, "draws is True, not a whole number"),
        ({"draws": None}, "draws is None, not a whole number"),
        ({"draws": 0}, "draws is 0, below 1"),
        ({"nms_iou": "0.7"}, "nms_iou is '0.7', not a number or none"),
        ({"nms_iou": 0.0}, r"nms_iou is 0.0, outside \(0, 1\]"),
        ({"cycle_error": float("nan")}, "cycle_error is nan, outside"),
        ({"max_tracks": 0}, "max_tracks is 0, below 1"),
        ({"min_stability": 1.0}, r"min_stability is 1.0, outside \[0, 1\)"),
        ({"sample_from": "next"}, "sample_from is 'next', not 'previous' or 'warped'"),
        ({"acceptance": 0.5}, "acceptance is 0.5, not a list of numbers"),
        ({"acceptance": [0.5, "0.4"]}, "not a list of numbers"),
        ({"acceptance": [0.5, 1.4]}, "acceptance is 1.4, outside"),
    ],
)
def test_what_cannot_be_is_named(content: Any, told: str) -> None:
    with pytest.raises(InputError, match=rf"collection\.json: .*{told}"):
        Settings.from_json(content, "collection.json")
