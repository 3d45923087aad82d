"""MMPM against numbers that its released code made, whole videos long."""

from __future__ import annotations

from typing import Any

import goldens
import pytest
import torch
import torch.nn.functional as F
from goldens import Golden

import vosfm
from vosfm.checkpoints import load_official
from vosfm.memory import Affinity, Memory, Sensory, Temporal

POLICIES = {"random_except_first_last": "keep_first_last", "fifo": "fifo"}


def model(golden: Golden) -> vosfm.Segmenter:
    """The released MMPM with the settings and the weights of a golden."""
    params = golden.params
    vit: dict[str, Any] = params["vit"]
    sizes = {
        "image_size": vit["img_size"],
        "embed_dim": vit["embed_dim"],
        "depth": vit["depth"],
        "num_heads": vit["num_heads"],
        "global_attn_indexes": vit["global_attn_indexes"],
    }
    interval = params["mem_interval"]
    memory = Memory(
        {
            "temporal": Temporal(
                interval,
                capacity=params["max_memory_length"],
                policy=POLICIES[params["memory_filtering_method"]],  # type: ignore[arg-type]
            ),
            "sequential": Sensory(
                512, 64, interval, follows=True, probability=params["deep_update_prob"]
            ),
        },
        Affinity(256, 64, 512, state="sequential", hidden=64),
    )
    segmenter = vosfm.Segmenter(
        vosfm.encoders.SamViT(**sizes, padding="mmpm"),
        vosfm.mask_encoders.ViTValues(**sizes, embedding=256, width=512),
        memory,
        vosfm.decoders.SingleScale(256, (512, 64), 512, 64),
    )
    load_official(segmenter, golden.weights())
    return segmenter.eval()


@pytest.mark.parametrize(
    "case",
    ["small_deep0", "small_deep1", "small_fifo", pytest.param("1024", marks=pytest.mark.slow)],
)
@torch.inference_mode()
def test_end_to_end(case: str) -> None:
    golden = goldens.load(f"mmpm_e2e_{case}", system="mmpm")
    segmenter = model(golden)
    repeat, step = golden.params["repeat"], golden.params["subsample"]

    def larger(maps: torch.Tensor) -> torch.Tensor:
        return maps.repeat_interleave(repeat, -2).repeat_interleave(repeat, -1)

    frames = larger(golden.inputs["frames"]).float() / 255
    masks = larger(golden.inputs["first_masks"]).bool()
    size = (frames.shape[-2], frames.shape[-1])
    state = segmenter.start(size)
    seen = []
    for t, frame in enumerate(frames):
        features = segmenter.encode(frame[None])
        given = dict(enumerate(masks, 1)) if t == 0 else None
        proposal = segmenter.propose(state, features, given)
        state = segmenter.commit(state, features, proposal)
        if t:
            seen.append(segmenter.aggregate(proposal)[0])
    probabilities = torch.stack(seen)
    golden.check("prob", probabilities[..., ::step, ::step])
    # The released tool writes labels at another size, from the largest share above one half.
    hard = torch.where(probabilities > 0.5, probabilities, 0)
    labels = torch.where(hard.amax(1) > 0, hard.argmax(1) + 1, 0)
    origin = tuple(golden.params["origin_size"])
    small = F.interpolate(labels[:, None].float(), size=origin, mode="nearest")[:, 0].int()
    unsure = ((probabilities - 0.5).abs() < golden.description["atol"]).any(1)
    spared = F.interpolate(unsure[:, None].float(), size=origin, mode="nearest")[:, 0].bool()
    theirs = golden.outputs["masks_png"][1:].int()
    assert (((256 - theirs) % 256 == small) | spared).all()
