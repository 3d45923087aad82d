"""Memory attention: against the released SAM 2's and SAM2Long's, and what it reads of the banks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import goldens
import pytest
import torch
from official_keys import load
from torch import Tensor

from vosfm import InputError
from vosfm.layers.rotary_attention import attend
from vosfm.memory import MemoryAttention
from vosfm.memory.banks.contents import select_rows
from vosfm.memory.readers.ages import frame_ages, pointer_ages
from vosfm.memory.readers.memory_attention_layer import Past
from vosfm.ops.attention import sine_positions
from vosfm.ops.modulation import key_weights
from vosfm.ops.positions import sine_code
from vosfm.types import Contents, Encoding, Features, Geometry, Guidance, When

SIZE = (3, 4)
N = SIZE[0] * SIZE[1]
CPU = torch.device("cpu")

ATTENTION = {
    theirs: f"{kind}.{ours}."
    for name, kind in (("self_attn", "self_attention"), ("cross_attn_image", "cross_attention"))
    for theirs, ours in (
        (rf"{name}\.q_proj\.", "to_query"),
        (rf"{name}\.k_proj\.", "to_key"),
        (rf"{name}\.v_proj\.", "to_value"),
        (rf"{name}\.out_proj\.", "project"),
    )
}
LAYER = {
    **ATTENTION,
    r"linear1\.": "expand.",
    r"linear2\.": "contract.",
    r"norm1\.": "norm_self.",
    r"norm2\.": "norm_cross.",
    r"norm3\.": "norm_feed.",
}
NAMES = {rf"layers\.(\d+)\.{theirs}": rf"layers.\1.{ours}" for theirs, ours in LAYER.items()}


def released(golden: goldens.Golden) -> MemoryAttention:
    """With the weights of a golden; those outside of its layers are not asked for."""
    ours = MemoryAttention(absent=False, pointers=None).eval()
    stack = torch.nn.Module()
    stack.layers, stack.norm = ours.layers, ours.norm
    load(stack, golden, NAMES, prefix="memory_attention.")
    return ours


def first(tokens: Tensor) -> Tensor:
    """Of the released code's order, (N, B, C), to ours."""
    return tokens.transpose(0, 1).contiguous()


@pytest.mark.parametrize("grad", [False, True])
def test_equals_the_released_sam2(grad: bool) -> None:
    golden = goldens.load("sam2_memory_attention", system="sam2")
    given = {name: first(tokens) for name, tokens in golden.inputs.items()}
    keys, still = given["memory"] + given["memory_pos"], golden.description["config"]
    past = Past(keys, given["memory"], still["num_obj_ptr_tokens"])
    with torch.set_grad_enabled(grad):
        tokens = given["curr"] + 0.1 * given["curr_pos"]
        out = released(golden).condition(tokens, past, (6, 6), torch.arange(2))
    golden.check("out", first(out.detach()))


@torch.inference_mode()
def test_equals_the_released_sam2long() -> None:
    golden = goldens.load("sam2long_memory_attention_modulated", system="sam2")
    given = {name: first(tokens) for name, tokens in golden.inputs.items()}
    still = golden.description["config"]["num_obj_ptr_tokens"]
    scores = given["frame_scores"], given["ptr_scores"]
    seen = [torch.ones_like(each, dtype=torch.bool) for each in scores]
    frames, pointers = key_weights((scores[0], seen[0]), (scores[1], seen[1]), (0.95, 1.05))
    weights = frames.repeat_interleave(36, 1), pointers.repeat_interleave(4, 1)
    keys = (given["memory"] + given["memory_pos"]) * torch.cat(weights, 1)[..., None]
    tokens = given["curr"] + 0.1 * given["curr_pos"]
    past = Past(keys, given["memory"], still)
    golden.check("out", first(released(golden).condition(tokens, past, (6, 6), torch.arange(1))))


