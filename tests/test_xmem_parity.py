"""XMem against numbers that its official implementation made, whole videos long."""

from __future__ import annotations

import goldens
import pytest
import torch
from goldens import Golden
from torch import Tensor

import vosfm
from vosfm.checkpoints import load_official
from vosfm.types import Contents


def model(golden: Golden) -> vosfm.Segmenter:
    """XMem with the settings and the weights of a golden."""
    settings = golden.params["config"]
    interval, deep = settings["mem_every"], settings["deep_update_every"]
    sensory = {"interval": interval}
    if deep > 0:  # out of step with the memory, it comes on top of the decoder's update
        sensory.update(deep_interval=deep, follows=True)
    segmenter = vosfm.build("xmem")
    memory = segmenter.memory
    reader = memory.reader
    banks: dict[str, vosfm.memory.Bank] = {
        "sensory": vosfm.memory.Sensory(512, 64, **sensory),
    }
    if settings["enable_long_term"]:
        banks["working"] = vosfm.memory.Working(
            interval,
            capacity=settings["max_mid_term_frames"],
            keep=settings["min_mid_term_frames"],
            official=True,
        )
        banks["long_term"] = vosfm.memory.LongTerm(
            settings["num_prototypes"], settings["max_long_term_elements"]
        )
        spill = {"working": "long_term"}
    else:
        banks["working"] = vosfm.memory.Temporal(interval)
        reader.matched, reader.counted, spill = ("working",), (), {}
        reader.reads = ("working", "sensory")
    segmenter.memory = vosfm.memory.Memory(banks, reader, spill)
    load_official(segmenter, golden.weights())
    return segmenter.eval()


def tokens(contents: Contents) -> int:
    """How many tokens a bank holds."""
    return contents.shared["key"].flatten(0, -2).shape[0] if contents.count else 0


@pytest.mark.parametrize("case", ["xmem_e2e_nolt", "xmem_e2e_lt", "xmem_e2e_late"])
@torch.inference_mode()
def test_end_to_end(case: str) -> None:
    golden = goldens.load(case, system="mmpm")
    segmenter = model(golden)
    frames = golden.inputs["frames"].float() / 255
    given = {
        int(t): {i: golden.inputs["masks"][i - 1].bool() for i in ids}
        for t, ids in golden.params["introduce"].items()
    }
    count = len(golden.inputs["masks"])
    state = segmenter.start((96, 128))
    shares: list[Tensor] = []
    sizes: list[tuple[int, int]] = []
    for t, frame in enumerate(frames):
        features = segmenter.encode(frame[None])
        proposal = segmenter.propose(state, features, given.get(t))
        masks = segmenter.aggregate(proposal)[0]
        missing = masks.new_zeros(count - len(masks), *masks.shape[1:])
        background = 1 - masks.sum(0, keepdim=True)
        shares.append(torch.cat((background, masks, missing)))
        if t < len(frames) - 1:  # the official loop does not remember the last frame
            state = segmenter.commit(state, features, proposal)
        banks = state.banks
        sizes.append((tokens(banks["working"]), tokens(banks.get("long_term", Contents()))))
    probabilities = torch.stack(shares)
    golden.check("prob_sub4", probabilities[:, :, ::4, ::4])
    best = probabilities.topk(2, 1).values
    close = best[:, 0] - best[:, 1] < golden.description["atol"]
    differs = probabilities.argmax(1) != golden.outputs["labels"]
    assert not (differs & ~close).any()
    golden.check("work_mem_size", torch.tensor([size[0] for size in sizes]))
    golden.check("long_mem_size", torch.tensor([size[1] for size in sizes]))
    hidden = state.banks["sensory"].rows["hidden"][0, :, -1]
    golden.check("final_hidden", hidden[:, :8])
    if "long_key_sorted" in golden.outputs:
        held = state.banks["long_term"].shared
        order = held["key"][0, :, 0].argsort()
        golden.check("long_key_sorted", held["key"][0, order].T)
        golden.check("long_shrinkage_sorted", held["shrinkage"][0, order][None])
