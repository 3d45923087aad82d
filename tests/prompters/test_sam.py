from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segment_anything
import torch
from numpy.typing import NDArray
from sams import SIDE, VIT, WIDTH, frame, ours, released
from segment_anything.modeling import Sam
from torch import Tensor

from vosfm import Box, InputError, Points, zoo
from vosfm.encoders import SamViT
from vosfm.prompters import SamPrompter
from vosfm.types import Features, Geometry

BOX = Box(3.5, 6, 40, 30)
ONE = Points(((20.0, 17.5),), (1,))
SEVERAL = Points(((20.0, 17.5), (5.0, 30.25), (44.0, 2.0)), (1, 0, 1))
BOTH = Points(((20.0, 17.5),), (1,), BOX)
WITHOUT = Points(((20.0, 17.5), (5.0, 30.25)), (0, 1), BOX)

GIVEN = {"box": BOX, "point": ONE, "points": SEVERAL, "both": BOTH, "outside": WITHOUT}
given_each = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


@pytest.fixture(scope="module")
def sam() -> Sam:
    return released()


@pytest.fixture(scope="module")
def prompter(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> SamPrompter:
    return ours(sam, tmp_path_factory.mktemp("sam"))


def encode(prompter: SamPrompter, image: NDArray[np.uint8]) -> Features:
    assert prompter.encoder is not None
    features: Features = prompter.encoder(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    return features


def expected(sam: Sam, image: NDArray[np.uint8], given: Box | Points) -> Tensor:
    """The logits of segment_anything's own predictor, the best of three for a single point."""
    predictor = segment_anything.SamPredictor(sam)
    predictor.set_image(image)
    if isinstance(given, Box):
        prompt = {"box": np.array([given.x0, given.y0, given.x1, given.y1])}
        multiple = False
    else:
        prompt = {"point_coords": np.array(given.xy), "point_labels": np.array(given.labels)}
        multiple = len(given.xy) == 1 and given.box is None
        if given.box is not None:
            box = given.box
            prompt["box"] = np.array([box.x0, box.y0, box.x1, box.y1])
    masks, scores, _ = predictor.predict(**prompt, multimask_output=multiple, return_logits=True)
    return torch.from_numpy(masks[scores.argmax()])


class TestParity:
    @pytest.mark.parametrize("size", [(48, SIDE), (SIDE, 50)])
    @given_each
    def test_equals_the_predictor(
        self, sam: Sam, prompter: SamPrompter, size: tuple[int, int], given: Box | Points
    ) -> None:
        image = frame(*size)
        logits = prompter(encode(prompter, image), [given])
        theirs = expected(sam, image, given)
        assert logits.shape == (1, *size)
        torch.testing.assert_close(logits[0], theirs, rtol=1e-4, atol=1e-4 * float(theirs.std()))
        assert float(theirs.std()) > 0.1

    @given_each
    def test_frames_of_another_size(
        self, sam: Sam, prompter: SamPrompter, given: Box | Points
    ) -> None:
        """The predictor rounds resized frames to bytes; coordinates scale with the frame."""
        image = frame(90, 130)
        logits = prompter(encode(prompter, image), [given])[0]
        theirs = expected(sam, image, given)
        assert float((logits - theirs).abs().max()) < 0.05 * float(theirs.std())
        assert float(((logits > 0) == (theirs > 0)).float().mean()) > 0.99

    def test_several_objects_are_found_one_by_one(self, prompter: SamPrompter) -> None:
        features = encode(prompter, frame(48, 64))
        given = [BOX, ONE, SEVERAL]
        together = prompter(features, given)
        alone = torch.cat([prompter(features, [one]) for one in given])
        assert torch.equal(together, alone)
        assert not torch.equal(together[0], together[1])

    def test_the_best_of_three(self, sam: Sam, prompter: SamPrompter) -> None:
        """Whichever of the three masks is thought best is taken, and no other token."""
        features, head = encode(prompter, frame(48, 64)), prompter.mask_decoder.iou_prediction_head
        bias = head.layers[-1].bias
        kept, found = bias.clone(), []
        for token in range(4):
            bias.data = kept + 100 * (torch.arange(4) == token)
            found.append(prompter(features, [ONE])[0])
        bias.data = kept
        assert not torch.equal(found[1], found[2])
        assert not torch.equal(found[2], found[3])
        assert torch.equal(found[0], prompter(features, [ONE])[0])
        single = SamPrompter(WIDTH, SIDE, multimask=False).eval()
        single.load_state_dict(prompter.state_dict(), strict=False)
        one = single(features, [ONE])[0]
        assert not any(torch.equal(one, other) for other in found)


def test_a_box_without_points_is_a_box(prompter: SamPrompter) -> None:
    features = encode(prompter, frame(48, 64))
    found = prompter(features, [BOX, Points((), (), BOX), BOTH, ONE])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[3], found[2])


def test_the_content_may_lie_anywhere(prompter: SamPrompter) -> None:
    """What is given, and what is found, is measured from the corner of the content."""
    features = encode(prompter, frame(48, 48))
    moved = Geometry((40, 40), (40, 40), (SIDE, SIDE), offset=(5, 7))
    whole = Geometry((SIDE, SIDE), (SIDE, SIDE), (SIDE, SIDE))
    logits = prompter(replace(features, geometry=moved), [Box(3, 4, 20, 30)])
    same = prompter(replace(features, geometry=whole), [Box(10, 9, 27, 35)])
    torch.testing.assert_close(logits, same[:, 5:45, 7:47])


def test_coordinates_survive_bfloat16(prompter: SamPrompter) -> None:
    features = encode(prompter, frame(48, 64))
    logits = prompter(features, [BOX, ONE])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompter(features, [BOX, ONE]), logits)