def test_looks_at_the_frames_that_the_released_sam2long_does() -> None:
    """Of a bank that holds all that passed, and the frame before."""
    golden = goldens.load("sam2long_frame_selection", system="sam2")
    given, wanted = golden.inputs, golden.outputs
    for case in range(len(given["t"])):
        now, start = int(given["t"][case]), int(given["start"][case])
        capacity = min(int(given["num_frames"][case]), 16)
        threshold = float(given["iou_thre"][case])
        held = []
        for time in range(start + 1, now):
            slot = int(given["mem_pick"][case, time])
            iou, presence = (float(given[name][case, time, slot]) for name in ("iou", "o"))
            if now > start + 1 and ((iou > threshold and presence > 0) or time == now - 1):
                held.append((time, iou, presence))
        if not held:
            assert wanted["counts"][case].tolist() == [1, 1]
            continue
        time, iou, presence = (
            torch.tensor(each).view(1, 1, -1) for each in zip(*held, strict=True)
        )
        contents = Contents({"quality": iou, "presence": presence}, time=time)
        when = When(now, False, guidance=Guidance(threshold, official=True))
        age, seen = frame_ages(contents, when, 6)
        frames, pointers = (int(count) for count in wanted["counts"][case])
        assert time[seen].tolist() == wanted["mem_frames"][case, 1:frames].tolist()
        assert (age - 1)[seen].tolist() == wanted["mem_tpos_table_index"][case, 1:frames].tolist()
        age, seen = pointer_ages(contents, when, capacity - 1)
        assert time[seen].flip(0).tolist() == wanted["ptr_frames"][case, 1:pointers].tolist()
        code = age[seen].flip(0) / (capacity - 1)
        torch.testing.assert_close(code, wanted["ptr_tpos_normalised"][case, 1:pointers])


@pytest.mark.parametrize(
    ("last", "oldest"),
    # A quality of 0.3 is more than the threshold once both are numbers of double precision.
    [((0.9, 1.0), 14), ((0.3, 1.0), 14), ((0.29, 1.0), 15), ((0.9, 0.0), 15)],
)
def test_the_released_pointers_leave_out_the_oldest(last: tuple[float, float], oldest: int) -> None:
    """Of 15 that passed, the last one perhaps among them, or else beside them."""
    quality, presence = torch.full((2, 1, 1, 20), 0.9)
    quality[..., -1], presence[..., -1] = last
    contents = Contents(
        {"quality": quality, "presence": presence}, time=torch.arange(20)[None, None]
    )
    age, seen = pointer_ages(contents, When(20, False, guidance=Guidance(0.3, official=True)), 15)
    assert age[seen].flip(0).tolist() == list(range(1, oldest + 1))
    _, seen = pointer_ages(contents, When(20, False, guidance=Guidance(0.3)), 15)
    assert seen.sum() == 15


def test_the_future_is_not_recent() -> None:
    age, seen = frame_ages(kept(2, 3, 4), When(3, False), 6)
    assert age[seen].tolist() == [1]


def reader(**changes: Any) -> MemoryAttention:
    """Small and lively."""
    torch.manual_seed(0)
    options = {"embedding": 16, "value": 8, "layers": 2, "hidden": 32, "frames": 4}
    ours = MemoryAttention(**{**options, "max_pointers": 5, **changes}).eval()
    for weight in ours.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.5)
    return ours


def frame(seed: int = 0, batch: int = 1) -> Features:
    chance = torch.Generator().manual_seed(seed)
    embedding = torch.randn(batch, 16, *SIZE, generator=chance)
    return Features(torch.empty(0), {}, embedding, Geometry(SIZE, SIZE, SIZE))


def kept(
    *times: int, rows: int = 1, batch: int = 1, pointers: bool = True, seed: int = 0
) -> Contents:
    """Contents of some frames; what is kept of a frame and a row depends on them alone."""
    value, pointer, presence = [], [], []
    for time in times:
        chance = torch.Generator().manual_seed(100 * seed + time)
        value.append(torch.randn(batch, rows, N, 8, generator=chance))
        pointer.append(torch.randn(batch, rows, 16, generator=chance))
        presence.append(3 * torch.randn(batch, rows, generator=chance))
    leaves = {"value": torch.stack(value, 2), "presence": torch.stack(presence, 2)}
    if pointers:
        leaves["pointer"] = torch.stack(pointer, 2)
    return Contents(leaves, time=torch.tensor(times).expand(batch, rows, -1).contiguous())


def views(prompted: Contents, recent: Contents, pointers: Contents) -> dict[str, Contents]:
    return {"prompted": prompted, "recent": recent, "pointers": pointers}


