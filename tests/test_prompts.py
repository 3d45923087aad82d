from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vosfm import Box, InputError, Points
from vosfm.prompts import (
    Given,
    check_drawn,
    drawn_prompts,
    merge_prompts,
    read_prompts,
    sort_out,
    to_masks,
)

SIZE = (20, 30)
CPU = torch.device("cpu")


def filled(given: Sequence[Box | Points]) -> Tensor:
    """Boxes filled, the later ones with higher logits; points as a cross of 5 pixels."""
    logits = torch.full((len(given), *SIZE), -1.0)
    for index, one in enumerate(given):
        if isinstance(one, Box):
            rows, columns = slice(int(one.y0), int(one.y1)), slice(int(one.x0), int(one.x1))
            logits[index, rows, columns] = index + 1.0
        else:
            for (x, y), label in zip(one.xy, one.labels, strict=True):
                logits[index, int(y), int(x) - 2 : int(x) + 3] = 9.0 if label else -9.0
    return logits


def nothing(given: Sequence[Box | Points]) -> Tensor:
    return torch.full((len(given), *SIZE), -1.0)


def masks(prompts: dict[int, Given], exclusive: bool = True, predict: Any = filled) -> Any:
    return to_masks(prompts, SIZE, 4, exclusive, CPU, predict)


def square(top: int, left: int, side: int = 6) -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


class TestBoxesAndPoints:
    def test_become_masks(self) -> None:
        found = masks({7: Box(2, 3, 8, 9), 3: square(12, 20), 5: Points(((20.0, 5.0),), (1,))})
        assert list(found) == [7, 3, 5]
        assert torch.equal(found[7], square(3, 2))
        assert torch.equal(found[3], square(12, 20))
        assert found[5].nonzero().tolist() == [[5, x] for x in range(18, 23)]

    def test_the_surer_one_has_the_pixel(self) -> None:
        given: dict[int, Given] = {1: Box(0, 0, 10, 10), 2: Box(5, 0, 15, 10)}
        found = masks(given)
        assert found[1][:, :5].sum() == found[1].sum() == 50
        assert found[2].sum() == 100
        apart = masks(given, exclusive=False)
        assert apart[1].sum() == apart[2].sum() == 100

    def test_a_given_mask_displaces_what_is_found(self) -> None:
        given: dict[int, Given] = {1: Box(0, 0, 10, 10), 2: square(0, 0)}
        assert masks(given)[1].sum() == 100 - 36
        assert torch.equal(masks(given)[2], square(0, 0))
        assert masks(given, exclusive=False)[1].sum() == 100

    def test_the_borders_of_the_frame_belong_to_it(self) -> None:
        assert masks({1: Box(0, 0, 30, 20)})[1].all()
        assert masks({1: Points(((0.0, 0.0),), (1,))}, predict=lambda _: torch.ones(1, *SIZE))[
            1
        ].all()


