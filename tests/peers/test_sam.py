"""SAM's decoder, taken apart and led to a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sams import WIDTH, frame, ours, released
from torch import Tensor

from vosfm.errors import InputError
from vosfm.peers.sam import Guidance, Sam, attend, box_of
from vosfm.prompters import SamPrompter
from vosfm.types import Box, Points


@pytest.fixture
def prompter(tmp_path: Path) -> SamPrompter:
    return ours(released(), tmp_path)


def test_answers_as_sam_does(prompter: SamPrompter) -> None:
    sam, picture = Sam(prompter), frame(40, 60)
    features = sam.look(picture)
    points, labels = np.array([[10, 12], [40, 30]], np.float32), np.array([1, 0])
    answer = sam.ask(features, points, labels, (4, 3, 50, 33))
    given = Points(((10, 12), (40, 30)), (1, 0), box=Box(4, 3, 50, 33))
    assert torch.allclose(
        sam.restore(answer.logits, features), prompter(features, [given]), atol=1e-5
    )
    several = sam.ask(features, points[:1], labels[:1], several=True)
    logits, quality = prompter.every(features, torch.tensor(points[None, :1]))
    assert torch.allclose(several.logits, logits[0], atol=1e-5)
    assert torch.allclose(several.quality, quality[0], atol=1e-5)
    assert several.best == int(quality.argmax())
    with torch.no_grad():
        sparse, dense = prompter.prompt_encoder(points=None, boxes=None, masks=logits[:, :1])
        expected, _ = prompter.mask_decoder(
            features.embedding, prompter.prompt_encoder.get_dense_pe(), sparse, dense, True
        )
    again = sam.ask(features, mask=logits[0, 0], several=True)
    assert torch.allclose(again.logits, expected[0], atol=1e-5)


def test_guidance_is_that_of_the_released_code() -> None:
    """Hooks on SAM's own transformer do the same: an added feature, and a second softmax."""
    transformer = released().mask_decoder.transformer
    torch.manual_seed(1)
    image, positions = torch.randn(2, 1, WIDTH, 3, 4).unbind()
    tokens, wanted, semantic = torch.randn(1, 6, WIDTH), torch.rand(12), torch.randn(WIDTH)
    with torch.no_grad():
        led = attend(transformer, image, positions, tokens, Guidance(wanted, semantic))
        freely = attend(transformer, image, positions, tokens, Guidance())
        assert _close(freely, transformer(image, positions, tokens))

        def drawn(module: Any, _: Any, inputs: dict[str, Tensor], __: Tensor) -> Tensor:
            heads = [
                part.unflatten(2, (module.num_heads, -1)).transpose(1, 2)
                for part in (
                    module.q_proj(inputs["q"]),
                    module.k_proj(inputs["k"]),
                    module.v_proj(inputs["v"]),
                )
            ]
            width = heads[0].shape[-1]
            usual = torch.softmax(heads[0] @ heads[1].mT / width**0.5, -1)
            seen = torch.softmax(usual + wanted, -1) @ heads[2]
            return module.out_proj(seen.transpose(1, 2).flatten(2))

        def told(_: Any, __: Any, inputs: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
            name = "q" if "q" in inputs else "queries"
            return (), {**inputs, name: inputs[name] + semantic}

        for layer in transformer.layers:
            layer.cross_attn_token_to_image.register_forward_hook(drawn, with_kwargs=True)
        for part in (*transformer.layers[1:], transformer.final_attn_token_to_image):
            part.register_forward_pre_hook(told, with_kwargs=True)
        assert _close(led, transformer(image, positions, tokens + semantic))
    assert not _close(led, freely)


def _close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


def test_boxes_of_masks() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:8, 10:29] = True
    assert box_of(mask) == (10, 5, 28, 7)
    assert box_of(mask, 6) == (4, 0, 29, 13)


def test_other_prompters_are_refused() -> None:
    with pytest.raises(InputError, match="needs a SAM with an encoder"):
        Sam(SamPrompter(WIDTH, 64))