def seen(ours: MemoryAttention, held: Mapping[str, Contents], when: When, rows: int = 1) -> Tensor:
    with torch.inference_mode():
        (maps,) = ours.read(frame(batch=batch_of(held)), held, rows, when).maps
    return maps


def batch_of(held: Mapping[str, Contents]) -> int:
    return max(len(contents.time) for contents in held.values()) or 1


def expected(
    ours: MemoryAttention,
    frames: list[tuple[Tensor, int, float]],
    pointers: list[tuple[Tensor, float, float]],
) -> Tensor:
    """One row that looks at frames (value, temporal index, weight) and pointers (.., code, ..)."""
    where = sine_positions(SIZE, 8, CPU, first=1)
    keys = [weight * (value + where + ours.temporal[place]) for value, place, weight in frames]
    values = [value for value, _, _ in frames]
    for pointer, code, weight in pointers:
        time = ours.pointer_time(sine_code(torch.tensor(code), 16))
        keys.append(weight * (pointer.view(2, 8) + time))
        values.append(pointer.view(2, 8))
    past = Past(torch.cat(keys)[None], torch.cat(values)[None], 2 * len(pointers))
    tokens = frame().embedding.flatten(2).transpose(1, 2)
    tokens = tokens + 0.1 * sine_positions(SIZE, 16, CPU, first=1)
    with torch.inference_mode():
        out = ours.condition(tokens, past, SIZE, torch.zeros(1, dtype=torch.int64))
    return out.transpose(1, 2).unflatten(2, SIZE).unsqueeze(1)


def of(contents: Contents, name: str, index: int) -> Tensor:
    return contents.rows[name][0, 0, index]


def test_who_knows_nothing_gets_the_embedding_and_a_vector() -> None:
    ours = reader()
    nothing = seen(ours, views(Contents(), Contents(), Contents()), When(0, True), 3)
    blank = frame().embedding[:, None] + ours.nothing[:, None, None]
    torch.testing.assert_close(nothing, blank)
    # Too old to be looked at.
    late = seen(ours, views(Contents(), kept(0, 1), kept(0)), When(9, False))
    torch.testing.assert_close(late, blank)


def test_reads_by_distance() -> None:
    """With 4 ages and 5 pointers, the last 3 frames and 4 pointers; of prompted frames all."""
    ours = reader()
    given, recent, others = kept(0, 2, seed=1), kept(5, 6, 8), kept(4, 5, 8)
    maps = seen(ours, views(given, recent, others), When(9, False))
    frames = [(of(given, "value", 0), 3, 1.0), (of(given, "value", 1), 3, 1.0)]
    frames += [(of(recent, "value", 1), 2, 1.0), (of(recent, "value", 2), 0, 1.0)]
    pointers = [(of(given, "pointer", 0), 9 / 4, 1.0), (of(given, "pointer", 1), 7 / 4, 1.0)]
    pointers += [(of(others, "pointer", 1), 4 / 4, 1.0), (of(others, "pointer", 2), 1 / 4, 1.0)]
    torch.testing.assert_close(maps, expected(ours, frames, pointers))


def test_reads_by_rank_what_was_selected() -> None:
    """The last 3 frames and 4 pointers that were kept, however old."""
    ours = reader()
    given, recent, others = kept(0, seed=1), kept(1, 2, 5, 20), kept(1, 2, 3, 5, 20)
    when = When(40, False, guidance=Guidance(0.3))
    maps = seen(ours, views(given, recent, others), when)
    frames = [(of(given, "value", 0), 3, 1.0)]
    frames += [(of(recent, "value", i), 3 - i, 1.0) for i in (1, 2, 3)]
    pointers = [(of(given, "pointer", 0), 40 / 4, 1.0)]
    pointers += [(of(others, "pointer", i), (5 - i) / 4, 1.0) for i in (1, 2, 3, 4)]
    torch.testing.assert_close(maps, expected(ours, frames, pointers))