def test_nothing_of_it_trains(prompter: SamPrompter) -> None:
    assert not any(parameter.requires_grad for parameter in prompter.parameters())


class TestErrors:
    def test_features_of_another_model(self, prompter: SamPrompter) -> None:
        features = encode(prompter, frame(48, 64))
        narrow = replace(features, embedding=features.embedding[:, :8])
        with pytest.raises(InputError, match=r"reads features of \(1, 32, 4, 4\), not of \(1, 8,"):
            prompter(narrow, [BOX])

    def test_an_encoder_of_another_size(self) -> None:
        encoder = SamViT(image_size=SIDE, **VIT)
        with pytest.raises(InputError, match="reads 32 channels of images of 128"):
            SamPrompter(WIDTH, 128, encoder)

    def test_a_checkpoint_of_another_size(self, sam: Sam, tmp_path: Path) -> None:
        torch.save(sam.state_dict(), tmp_path / "sam.pth")
        with pytest.raises(InputError, match=r"sam\.pth: a checkpoint of another model"):
            SamPrompter(64, SIDE, checkpoint=str(tmp_path / "sam.pth"))


class TestByName:
    @pytest.mark.parametrize(
        ("name", "build"),
        [
            ("sam_vit_b", segment_anything.build_sam_vit_b),
            ("sam_vit_l", segment_anything.build_sam_vit_l),
            ("sam_vit_h", segment_anything.build_sam_vit_h),
        ],
    )
    def test_takes_every_released_weight(self, name: str, build: Any) -> None:
        with torch.device("meta"):
            ours = zoo.build_prompter(name).state_dict()
            theirs = build().state_dict()
        renamed = {
            key.replace("image_encoder.", "encoder.vit."): value.shape
            for key, value in theirs.items()
        }
        assert {key: value.shape for key, value in ours.items()} == renamed

    def test_every_config_is_one_of_them(self) -> None:
        assert zoo.prompter_names() == ["sam_vit_b", "sam_vit_h", "sam_vit_l"]

    def test_no_such_prompter(self) -> None:
        with pytest.raises(InputError, match="no prompter 'sam_vit_x': there are sam_vit_b, "):
            zoo.build_prompter("sam_vit_x")
        with (
            pytest.raises(InputError, match=r"none\.pth: no such checkpoint"),
            torch.device("meta"),
        ):
            zoo.build_prompter("sam_vit_b", checkpoint="none.pth")
        with pytest.raises(InputError, match="not a prompter config"):
            zoo.build_prompter(str(zoo.CONFIGS / "model" / "aot_t.yaml"))
