"""XMem against numbers that its official implementation made, whole videos long."""

from __future__ import annotations

import goldens
import pytest
import torch
from goldens import Golden
from torch import Tensor

import vosfm
from vosfm.checkpoints import load_official, xmem
from vosfm.memory import Affinity, LongTerm, Memory, Sensory, Temporal, Working
from vosfm.memory.banks import Bank
from vosfm.types import Contents, Encoding, Features, Geometry


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
    assert isinstance(reader, Affinity)
    banks: dict[str, Bank] = {
        "sensory": Sensory(512, 64, **sensory),
    }
    if settings["enable_long_term"]:
        banks["working"] = Working(
            interval,
            capacity=settings["max_mid_term_frames"],
            keep=settings["min_mid_term_frames"],
            official=True,
        )
        banks["long_term"] = LongTerm(
            settings["num_prototypes"], settings["max_long_term_elements"]
        )
        spill = {"working": "long_term"}
    else:
        banks["working"] = Temporal(interval)
        reader.matched, reader.counted, spill = ("working",), (), {}
        reader.reads = ("working", "sensory")
    segmenter.memory = Memory(banks, reader, spill)
    load_official(segmenter, golden.weights())
    return segmenter.eval()


def tokens(contents: Contents) -> int:
    """How many tokens a bank holds."""
    return contents.shared["key"].flatten(0, -2).shape[0] if contents.count else 0


@pytest.mark.parametrize(("case", "channels"), [("xmem", 1024), ("mmpm", 256)])
@torch.inference_mode()
def test_key_projection(case: str, channels: int) -> None:
    golden = goldens.load(f"{case}_key_projection", system="mmpm")
    reader = Affinity(channels, counted=("temporal",))
    ours = {"key_proj": "to_key", "d_proj": "to_shrinkage", "e_proj": "to_selection"}
    reader.load_state_dict(
        {f"{ours[key.split('.')[1]]}.{key.split('.')[2]}": v for key, v in golden.weights().items()}
    )
    maps = golden.inputs["f16"]
    size = (maps.shape[-2], maps.shape[-1])
    features = Features(torch.empty(0), {}, maps, Geometry(size, size, size))
    entry = reader.entry(features, None, Encoding(torch.zeros(1, 1, 512, *size)), {})
    golden.check("key", entry.shared["key"].mT.unflatten(2, size))
    golden.check("selection", entry.shared["selection"].mT.unflatten(2, size))
    golden.check("shrinkage", entry.shared["shrinkage"].unflatten(1, size)[:, None])


@torch.inference_mode()
def test_key_encoder() -> None:
    golden = goldens.load("xmem_key_encoder", system="mmpm")
    encoder = vosfm.build("xmem").encoder.eval()
    weights = xmem.translate(golden.weights(), None)
    encoder.load_state_dict({key.removeprefix("encoder."): v for key, v in weights.items()})
    pyramid, embedding = encoder.extract(golden.inputs["image"])
    golden.check("f4", pyramid[4])
    golden.check("f8", pyramid[8])
    golden.check("f16", embedding)


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