BAD: dict[str, tuple[dict[int, Given], str]] = {
    "inverted": ({3: Box(9, 3, 2, 8)}, r"box \(9, 3, 2, 8\) holds no pixel: give x0 < x1"),
    "empty": ({3: Box(2, 3, 9, 3)}, "holds no pixel"),
    "not a number": ({3: Box(float("nan"), 3, 9, 4)}, "holds no pixel"),
    "left": ({3: Box(-1, 3, 9, 8)}, "leaves the frame, which is 30 wide and 20 high: clip it"),
    "right": ({3: Box(1, 3, 30.5, 8)}, "leaves the frame"),
    "above": ({3: Box(1, -3, 9, 8)}, "leaves the frame"),
    "below": ({3: Box(1, 3, 9, 21)}, "leaves the frame"),
    "point right": (
        {3: Points(((30.0, 2.0),), (1,))},
        r"point \(30, 2\) lies outside of the frame",
    ),
    "point below": ({3: Points(((2.0, 20.0),), (1,))}, r"point \(2, 20\) lies outside"),
    "point left": ({3: Points(((2.0, 2.0), (-1.0, 2.0)), (1, 0))}, r"point \(-1, 2\) lies outside"),
    "point nowhere": ({3: Points(((2.0, float("nan")),), (1,))}, r"point \(2, nan\) lies outside"),
    "labels": ({3: Points(((2.0, 2.0),), (2,))}, "label 2: give 1 for inside, 0 for outside"),
    "counts": ({3: Points(((2.0, 2.0),), (1, 0))}, "1 points but 2 labels: give one for each"),
    "only outside": ({3: Points(((2.0, 2.0),), (0,))}, "no point lies inside the object"),
    "no points": ({3: Points((), ())}, "no point lies inside the object"),
    "the box of points": (
        {3: Points(((2.0, 2.0),), (1,), Box(9, 3, 2, 8))},
        r"box \(9, 3, 2, 8\) holds no pixel",
    ),
    "points beside a box": (
        {3: Points(((30.0, 2.0),), (0,), Box(1, 1, 3, 3))},
        r"point \(30, 2\) lies outside of the frame",
    ),
    "hidden": ({3: Box(1, 1, 3, 3), 4: square(0, 0)}, "belongs to other objects of this frame"),
    "another size": ({3: torch.ones(3, 3)}, r"mask of \(3, 3\), frames of \(20, 30\)"),
    "no pixel": ({3: torch.zeros(SIZE)}, "the mask is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_the_frame(case: str) -> None:
    prompts, words = BAD[case]
    with pytest.raises(InputError, match=f"frame 4, object 3: .*{words}"):
        masks(prompts)


class TestOutsideAlone:
    OUTSIDE = Points(((2.0, 2.0),), (0,))

    def test_corrects_what_is_tracked(self) -> None:
        """Of an object that is known, points may say where it is not."""
        given: dict[int, Given] = {3: self.OUTSIDE}
        assert sort_out(given, SIZE, 4, True, CPU, frozenset({3})).drawn == given
        with pytest.raises(InputError, match="frame 4, object 3: no point lies inside the object"):
            sort_out(given, SIZE, 4, True, CPU, frozenset({2}))
        with pytest.raises(InputError, match="object 3: no point lies inside the object"):
            sort_out({3: Points((), ())}, SIZE, 4, True, CPU, frozenset({3}))

    def test_goes_with_a_box(self) -> None:
        boxed = Points(self.OUTSIDE.xy, self.OUTSIDE.labels, Box(1, 1, 9, 9))
        assert sort_out({3: boxed}, SIZE, 4, True, CPU).drawn == {3: boxed}


class TestBeforeTheFirstFrame:
    def test_what_fits_passes(self) -> None:
        outside = Points(((2.0, 2.0),), (0,))
        check_drawn({2: {3: Box(0, 0, 30, 20)}, 5: {3: outside, 4: square(0, 0)}}, 6, SIZE)
        check_drawn({5: {3: outside}, 2: {3: Box(0, 0, 30, 20)}}, 6, SIZE)

    @pytest.mark.parametrize(
        ("prompts", "words"),
        [
            ({6: {3: Box(0, 0, 3, 3)}}, "frame 6, object 3: no such frame, .* frames 0 to 5"),
            ({-1: {3: square(0, 0)}}, "frame -1, object 3: no such frame"),
            ({2: {3: Box(0, 0, 31, 3)}}, r"frame 2, object 3: box \(0, 0, 31, 3\) leaves"),
            ({2: {4: Points(((2.0, 20.0),), (1,))}}, r"frame 2, object 4: point \(2, 20\) lies"),
            ({2: {3: TestOutsideAlone.OUTSIDE}}, "frame 2, object 3: no point lies inside"),
            (
                {2: {4: square(0, 0)}, 3: {3: TestOutsideAlone.OUTSIDE}},
                "frame 3, object 3: no point lies inside",
            ),
        ],
    )
    def test_what_does_not_is_named(self, prompts: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            check_drawn(prompts, 6, SIZE)


def test_nothing_found() -> None:
    with pytest.raises(InputError, match="frame 4, object 3: the prompter found nothing there"):
        masks({3: Box(1, 1, 3, 3)}, predict=nothing)


def test_no_prompter() -> None:
    words = r"takes masks, not box: name a prompter \(Tracker\(prompter=...\), --prompter"
    with pytest.raises(InputError, match=words):
        masks({3: Box(1, 1, 3, 3)}, predict=None)


def test_nobody_is_asked_about_masks() -> None:
    def never(given: Sequence[Box | Points]) -> Tensor:
        raise AssertionError

    assert torch.equal(masks({1: square(3, 3).numpy()}, predict=never)[1], square(3, 3))


class TestFiles:
    def test_boxes_and_points_of_any_frame(self, tmp_path: Path) -> None:
        content = {
            "0": {"1": {"box": [1, 2, 3.5, 4]}},
            "12": {"4": {"points": [[5, 6, 1], [7.5, 8, 0]]}, "2": {"box": [0, 0, 1, 1]}},
        }
        (tmp_path / "prompts.json").write_text(json.dumps(content))
        assert read_prompts(tmp_path / "prompts.json") == {
            0: {1: Box(1.0, 2.0, 3.5, 4.0)},
            12: {4: Points(((5.0, 6.0), (7.5, 8.0)), (1, 0)), 2: Box(0.0, 0.0, 1.0, 1.0)},
        }

    def test_a_box_and_points_of_one_object(self, tmp_path: Path) -> None:
        both = {"points": [[5, 6, 0]], "box": [1, 2, 3.5, 4]}
        (tmp_path / "prompts.json").write_text(json.dumps({"3": {"1": both}}))
        expected = Points(((5.0, 6.0),), (0,), Box(1.0, 2.0, 3.5, 4.0))
        assert read_prompts(tmp_path / "prompts.json") == {3: {1: expected}}

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{", "not JSON"),
            ("[]", 'need {"FRAME": ...}, found []'),
            ("{}", 'need {"FRAME": ...}, found {}'),
            ('{"one": {}}', "frame 'one': give a whole number"),
            ('{"0": {}}', 'frame 0: need {"OBJECT": ...}'),
            ('{"0": {"a": 1}}', "frame 0: object 'a': give a whole number"),
            ('{"0": {"1": 5}}', "frame 0, object 1: need"),
            ('{"0": {"1": {}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"box": [1, 2, 3]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"box": [1, 2, 3, "4"]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"circle": [1, 2, 3, 4]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"points": [[1, 2]]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"points": [1, 2, 1]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"points": [[1, 2, 0.5]]}}}', "object 1: label 0.5: give a whole number"),
            ('{"0": {"1": {"points": []}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"box": [1, 2, 3, 4], "points": []}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"box": null, "points": [[1, 2, 1]]}}}', "frame 0, object 1: need"),
            ('{"0": {"1": {"box": [1, 2, 3], "points": [[1, 2, 1]]}}}', "object 1: need"),
            ('{"0": {"1": {"box": [1, 2, 3, 4], "mask": []}}}', "frame 0, object 1: need"),
        ],
    )
    def test_anything_else(self, tmp_path: Path, content: str, words: str) -> None:
        (tmp_path / "prompts.json").write_text(content)
        with pytest.raises(InputError) as error:
            read_prompts(tmp_path / "prompts.json")
        assert str(error.value).startswith(f"{tmp_path / 'prompts.json'}: ")
        assert words in str(error.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.json: no readable file"):
            read_prompts(tmp_path / "none.json")


class TestCommandLine:
    def test_points_of_one_object_belong_together(self) -> None:
        drawn = drawn_prompts([(4, 1, 2, 3, 4)], [(1, 5, 6, 1), (2, 7, 8, 1), (1, 9, 9.5, 0)])
        assert drawn == {
            4: Box(1, 2, 3, 4),
            1: Points(((5.0, 6.0), (9.0, 9.5)), (1, 0)),
            2: Points(((7.0, 8.0),), (1,)),
        }

    def test_points_go_with_the_box_of_their_object(self) -> None:
        drawn = drawn_prompts([(4, 1, 2, 3, 4), (1, 0, 0, 9, 9)], [(1, 5, 6, 0), (1, 7, 8, 1)])
        assert drawn == {
            4: Box(1, 2, 3, 4),
            1: Points(((5.0, 6.0), (7.0, 8.0)), (0, 1), Box(0, 0, 9, 9)),
        }

    @pytest.mark.parametrize(
        ("boxes", "points", "words"),
        [
            ([(1.5, 1, 2, 3, 4)], [], "--box: object 1.5: give a whole number"),
            ([(1, 1, 2, 3, 4), (1, 1, 2, 3, 5)], [], "--box: object 1 is given twice"),
            ([], [(float("nan"), 1, 2, 1)], "--point: object nan: give a whole number"),
            ([], [(1, 1, 2, 0.5)], "--point: object 1: label 0.5: give a whole number"),
        ],
    )
    def test_what_it_refuses(self, boxes: Any, points: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            drawn_prompts(boxes, points)


def test_sources_are_laid_together() -> None:
    mask = np.ones(SIZE, bool)
    merged = merge_prompts([{0: {1: mask}}, {0: {2: Box(1, 2, 3, 4)}, 3: {1: Box(0, 0, 1, 1)}}])
    assert list(merged) == [0, 3]
    assert list(merged[0]) == [1, 2]
    assert merged[0][1] is mask
    with pytest.raises(InputError, match="frame 0, object 1: given twice"):
        merge_prompts([{0: {1: mask}}, {0: {1: Box(1, 2, 3, 4)}}])
