"""AOT against numbers made by the released code (see golden/README.md)."""

from __future__ import annotations

import goldens
import pytest
import torch
from goldens import Golden
from torch import Tensor

import vosfm
from vosfm.checkpoints import aot
from vosfm.decoders import FPN
from vosfm.mask_encoders import IdentityBank
from vosfm.memory.readers.lstt_block import LongTermAttention, LSTTBlock, Past, ShortTermAttention
from vosfm.ops.attention import sine_positions
from vosfm.optimisation import parameter_groups
from vosfm.types import Features, Geometry, Objects, Readout

pytestmark = pytest.mark.usefixtures("_no_gradients")


@pytest.fixture
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def to_rows(tokens: Tensor) -> Tensor:
    """Official tokens (N, B, C) as ours, (B, 1, N, C)."""
    return tokens.transpose(0, 1).unsqueeze(1)


def from_rows(tokens: Tensor) -> Tensor:
    return tokens[:, 0].transpose(0, 1)


def load_block(module: torch.nn.Module, weights: dict[str, Tensor], prefix: str, ours: str) -> None:
    """Load weights of one official module, under the key it has in a whole checkpoint."""
    translated = aot.translate({prefix + key: v for key, v in weights.items()})
    module.load_state_dict({key.removeprefix(ours): v for key, v in translated.items()})


def everyone(count: int, slot: list[int] | None = None) -> Objects:
    ids = torch.arange(1, count + 1)[None]
    slots = torch.arange(count)[None] if slot is None else torch.tensor([slot])
    alive = torch.ones(1, count, dtype=torch.bool)
    return Objects(ids, alive, slots, torch.zeros_like(ids), identities=10)


def blank(size: tuple[int, int], embedding: Tensor | None = None) -> Features:
    geometry = Geometry(size, size, size, align_corners=True)
    return Features(
        torch.empty(0), {}, torch.empty(0) if embedding is None else embedding, geometry
    )


def image(frame: Tensor) -> Tensor:
    return frame.permute(2, 0, 1)[None].float() / 255


def test_position_embedding() -> None:
    golden = goldens.load("aot_position_embedding")
    ours = sine_positions((8, 11), 256, torch.device("cpu"))
    golden.check("pos", ours.T.unflatten(1, (8, 11)))


def test_long_term_attention() -> None:
    golden = goldens.load("aot_long_term_attention")
    module = LongTermAttention(256, 8)
    module.project.load_state_dict(
        {key.removeprefix("projection."): v for key, v in golden.weights().items()}
    )
    tokens = [to_rows(golden.inputs[name]) for name in ("q", "k", "v")]
    golden.check("out", from_rows(module(*tokens)))


def test_short_term_attention() -> None:
    golden = goldens.load("aot_short_term_attention")
    module = ShortTermAttention(256, 8, 7)
    load_block(
        module,
        golden.weights(),
        "LSTT.layers.0.short_term_attn.",
        "memory.reader.blocks.0.short_term.",
    )
    maps = [golden.inputs[name] for name in ("q", "k", "v")]
    size = (maps[0].shape[-2], maps[0].shape[-1])
    tokens = [m.flatten(2).transpose(1, 2).unsqueeze(1) for m in maps]
    golden.check("out", from_rows(module(*tokens, size=size)))


def test_lstt_block() -> None:
    golden = goldens.load("aot_lstt_block")
    block = LSTTBlock(256, 8, 1024, 7, 0.1).eval()
    load_block(block, golden.weights(), "LSTT.layers.0.", "memory.reader.blocks.0.")
    given = {name: value for name, value in golden.inputs.items() if value.dim() == 3}
    tokens, identity = to_rows(given["tgt"]), to_rows(given["id_emb"])
    positions = given["pos"][:, 0]
    out, key, matched = block(tokens, positions, (8, 10), identity, None, None)
    golden.check("ref.out", from_rows(out))
    golden.check("ref.mem_k", from_rows(key))
    golden.check("ref.mem_v", from_rows(block.to_value(matched + identity)))
    short = [
        golden.inputs[n].flatten(2).transpose(1, 2).unsqueeze(1) for n in ("short_k", "short_v")
    ]
    long = to_rows(given["long_k"]), to_rows(given["long_v"])
    out, key, matched = block(tokens, positions, (8, 10), None, Past(*long), Past(*short))
    golden.check("prop.out", from_rows(out))
    golden.check("prop.curr_k", from_rows(key))
    golden.check("prop.curr_v", from_rows(matched))
    golden.check("fuse.v", from_rows(block.to_value(matched + identity)))


