"""AOST against numbers made by the released code (see golden/README.md)."""

from __future__ import annotations

from dataclasses import replace

import goldens
import pytest
import torch
from goldens import Golden
from test_aot_parity import (
    blank,
    check_logits,
    everyone,
    from_rows,
    image,
    is_norm,
    load_block,
    segmenter_size,
    to_rows,
)

import vosfm
from vosfm.checkpoints import aot
from vosfm.decoders import ScalableFPN
from vosfm.mask_encoders import IdentityBank
from vosfm.memory.readers.lstt_block import Past
from vosfm.memory.readers.scalable_lstt import ScalableLSTT
from vosfm.types import Features, Geometry, Readout


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def test_block() -> None:
    golden = goldens.load("aost_block_v2")
    reader = ScalableLSTT(layers=1).eval()
    weights = {f"LSTT.layers.0.{key}": value for key, value in golden.weights().items()}
    translated = {k.removeprefix("memory.reader."): v for k, v in aot.translate(weights).items()}
    left = reader.load_state_dict(translated, strict=False)
    assert not left.unexpected_keys
    assert left.missing_keys == ["norms.0.weight", "norms.0.bias"]  # those are behind the block
    block, _ = reader._layer(0)
    height, width = golden.hyper["size_2d"]
    size = height, width
    given = {name: value for name, value in golden.inputs.items() if value.dim() == 3}
    tokens, positions = to_rows(given["tgt"]), given["pos"][:, 0]
    identity = reader._identify(to_rows(given["id_emb"]), 0)
    out, key, value = block(tokens, positions, size, identity, None, None)
    golden.check("ref.out", from_rows(out))
    kept = block.remember(key, value, identity)
    golden.check("ref.mem_k", from_rows(kept[0]))
    golden.check("ref.mem_v", from_rows(kept[1]))
    short = [
        golden.inputs[n].flatten(2).transpose(1, 2).unsqueeze(1) for n in ("short_k", "short_v")
    ]
    long = to_rows(given["long_k"]), to_rows(given["long_v"])
    out, key, value = block(tokens, positions, size, None, Past(*long), Past(*short))
    golden.check("prop.out", from_rows(out))
    golden.check("prop.curr_k", from_rows(key))
    golden.check("prop.curr_v", from_rows(value))
    kept = block.remember(key, value, identity)
    golden.check("fuse.k", from_rows(kept[0]))
    golden.check("fuse.v", from_rows(kept[1]))


def test_identity_bank() -> None:
    golden = goldens.load("aost_id_bank")
    bank = IdentityBank(normalise=True)
    load_block(bank, golden.weights(), "", "mask_encoder.")
    label = golden.inputs["label"]
    masks = torch.stack([label == i for i in range(1, 11)])[None]
    void = (label == 255)[None]
    assert void.any()
    encoded = bank(blank((label.shape[0], label.shape[1])), masks, everyone(10), void).maps
    golden.check("id_emb", encoded[0, 0])


def test_decoder() -> None:
    golden = goldens.load("aost_scalable_decoder")
    decoder = ScalableFPN()
    load_block(decoder, golden.weights(), "decoder.", "decoder.")
    maps = golden.inputs
    pyramid = {stride: maps[f"f{stride}"] for stride in (4, 8, 16)}
    size = (81, 113)
    geometry = Geometry(size, size, size, align_corners=True)
    features = Features(torch.empty(0), pyramid, maps["in0"], geometry)
    for depth in decoder.depths:
        readout = Readout(tuple(maps[f"in{n}"].unsqueeze(1) for n in range(1, depth + 1)))
        decoded = decoder(features, readout, everyone(10))
        logits = torch.cat((decoded.background[:, 0], decoded.logits[:, :, 0]), 1)
        golden.check(f"logits_d{depth}", logits)


def follow(golden: Golden, segmenter: vosfm.Segmenter, depth: int | None, expected: int) -> None:
    """Run a case, feeding the official labels into the memory.

    Args:
        golden: the case.
        segmenter: with its weights.
        depth: of the frames behind the first.
        expected: how many objects compete for pixels; those without a mask were never given.
    """
    first = golden.inputs["first_mask"]
    prompts = {i: first == i for i in range(1, golden.hyper["num_objects"] + 1)}
    state = segmenter.start((first.shape[0], first.shape[1]), list(range(1, expected + 1)))
    state = replace(state, depth=depth)
    for index, frame in enumerate(golden.inputs["frames"]):
        features = segmenter.encode(image(frame))
        proposal = segmenter.propose(state, features, prompts if index == 0 else None)
        if index == 0:
            state = segmenter.commit(state, features, proposal)
            continue
        if depth is not None:
            assert len(proposal.readout.maps) == depth
        labels = golden.outputs["labels"][index - 1]
        size = (labels.shape[0], labels.shape[1])
        check_logits(golden, index, proposal.background, proposal.logits)
        masks = segmenter.aggregate(proposal, size=size)[0]
        assert masks.shape[0] == expected
        share = torch.cat((1 - masks.sum(0, keepdim=True), masks))
        top = share.topk(2, 0).values
        # Random weights leave near ties; those may fall to either side.
        certain = top[0] - top[1] > 1e-4
        assert certain.float().mean() > 0.95
        assert torch.equal(share.argmax(0)[certain], labels.long()[certain])
        ids = torch.arange(1, expected + 1)[:, None, None]
        truth = segmenter_size((labels == ids)[None], features.geometry.prepared)
        state = segmenter.commit(state, features, proposal, truth)


