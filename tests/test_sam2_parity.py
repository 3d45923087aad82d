"""Whole videos through SAM 2 and SAM2Long, against the released code."""

from __future__ import annotations

from typing import Any

import goldens
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vosfm import Box, Points, Segmenter, zoo
from vosfm.checkpoints import load_official
from vosfm.memory import MemoryAttention
from vosfm.search import Final, MemoryTree
from vosfm.search.branching import branch


def model(golden: goldens.Golden, half: bool) -> Segmenter:
    """The tiny model of a case; with `half` it remembers in bfloat16, as the released predictor."""
    banks = {name: {"init_args": {"half": half}} for name in ("prompted", "recent")}
    segmenter = zoo.build(
        "sam2_1_tiny",
        encoder={"image_size": golden.description["config"]["image_size"]},
        memory={"banks": banks},
    )
    load_official(segmenter, golden.weights())
    reader = segmenter.memory.reader
    assert isinstance(reader, MemoryAttention)
    # The original knows the length of the video and counts no farther.
    reader.max_pointers = min(len(golden.inputs["frames_small"]), reader.max_pointers)
    return segmenter.eval()


def frames(golden: goldens.Golden) -> Tensor:
    """(T, 3, H, W) in [0, 1]."""
    small = golden.inputs["frames_small"].permute(0, 3, 1, 2).float() / 255
    times = golden.description["config"]["upsample"]
    return small.repeat_interleave(times, 2).repeat_interleave(times, 3)


def prompts(golden: goldens.Golden) -> dict[int, Any]:
    given = golden.inputs
    if "points0" not in given:
        masks = sorted(name for name in given if name.startswith("mask"))
        return {i: given[name].bool() for i, name in enumerate(masks, 1)}
    xy = tuple((float(x), float(y)) for x, y in given["points0"])
    return {1: Points(xy, tuple(given["labels0"].tolist())), 2: Box(*given["box1"].tolist())}


slow = pytest.mark.slow  # what differs from a case that is not in the numbers of the memory alone


@pytest.mark.parametrize(
    ("case", "half"),
    [
        ("mask_1obj", False),
        ("mask_2obj", True),
        ("points_box", True),
        *(pytest.param(*case, marks=slow) for case in (("mask_1obj", True), ("mask_2obj", False))),
        pytest.param("points_box", False, marks=slow),
    ],
)
@torch.inference_mode()
def test_sam2(case: str, half: bool) -> None:
    golden = goldens.load(f"sam2_e2e_{case}", system="sam2")
    segmenter, video = model(golden, half), frames(golden)
    size = (video.shape[-2], video.shape[-1])
    state = segmenter.start(size, exclusive=False)
    told: dict[str, list[Tensor]] = {}
    for time, frame in enumerate(video.unbind()):
        features = segmenter.encode(frame[None])
        given = prompts(golden) if time == 0 else None
        proposal = segmenter.propose(state, features, given)
        assert proposal.scores is not None
        assert proposal.presence is not None
        low = proposal.of_choice(proposal.logits)
        high = F.interpolate(low, size, mode="bilinear", align_corners=False)
        for name, leaf in {
            "low_res_masks": low,
            "ious": proposal.scores,
            "object_scores": proposal.presence,
            "obj_ptrs": proposal.of_choice(proposal.candidates["pointer"]),
            "video_res_masks_sp::8": high[..., ::8, ::8],
        }.items():
            told.setdefault(name, []).append(leaf[0])
        if given is None or case == "points_box":
            assert torch.equal(segmenter.aggregate(proposal) > 0.5, high > 0)
        state = segmenter.commit(state, features, proposal)
    for name in ("low_res_masks", "ious", "object_scores", "obj_ptrs"):
        golden.check(name if half else f"fp32mem_{name}", torch.stack(told[name]))
    if half:
        golden.check("video_res_masks_sp::8", torch.stack(told["video_res_masks_sp::8"]))
        newest = state.banks["recent"].rows["value"][0, :, -1].transpose(1, 2)  # (R, C, N)
        maps = newest.unflatten(2, (features.embedding.shape[-2], features.embedding.shape[-1]))
        golden.check("memory_last_frame_c::8", maps[:, ::8].float())


@pytest.mark.parametrize(
    ("pathways", "half"), [(1, True), (3, True), pytest.param(3, False, marks=slow)]
)
@torch.inference_mode()
def test_sam2long(pathways: int, half: bool) -> None:
    golden = goldens.load(f"sam2long_e2e_P{pathways}", system="sam2")
    segmenter, video = model(golden, half), frames(golden)
    config = golden.description["config"]
    threshold, uncertainty = config["iou_thre"], config["uncertainty"]
    search = MemoryTree(pathways, threshold, uncertainty, behaviour="official")
    size = (video.shape[-2], video.shape[-1])
    beam = search.start(segmenter.start(size, exclusive=False))
    finals: list[Final] = []
    told: dict[str, list[Tensor]] = {}
    for time, frame in enumerate(video.unbind()):
        features = segmenter.encode(frame[None])
        given = prompts(golden) if time == 0 else None
        if time > 1:
            path = beam.paths[1]
            columns = list(path.columns)
            proposal = segmenter.propose(beam.state, features)
            assert proposal.scores is not None
            assert proposal.presence is not None
            quality, presence = proposal.scores[0, columns], proposal.presence[0, columns]
            branches = branch(
                quality.tolist(), presence.tolist(), path.scores, pathways, uncertainty, True
            )
            low = proposal.logits[0, columns]
            for name, leaf in {
                "cand_ious": quality,
                "object_scores": presence,
                "picks": torch.tensor([[b.parent, b.candidate] for b in branches]),
                "pathway_low_res_masks_sp::2": torch.stack(
                    [low[b.parent, b.candidate, ::2, ::2] for b in branches]
                ),
            }.items():
                told.setdefault(name, []).append(leaf)
        beam, final = search.step(segmenter, beam, features, given)
        finals += final
        if time > 1:
            scores = torch.tensor(beam.paths[1].scores, dtype=torch.float64)
            told.setdefault("acc_scores", []).append(scores)
    finals += search.flush(segmenter, beam)[1]
    for name, leaves in told.items():
        golden.check(name if half else f"fp32mem_{name}", torch.stack(leaves), slice(2, None))
    assert [final.time for final in finals] == list(range(len(video)))
    theirs = golden.outputs["final_low_res_masks"][:, None]
    high = F.interpolate(theirs, size, mode="bilinear", align_corners=False)
    sure = high.abs() > 0.01
    for time, final in enumerate(finals[1:], 1):  # a given mask stands as it was given
        assert torch.equal(final.masks[sure[time]], (high[time] > 0)[sure[time]])