def test_identity_bank() -> None:
    golden = goldens.load("aot_id_bank")
    bank = IdentityBank()
    load_block(bank, golden.weights(), "", "mask_encoder.")
    label = golden.inputs["label"]
    size = (label.shape[0], label.shape[1])
    masks = torch.stack([label == i for i in range(1, 11)])[None]
    void = (label == 255)[None]
    assert void.any()
    golden.check("id_emb", bank(blank(size), masks, everyone(10), void).maps[0, 0])
    # Channel 0 is the background; ours are counted from the first object.
    moved = (golden.inputs["permutation"][1:] - 1).tolist()
    golden.check("id_emb_perm", bank(blank(size), masks, everyone(10, moved), void).maps[0, 0])


def test_logits_return_to_their_objects() -> None:
    golden = goldens.load("aot_id_bank")
    shuffled = golden.inputs["logits"]
    moved = golden.inputs["permutation"][1:] - 1
    back = shuffled[1:].gather(0, moved[:, None, None].expand(-1, *shuffled.shape[1:]))
    golden.check("perm_logits_back", torch.cat((shuffled[:1], back)))


def test_fpn() -> None:
    golden = goldens.load("aot_decoder_fpn")
    decoder = FPN(readouts=(256,))
    load_block(decoder, golden.weights(), "decoder.", "decoder.")
    maps = golden.inputs
    tokens = [maps["in0"], maps["in1"]]
    pyramid = {stride: maps[f"f{stride}"] for stride in (4, 8, 16)}
    size = (113, 161)
    features = Features(
        torch.empty(0), pyramid, tokens[0], Geometry(size, size, size, align_corners=True)
    )
    decoded = decoder(features, Readout((tokens[1].unsqueeze(1),)), everyone(10))
    golden.check("logits", torch.cat((decoded.background[:, 0], decoded.logits[:, :, 0]), 1))


@pytest.mark.parametrize(
    ("case", "name"), [("encoder_mobilenetv2", "aot_t"), ("encoder_resnet50", "r50_aot_l")]
)
def test_encoder(case: str, name: str) -> None:
    golden = goldens.load(case)
    encoder = vosfm.build(name).encoder.eval()
    weights = {aot.rename_encoder(key): v for key, v in golden.weights().items()}
    encoder.backbone.load_state_dict(weights, strict=False)
    frame = image(golden.inputs["image"])
    prepared = encoder.prepare(frame, encoder.geometry((frame.shape[2], frame.shape[3])))
    final, levels = encoder.backbone.forward_intermediates(prepared, indices=encoder._indices)
    for index, level in enumerate((*levels, final)):
        # A cut encoder ends with its last level.
        golden.check(f"feat{min(index, len(golden.outputs) - 1)}", level[0])


@pytest.fixture(scope="module")
def swinb() -> vosfm.Segmenter:
    """SwinB-AOT-L as it is trained; made once, for it takes seconds."""
    return vosfm.build("swinb_aot_l", encoder={"frozen_stages": 2}).eval()


def test_swin_encoder(swinb: vosfm.Segmenter) -> None:
    """On maps that are no whole number of windows."""
    golden = goldens.load("encoder_swinb")
    encoder = swinb.encoder
    weights = aot.translate({f"encoder.{key}": v for key, v in golden.weights().items()})
    left = encoder.load_state_dict(
        {key.removeprefix("encoder."): v for key, v in weights.items()}, strict=False
    )
    assert not left.unexpected_keys
    assert left.missing_keys == ["project.weight", "project.bias"]
    pyramid = encoder(image(golden.inputs["image"])).pyramid
    for index, stride in enumerate((4, 8, 16)):
        golden.check(f"feat{index}", pyramid[stride][0])


def test_swin_trains_what_the_released_one_trains(swinb: vosfm.Segmenter) -> None:
    info = goldens.load("e2e_swinb_aotl").info
    parameters = list(swinb.parameters())
    assert sum(p.numel() for p in parameters) + 256 == info["parameters"]  # LSTT.mask_token
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    assert frozen == info["frozen_parameters"]
    spared = {
        id(p)
        for group in parameter_groups(swinb, weight_decay=0.07)
        for p in group["params"]
        if not group["weight_decay"]
    }
    tables = [p for n, p in swinb.named_parameters() if n.endswith("position_bias_table")]
    assert len(tables) == len(info["drop_path_per_block"])
    assert all(id(p) in spared for p in tables if p.requires_grad)
    blocks = [block for stage in swinb.encoder.backbone.layers for block in stage.blocks]
    for drop in ("drop_path1", "drop_path2"):
        rates = [getattr(getattr(block, drop), "drop_prob", 0.0) for block in blocks]
        assert rates == pytest.approx(info["drop_path_per_block"], abs=1e-6)