def loaded(golden: Golden, segmenter: vosfm.Segmenter) -> vosfm.Segmenter:
    vosfm.checkpoints.load_official(segmenter, golden.weights())
    return segmenter.eval()


def cut(layers: int) -> vosfm.Segmenter:
    """An AOST with fewer layers, that keeps every second frame."""
    return vosfm.build(
        "aost",
        memory={
            "banks": {"temporal": {"interval": 2}},
            "reader": {"layers": layers},
        },
        decoder={"readouts": [256] * layers},
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_end_to_end_of_a_model_cut_to_a_depth(depth: int) -> None:
    golden = goldens.load(f"e2e_aost_d{depth}")
    follow(golden, loaded(golden, cut(depth)), None, golden.hyper["num_objects"])


@pytest.fixture(scope="module")
def whole() -> vosfm.Segmenter:
    return loaded(goldens.load("e2e_aost_d3"), cut(3))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_end_to_end_of_a_whole_model_at_a_depth(whole: vosfm.Segmenter, depth: int) -> None:
    """The cases of cut models hold for the whole one, whose given frames are seen by all layers."""
    golden = goldens.load(f"e2e_aost_d{depth}")
    follow(golden, whole, depth, golden.hyper["num_objects"])


def test_end_to_end_with_identities_that_nobody_has(whole: vosfm.Segmenter) -> None:
    """As the released tracker runs: all ten compete for pixels, and win some."""
    golden = goldens.load("e2e_aost_unmasked")
    assert int(golden.outputs["labels"].max()) > golden.hyper["num_objects"]
    follow(golden, whole, None, 10)


def test_end_to_end_on_a_resnet() -> None:
    golden = goldens.load("e2e_r50_aost")
    segmenter = vosfm.build("r50_aost", memory={"banks": {"temporal": {"interval": 2}}})
    follow(golden, loaded(golden, segmenter), None, golden.hyper["num_objects"])


@pytest.fixture(scope="module")
def shared() -> vosfm.Segmenter:
    segmenter = vosfm.build("aost_share", memory={"banks": {"temporal": {"interval": 2}}})
    return loaded(goldens.load("e2e_aost_share"), segmenter)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_end_to_end_of_shared_layers(shared: vosfm.Segmenter, depth: int) -> None:
    golden = goldens.load("e2e_aost_share")
    of_depth = {
        name.removesuffix(f".d{depth}"): output
        for name, output in golden.outputs.items()
        if name.endswith(f".d{depth}")
    }
    inputs = goldens.load("e2e_aost_d3").inputs
    case = Golden(inputs, of_depth, golden.description)
    follow(case, shared, depth, golden.hyper["num_objects"])


@pytest.mark.parametrize(
    ("name", "millions"), [("aost", 8.795), ("aost_share", 5.869), ("r50_aost", 15.443)]
)
def test_parameters(name: str, millions: float) -> None:
    segmenter = vosfm.build(name)
    ours = sum(p.numel() for p in segmenter.parameters())
    # The released frozen normalisation has buffers where ours has parameters.
    ours -= sum(2 * m.weight.numel() for m in segmenter.modules() if is_norm(m))
    assert ours / 1e6 == pytest.approx(millions, abs=5e-4)


def shapes(case: str) -> dict[str, torch.Tensor]:
    return {k: torch.empty(s) for k, s in goldens.load(case).description["weights"]}


def test_weights_of_shared_layers() -> None:
    weights = shapes("e2e_aost_share")
    weights["LSTT.layer.linear_ID_KV.weight"] = torch.randn(264, 256)
    segmenter = vosfm.build("aost_share")
    vosfm.checkpoints.load_official(segmenter, weights)
    loaded = segmenter.memory.reader.identify[0].weight
    assert torch.equal(loaded, weights["LSTT.layer.linear_ID_KV.weight"])


def test_weights_are_taken_whole_or_not_at_all() -> None:
    weights = shapes("e2e_aost_d3")
    del weights["id_norm.bias"]
    weights["LSTT.layers.3.norm1.bias"] = torch.empty(256)
    segmenter = vosfm.build("aost")
    before = segmenter.mask_encoder.norm.weight.clone()
    message = r"missing mask_encoder.norm.bias; left over memory.reader.blocks.3.norm_self.bias"
    with pytest.raises(vosfm.InputError, match=message):
        vosfm.checkpoints.load_official(segmenter, weights)
    assert torch.equal(segmenter.mask_encoder.norm.weight, before)


@pytest.mark.parametrize(
    ("weights", "name", "message"),
    [
        ("e2e_aotl", "aost", "of an AOT, the model is an AOST: use .* such as model/aot_l"),
        ("e2e_aost_d3", "aot_l", "of an AOST, the model is an AOT: use .* such as model/aost,"),
        (
            "e2e_aost_share",
            "aost",
            "of an AOST with shared layers, the model is an AOST: .*aost_share",
        ),
        ("e2e_aost_d3", "aost_share", "of an AOST, the model is an AOST with shared layers"),
        ("e2e_aost_d2", "aost", r"missing decoder.enter.2.conv.bias"),
        ("e2e_r50_aost", "aost", r"left over encoder.backbone"),
    ],
)
def test_weights_of_another_model(weights: str, name: str, message: str) -> None:
    with pytest.raises(vosfm.InputError, match=message):
        vosfm.checkpoints.load_official(vosfm.build(name), shapes(weights))