def test_modulation_weighs_the_keys_by_presence() -> None:
    ours = reader()
    given, recent, others = kept(0, seed=1), kept(6, 7, 8), kept(7, 8)
    recent.rows["presence"][:] = torch.tensor([12.0, -1.0, 3.0])
    others.rows["presence"][:] = torch.tensor([3.0, -1.0])
    when = When(9, False, guidance=Guidance(modulation=(0.5, 2.0)))
    maps = seen(ours, views(given, recent, others), when)
    frames = [(of(given, "value", 0), 3, 1.5)]  # prompted: 10
    frames += [(of(recent, "value", i), 2 - i, weight) for i, weight in enumerate((2.0, 0.5, 1.0))]
    pointers = [(of(given, "pointer", 0), 9 / 4, 2.0)]
    pointers += [(of(others, "pointer", 0), 2 / 4, 1.25), (of(others, "pointer", 1), 1 / 4, 0.5)]
    torch.testing.assert_close(maps, expected(ours, frames, pointers))


def some_rows() -> dict[str, Contents]:
    """Two samples of four rows: one knows all, one some, one only a pointer, one nothing."""
    given = kept(0, 1, rows=4, batch=2, seed=1)
    recent, others = kept(6, 7, 8, rows=4, batch=2), kept(6, 7, 8, rows=4, batch=2, seed=2)
    valid = torch.ones(2, 4, 2, dtype=torch.bool)
    valid[:, 1, 0] = valid[:, 2:] = False
    given = Contents(given.rows, time=given.time, valid=valid)
    valid = torch.ones(2, 4, 3, dtype=torch.bool)
    valid[0, 1, 1] = valid[:, 2:] = False
    recent = Contents(recent.rows, time=recent.time, valid=valid.clone())
    valid[:, 2, 2] = True
    return views(given, recent, Contents(others.rows, time=others.time, valid=valid))


@pytest.mark.parametrize("guidance", [None, Guidance(0.3, (0.8, 1.2))])
def test_rows_and_samples_know_nothing_of_each_other(guidance: Guidance | None) -> None:
    ours, held, when = reader(), some_rows(), When(9, False, guidance=guidance)
    maps = seen(ours, held, when, 4)
    assert maps.shape == (2, 4, 16, *SIZE)
    for sample in range(2):
        one = {
            name: Contents(
                {key: leaf[[sample]] for key, leaf in contents.rows.items()},
                time=contents.time[[sample]],
                valid=contents.valid[[sample]],
            )
            for name, contents in held.items()
        }
        features = Features(
            torch.empty(0), {}, frame(batch=2).embedding[[sample]], Geometry(SIZE, SIZE, SIZE)
        )
        for row in range(4):
            mine = {name: select_rows(contents, [row]) for name, contents in one.items()}
            with torch.inference_mode():
                (alone,) = ours.read(features, mine, 1, when).maps
            torch.testing.assert_close(maps[sample, row], alone[0, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps[:, 3], frame(batch=2).embedding + ours.nothing[:, None, None])


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_a_few_rows_at_a_time_are_the_same(chunk: int) -> None:
    when = When(9, False)
    maps = seen(reader(chunk=chunk), some_rows(), when, 4)
    torch.testing.assert_close(maps, seen(reader(), some_rows(), when, 4), rtol=1e-4, atol=1e-5)


def test_what_is_masked_is_never_looked_at() -> None:
    ours, held, when = reader(), some_rows(), When(9, False)
    maps = seen(ours, held, when, 4)
    for contents in held.values():
        for leaf in contents.rows.values():
            leaf[~contents.valid] = 1e6
    torch.testing.assert_close(seen(ours, held, when, 4), maps)


def test_values_may_be_kept_in_half_precision() -> None:
    held = views(kept(0, seed=1), kept(7, 8), kept(7, 8))
    half = views(
        *(
            Contents({k: v.bfloat16() for k, v in contents.rows.items()}, time=contents.time)
            for contents in held.values()
        )
    )
    rounded = views(
        *(
            Contents({k: v.float() for k, v in contents.rows.items()}, time=contents.time)
            for contents in half.values()
        )
    )
    maps = seen(reader(), half, When(9, False))
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, seen(reader(), rounded, When(9, False)))
    assert not torch.equal(maps, seen(reader(), held, When(9, False)))


