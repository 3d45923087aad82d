"""The promise of the library: any encoder, mask encoder, memory and decoder make a model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from vosfm import InputError, Segmenter, Tracker
from vosfm.checkpoints.state import load_state, save_state
from vosfm.compatibility import RULES
from vosfm.decoders import (
    FPN,
    Decoder,
    PerIdentity,
    Sam2Decoder,
    SamDecoder,
    ScalableFPN,
    SingleScale,
    Upsampling,
)
from vosfm.encoders import Encoder, Hiera, SamViT, TimmPyramid
from vosfm.mask_encoders import (
    IdentityBank,
    MaskEncoder,
    MemoryEncoder,
    ResNetValues,
    ViTValues,
)
from vosfm.memory import (
    LSTT,
    Affinity,
    Global,
    Local,
    LongTerm,
    Memory,
    MemoryAttention,
    Pointers,
    Prompted,
    Reference,
    ScalableLSTT,
    Selective,
    Sensory,
    Sequential,
    Temporal,
    Working,
)
from vosfm.search import MemoryTree
from vosfm.types import Clip

WIDTH, HIDDEN, IDENTITIES = 32, 16, 3
VIT = {
    "image_size": 64,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": (1,),
    "window_size": 3,
    "out_chans": WIDTH,
}


def timm(align_corners: bool, padding: bool = False) -> Encoder:
    return TimmPyramid("test_resnet", WIDTH, align_corners=align_corners, padding=padding)


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "timm": lambda: timm(align_corners=False),
    "timm, corners aligned": lambda: timm(align_corners=True),
    "timm, padded": lambda: timm(align_corners=False, padding=True),
    "sam": lambda: SamViT(**VIT, skips=(8, 16), frozen=False),  # type: ignore[arg-type]
    "hiera": lambda: Hiera(
        image_size=64,
        width=WIDTH,
        frozen=False,
        embed_dim=8,
        stages=(1, 1, 2, 1),
        global_blocks=(3,),
    ),
}

MASK_ENCODERS: dict[str, Callable[[Encoder], MaskEncoder]] = {
    "identities": lambda encoder: IdentityBank(
        WIDTH, IDENTITIES, align_corners=getattr(encoder, "align_corners", False), gain=20.0
    ),
    "resnet values": lambda _: ResNetValues(WIDTH, WIDTH, "test_resnet"),
    "vit values": lambda _: ViTValues(**VIT, embedding=WIDTH, width=WIDTH),  # type: ignore[arg-type]
    "memory encoder": lambda _: MemoryEncoder(WIDTH, WIDTH, layers=1),
}


def lstt(*long: str) -> LSTT:
    return LSTT(WIDTH, 1, 2, 32, 2, 0.0, long=long)


def affinity(*matched: str, state: str | None = None, counted: tuple[str, ...] = ()) -> Affinity:
    return Affinity(
        WIDTH, 8, WIDTH, matched=matched, state=state, hidden=HIDDEN, top_k=5, counted=counted
    )


MEMORIES: dict[str, Callable[[], Memory]] = {
    "reference and local, transformer": lambda: Memory(
        {"reference": Reference(), "local": Local()}, lstt("reference")
    ),
    "temporal and local, transformer": lambda: Memory(
        {"temporal": Temporal(1, capacity=3), "local": Local()}, lstt("temporal")
    ),
    "temporal and local, scalable transformer": lambda: Memory(
        {"temporal": Temporal(1, capacity=3), "local": Local()},
        ScalableLSTT(WIDTH, 2, 2, 32, 2, 0.0, shared="matching"),
    ),
    "reference, global and local, transformer": lambda: Memory(
        {"reference": Reference(), "global": Global(WIDTH, 1), "local": Local()},
        lstt("reference", "global"),
        spill={"local": "global"},
    ),
    "nothing": lambda: Memory({}, affinity()),
    "temporal": lambda: Memory({"temporal": Temporal(1, capacity=3)}, affinity("temporal")),
    "sequential": lambda: Memory(
        {"sequential": Sequential(WIDTH, HIDDEN, 1)}, affinity(state="sequential")
    ),
    "temporal and sequential": lambda: Memory(
        {
            "temporal": Temporal(1, capacity=3, policy="keep_first_last"),
            "sequential": Sequential(WIDTH, HIDDEN, 2),
        },
        affinity("temporal", state="sequential"),
    ),
    "prompted, recent and pointers, memory attention": lambda: Memory(
        {"prompted": Prompted(), "recent": Selective(2), "pointers": Pointers(3)},
        MemoryAttention(WIDTH, WIDTH, 2, 32, frames=3, max_pointers=4),
    ),
    "working, long-term and sensory": lambda: Memory(
        {
            "working": Working(1, capacity=3, keep=2),
            "long_term": LongTerm(4, 12),
            "sensory": Sensory(WIDTH, HIDDEN, 2),
        },
        affinity("long_term", "working", state="sensory", counted=("long_term", "working")),
        spill={"working": "long_term"},
    ),
}


class Choice(NamedTuple):
    """What a decoder must fit."""

    encoder: Encoder
    readouts: tuple[int, ...]

    @property
    def hidden(self) -> int | None:
        return HIDDEN if self.readouts[-1] == HIDDEN else None

    @property
    def skips(self) -> tuple[int, int]:
        return self.encoder.channels[4], self.encoder.channels[8]


DECODERS: dict[str, Callable[[Choice, int], Decoder]] = {
    "fpn": lambda c, n: FPN(WIDTH, c.readouts, (*c.skips, c.encoder.channels[16]), 16, n),
    "scalable fpn": lambda c, n: ScalableFPN(
        WIDTH, c.readouts, (*c.skips, c.encoder.channels[16]), 16, n
    ),
    "upsampling": lambda c, n: of_a_group(
        n, lambda hidden: Upsampling(WIDTH, c.readouts, c.skips, WIDTH, hidden), c.hidden
    ),
    "single scale": lambda c, n: of_a_group(
        n, lambda hidden: SingleScale(WIDTH, c.readouts, WIDTH, hidden), c.hidden
    ),
    "sam": lambda c, n: of_a_group(n, lambda _: SamDecoder(WIDTH, c.readouts, None, WIDTH), None),
    "sam, three candidates": lambda c, n: of_a_group(
        n, lambda _: SamDecoder(WIDTH, c.readouts, None, WIDTH, candidates=3), None
    ),
    "sam 2": lambda c, n: of_a_group(
        n, lambda _: Sam2Decoder(WIDTH, c.readouts, None, WIDTH, fused=True), None
    ),
}


def of_a_group(
    identities: int, make: Callable[[int | None], Decoder], hidden: int | None
) -> Decoder:
    """A decoder of single objects, within an adapter where a row holds several."""
    return make(hidden) if identities == 1 else PerIdentity(make(None), identities)


def build(encoder: str, mask_encoder: str, memory: str, decoder: str) -> Segmenter:
    torch.manual_seed(0)
    seeing = ENCODERS[encoder]()
    masking = MASK_ENCODERS[mask_encoder](seeing)
    remembering = MEMORIES[memory]()
    choice = Choice(seeing, remembering.reader.widths)
    decoding = DECODERS[decoder](choice, masking.identities or 1)
    return Segmenter(seeing, masking, remembering, decoding)


def refused(mask_encoder: str, memory: str, decoder: str) -> bool:
    """What truly cannot combine: a state that nobody moves on."""
    moved = decoder in ("upsampling", "single scale") and mask_encoder != "identities"
    return "sensory" in memory and not moved


AXES = (ENCODERS, MASK_ENCODERS, MEMORIES, DECODERS)
MATRIX = [
    (
        list(ENCODERS)[(j + 2 * k + s) % len(ENCODERS)],
        list(MASK_ENCODERS)[(j + k + 2 * s) % len(MASK_ENCODERS)],
        memory,
        decoder,
    )
    for (j, memory), (k, decoder), s in product(enumerate(MEMORIES), enumerate(DECODERS), range(2))
]
"""All memories with all decoders, twice; encoders and mask encoders take turns."""


def test_every_pair_is_tried() -> None:
    for (a, first), (b, second) in combinations(enumerate(AXES), 2):
        tried = {(names[a], names[b]) for names in MATRIX}
        assert tried == {(one, other) for one in first for other in second}


@pytest.mark.parametrize(("encoder", "mask_encoder", "memory", "decoder"), MATRIX)
def test_any_parts_make_a_model(
    encoder: str, mask_encoder: str, memory: str, decoder: str, tmp_path: Path
) -> None:
    if refused(mask_encoder, memory, decoder):
        with pytest.raises(InputError, match=r"moves on in every frame|keeps one of a whole group"):
            build(encoder, mask_encoder, memory, decoder)
        return
    segmenter = build(encoder, mask_encoder, memory, decoder)
    _learns(segmenter)
    _resumes(segmenter.eval(), tmp_path / "state.safetensors")


def _learns(segmenter: Segmenter) -> None:
    """Forward and backward: something of every part gets a gradient."""
    frames = torch.rand(2, 3, 3, 64, 48)
    masks = torch.zeros(2, 3, 2, 64, 48, dtype=torch.bool)
    masks[:, :, 0, 8:40, 4:30] = True
    masks[:, :, 1, 44:60, 10:40] = True
    proposals = segmenter.train()(Clip(frames, masks, torch.ones(2, 2, dtype=torch.bool)))
    assert [proposal.logits.shape[:2] for proposal in proposals] == [(2, 2)] * 3
    sum(p.logits.square().mean() for p in proposals[1:]).backward()
    parts: list[nn.Module] = [segmenter.encoder, segmenter.decoder]
    if segmenter.memory.banks:
        parts += [segmenter.mask_encoder, segmenter.memory]
    for part in parts:
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients, type(part).__name__
        assert all(bool(g.isfinite().all()) for g in gradients), type(part).__name__
        assert any(bool(g.any()) for g in gradients), type(part).__name__


@torch.inference_mode()
def _resumes(segmenter: Segmenter, path: Path) -> None:
    """A stream that was saved goes on bit by bit; nothing given changes, an object joins."""
    chance = torch.Generator().manual_seed(1)
    frames = torch.rand(7, 1, 3, 64, 48, generator=chance)
    one, two = torch.zeros(2, 64, 48, dtype=torch.bool)
    one[8:40, 4:30] = True
    two[44:60, 10:40] = True
    state = segmenter.start((64, 48))
    other = None
    for t, frame in enumerate(frames):
        features = segmenter.encode(frame)
        prompts = {0: {1: one}, 2: {2: two}}.get(t)
        proposal = segmenter.propose(state, features, prompts)
        masks = segmenter.aggregate(proposal)
        assert masks.shape == (1, 1 if t < 2 else 2, 64, 48)
        assert bool(((masks >= 0) & (masks <= 1)).all())
        if other is not None:
            again = segmenter.propose(other, features)
            assert torch.equal(segmenter.aggregate(again), masks)
            other = segmenter.commit(other, features, again)
        state = segmenter.commit(state, features, proposal)
        if t == 4:
            save_state(state, path)
            other = load_state(path)


SEVERAL = [
    (memory, decoder, [name for name in MASK_ENCODERS if name != "identities"][(j + k) % 3])
    for (j, memory), (k, decoder) in product(
        enumerate(MEMORIES), enumerate(("sam, three candidates", "sam 2"))
    )
    if "sensory" not in memory
]


@pytest.mark.parametrize(("memory", "decoder", "mask_encoder"), SEVERAL)
def test_any_model_with_several_candidates_makes_a_tree(
    memory: str, decoder: str, mask_encoder: str, tmp_path: Path
) -> None:
    segmenter = build("timm", mask_encoder, memory, decoder)
    search = MemoryTree(
        pathways=2,
        iou_threshold=0.3,
        uncertainty_threshold=1e6,  # never certain, so that pathways part
        modulation=(0.95, 1.05) if segmenter.memory.reader.modulates else None,
        certainty="presence" if segmenter.decoder.presence else "quality",
    )
    if segmenter.memory.reader.modulates and not segmenter.decoder.presence:
        search = MemoryTree(2, 0.3, 1e6, None, certainty="quality")
    frames = list(np.random.default_rng(0).integers(0, 256, (6, 64, 48, 3), dtype=np.uint8))
    one, two = np.zeros((2, 64, 48), bool)
    one[8:40, 4:30] = True
    two[44:60, 10:40] = True
    prompts = {0: {1: one}, 2: {2: two}}
    whole = list(Tracker(segmenter, search).track(frames, prompts))
    assert [result.frame for result in whole] == list(range(6))
    first = Tracker(segmenter, search)
    results = [r for t in range(5) for r in first.step(frames[t], prompts.get(t))]
    assert first.state is not None
    assert first.state.objects.count == 4, "both objects should follow two pathways"
    first.save(tmp_path / "stream.safetensors")
    second = Tracker(segmenter, search)
    second.resume(tmp_path / "stream.safetensors")
    results += second.track(frames[5:])
    for ours, unbroken in zip(results, whole, strict=True):
        assert ours.object_ids == unbroken.object_ids
        assert np.array_equal(ours.masks, unbroken.masks)


def test_every_rule_has_its_error() -> None:
    assert set(RULES) == {rule for rule, _, _ in WRONG}


def wrong(**parts: nn.Module) -> Callable[[], Segmenter]:
    """A model with a part that does not fit."""

    def make() -> Segmenter:
        encoder = timm(align_corners=False)
        fitting: dict[str, nn.Module] = {
            "encoder": encoder,
            "mask_encoder": ResNetValues(WIDTH, WIDTH, "test_resnet"),
            "memory": MEMORIES["temporal"](),
            "decoder": Upsampling(WIDTH, (WIDTH,), (32, 48), WIDTH, None),
        }
        return Segmenter(**{**fitting, **parts})  # type: ignore[arg-type]

    return make


def test_what_fits_is_built() -> None:
    wrong()()


WRONG: list[tuple[str, Callable[[], Segmenter], str]] = [
    (
        "channels of the embedding",
        lambda: wrong(encoder=TimmPyramid("test_resnet", 16, align_corners=False))(),
        "the reader takes an embedding of 32 channels, the encoder gives 16",
    ),
    (
        "levels of the pyramid",
        lambda: wrong(encoder=SamViT(**VIT))(),  # type: ignore[arg-type]
        "the decoder takes 32 channels at stride 4, the encoder gives none",
    ),
    (
        "channels of the encoded masks",
        lambda: wrong(mask_encoder=ResNetValues(WIDTH, 8, "test_resnet"))(),
        "the reader takes encoded masks of 32 channels, the mask encoder gives 8",
    ),
    (
        "maps of the readout",
        lambda: wrong(memory=MEMORIES["sequential"]())(),
        r"takes readouts of \(32,\) channels, the reader gives \(32, 16\)",
    ),
    (
        "corners of the maps",
        lambda: wrong(mask_encoder=IdentityBank(WIDTH, 1, align_corners=True))(),
        "the mask encoder has align_corners=True, the encoder False",
    ),
    (
        "objects of a row",
        lambda: wrong(mask_encoder=IdentityBank(WIDTH, 3, align_corners=False))(),
        r"Upsampling sees one object: wrap it in PerIdentity\(decoder, identities=3\)",
    ),
    (
        "objects of a row",
        lambda: wrong(decoder=FPN(WIDTH, (WIDTH,), (32, 48, 192), 16, 4))(),
        "tells 4 objects of a readout apart, the mask encoder puts 1",
    ),
    (
        "a hidden state that somebody moves on",
        lambda: wrong(
            memory=MEMORIES["working, long-term and sensory"](),
            decoder=FPN(WIDTH, (WIDTH, HIDDEN), (32, 48, 192), 16, 1),
        )(),
        "bank 'sensory' holds a state that a decoder moves on",
    ),
    (
        "a hidden state of one object",
        lambda: wrong(
            mask_encoder=IdentityBank(WIDTH, 3, align_corners=False),
            memory=MEMORIES["sequential"](),
            decoder=PerIdentity(Upsampling(WIDTH, (WIDTH, HIDDEN), (32, 48), WIDTH, HIDDEN), 3),
        )(),
        "keeps one of a whole group",
    ),
    (
        "layers that a bank follows",
        lambda: wrong(memory=Memory({"global": Global(8, 1, feed="written")}, affinity()))(),
        r"follows 1 layers of 8 channels, the reader has layers of \(32,\)",
    ),
    (
        "what feeds a bank",
        lambda: wrong(memory=Memory({"global": Global(WIDTH, 1)}, affinity()))(),
        "takes what another evicts, and nothing spills into it",
    ),
]


@pytest.mark.parametrize(("rule", "make", "message"), WRONG)
def test_what_cannot_combine_says_why(
    rule: str, make: Callable[[], Segmenter], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make()