def test_weights_of_another_encoder(swinb: vosfm.Segmenter) -> None:
    mobile, swin = "encoder.backbone.blocks.0", "encoder.backbone.layers.0"
    for case, segmenter, missing, left_over in (
        ("e2e_aotl", swinb, swin, mobile),
        ("e2e_swinb_aotl", vosfm.build("aot_l"), mobile, swin),
    ):
        shapes = goldens.load(case).description["weights"]
        message = f"another model: missing {missing}.* left over {left_over}.*; give the model"
        with pytest.raises(vosfm.InputError, match=message):
            vosfm.checkpoints.load_official(segmenter, {k: torch.empty(s) for k, s in shapes})


def build(name: str, interval: int) -> vosfm.Segmenter:
    """A model of configs/model, with another interval of its long-term memory."""
    long = {"class_path": "vosfm.memory.Temporal", "init_args": {"interval": interval}}
    local = {"class_path": "vosfm.memory.Local"}
    reader = {"long": ["long"]}
    return vosfm.build(name, memory={"banks": {"long": long, "local": local}, "reader": reader})


def follow(golden: Golden, name: str) -> None:
    """Run a case, feeding the official labels into the memory."""
    gap = golden.hyper["long_term_mem_gap"]
    never = gap > len(golden.inputs["frames"])
    segmenter = (vosfm.build(name) if never else build(name, gap)).eval()
    vosfm.checkpoints.load_official(segmenter, golden.weights())
    first = golden.inputs["first_mask"]
    count = golden.hyper["num_objects"]
    at_start = golden.hyper.get("num_objects_at_start", count)
    state = segmenter.start((first.shape[0], first.shape[1]))
    prompts = {0: {i: first == i for i in range(1, at_start + 1)}}
    if "new_object_frame" in golden.hyper:
        new = golden.inputs["new_mask"]
        prompts[golden.hyper["new_object_frame"]] = {count: new > 0}
    for index, frame in enumerate(golden.inputs["frames"]):
        features = segmenter.encode(image(frame))
        proposal = segmenter.propose(state, features, prompts.get(index))
        if index == 0:
            state = segmenter.commit(state, features, proposal)
            continue
        labels = golden.outputs["labels"][index - 1]
        size = (labels.shape[0], labels.shape[1])
        seen = proposal.tracked or proposal
        check_logits(golden, index, seen.background, seen.logits)
        masks = segmenter.aggregate(proposal, size=size)[0]
        share = torch.cat((1 - masks.sum(0, keepdim=True), masks))
        top = share.topk(2, 0).values
        # Random weights leave near ties; those may fall to either side.
        certain = top[0] - top[1] > 1e-4
        assert certain.float().mean() > 0.95
        assert torch.equal(share.argmax(0)[certain], labels.long()[certain])
        ids = torch.arange(1, masks.shape[0] + 1)[:, None, None]
        truth = segmenter_size((labels == ids)[None], features.geometry.prepared)
        state = segmenter.commit(state, features, proposal, truth)


def segmenter_size(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.nn.functional.interpolate(masks.float(), size=size, mode="nearest")


def check_logits(golden: Golden, index: int, background: Tensor, logits: Tensor) -> None:
    name = f"logits_s4.f{index}"
    for group in range(background.shape[1]):
        members = logits[0, 10 * group : 10 * group + 10, 0]
        ours = torch.cat((background[0, group], members))
        for key in (name, f"{name}.engine{group}"):
            if key in golden.outputs:
                golden.check(key, ours)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("e2e_aott", "aot_t"),
        ("e2e_aott_multi_engine", "aot_t"),
        ("e2e_aotl", "aot_l"),
        ("e2e_aotl_new_object", "aot_l"),
        ("e2e_r50_aotl", "r50_aot_l"),
        pytest.param("e2e_swinb_aotl", "swinb_aot_l", marks=pytest.mark.slow),
    ],
)
def test_end_to_end(case: str, name: str) -> None:
    follow(goldens.load(case), name)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("aot_t", 5.734),
        ("aot_s", 6.998),
        ("aot_b", 8.262),
        ("aot_l", 8.262),
        ("r50_aot_l", 14.910),
        ("swinb_aot_l", 65.399),
    ],
)
def test_parameters(name: str, millions: float) -> None:
    """As many as the released models have, but for one vector that nothing reads there."""
    segmenter = vosfm.build(name)
    ours = sum(p.numel() for p in segmenter.parameters())
    # The released frozen normalisation has buffers where ours has parameters.
    ours -= sum(2 * m.weight.numel() for m in segmenter.modules() if is_norm(m))
    assert ours / 1e6 == pytest.approx(millions, abs=1e-3)


def is_norm(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