def test_memories_of_other_families_are_read() -> None:
    """Without pointers and presence, in banks of other names."""
    ours = reader(prompted="reference", recent="working", pointers=None, absent=False)
    assert ours.reads == ("reference", "working")
    held = {"reference": kept(0, rows=2, seed=1, pointers=False), "working": kept(7, 8, rows=2)}
    for contents in held.values():
        del contents.rows["presence"]
    maps = seen(ours, held, When(9, False), 2)
    assert maps.shape == (1, 2, 16, *SIZE)
    with pytest.raises(InputError, match="no presence"):
        seen(ours, held, When(9, False, guidance=Guidance(modulation=(0.9, 1.1))), 2)


@torch.inference_mode()
def test_without_a_time_of_pointers_only_the_vectors_count() -> None:
    """SAM 2.0."""
    for with_time in (False, True):
        ours = reader(pointer_time=with_time)
        held = views(Contents(), Contents(), kept(6, 7))
        same = torch.allclose(seen(ours, held, When(8, False)), seen(ours, held, When(9, False)))
        assert same is not with_time


@torch.inference_mode()
def test_keeps_values_marked_where_the_object_is_not() -> None:
    ours = reader()
    encoding = Encoding(torch.randn(2, 3, 8, *SIZE))
    presence, pointer = torch.randn(2, 3), torch.randn(2, 3, 16)
    presence[0, 0] = 0.0
    entry = ours.entry(frame(), None, encoding, {"presence": presence, "pointer": pointer})
    tokens = encoding.maps.flatten(3).transpose(2, 3)
    value = entry.rows["value"]
    assert value.is_contiguous()
    gone = presence <= 0
    assert torch.equal(value[~gone], tokens[~gone])
    torch.testing.assert_close(value[gone], tokens[gone] + ours.absent)
    assert torch.equal(entry.rows["pointer"], pointer)
    assert ours.entry(frame(), None, encoding, {}).rows.keys() == {"value"}
    assert torch.equal(ours.entry(frame(), None, encoding, {}).rows["value"], tokens)
    assert not ours.entry(frame(), None, None, {"presence": presence}).rows
    older = reader(absent=False)
    assert torch.equal(
        older.entry(frame(), None, encoding, {"presence": presence}).rows["value"], tokens
    )


def test_training_reaches_every_weight() -> None:
    ours = reader().train()
    held = views(kept(0, seed=1, rows=2), kept(7, 8, rows=2), kept(7, 8, rows=2))
    (maps,) = ours.read(frame(), held, 2, When(9, False)).maps
    carry = {"presence": torch.tensor([[-1.0, 1.0]])}
    entry = ours.entry(frame(), None, Encoding(torch.randn(1, 2, 8, *SIZE)), carry)
    (unknown,) = ours.read(frame(), views(*[Contents()] * 3), 2, When(0, True)).maps
    (maps.square().sum() + entry.rows["value"].square().sum() + unknown.square().sum()).backward()
    still = [name for name, w in ours.named_parameters() if w.requires_grad and w.grad is None]
    assert not still


def test_gradients_do_not_change_what_is_read() -> None:
    """The two ways to attend: fused, and in blocks."""
    ours, held, when = reader(), some_rows(), When(9, False)
    (maps,) = ours.read(frame(batch=2), held, 4, when).maps
    torch.testing.assert_close(seen(ours, held, when, 4), maps.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("queries", [5, 600])
@torch.inference_mode()
def test_attention_is_a_softmax(queries: int) -> None:
    query, key, value = torch.randn(2, queries, 8), torch.randn(2, 9, 8), torch.randn(2, 9, 4)
    mask = torch.tensor([[True] * 9, [True, False] * 4 + [True]])
    logits = query @ key.transpose(1, 2) / 8**0.5
    weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(2)
    torch.testing.assert_close(attend(query, key, value, mask), weights @ value)


@torch.inference_mode()
def test_bfloat16_comes_close() -> None:
    ours, held, when = reader(), some_rows(), When(9, False)
    exact = seen(ours, held, when, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rough = seen(ours, held, when, 4)
    assert (rough.float() - exact).abs().mean() < 0.1 * exact.std()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding": 18}, "embedding is 18"),
        ({"value": 6}, "value is 6"),
        ({"value": 12}, "a pointer is cut"),
        ({"frames": 0}, "frames is 0"),
        ({"max_pointers": 1}, "max_pointers is 1"),
        ({"layers": 0}, "layers is 0"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_unusable_arguments_are_named(changes: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        reader(**changes)
