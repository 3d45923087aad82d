"""What the data engine works with, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sams import SIDE, config, frame, released
from torchvision.models.optical_flow import raft_small

from vosfm import InputError, zoo
from vosfm.collect.prompted_model import PromptedModel
from vosfm.collect.prompted_sam import PromptedSam
from vosfm.collect.prompting import Candidates, PromptedSegmenter
from vosfm.collect.tools import flow_named, prompted
from vosfm.flow import DIS, RAFT

QUERIES = np.array([[[9.0, 8.0], [30.5, 20.0]], [[1.0, 40.0], [3.0, 5.0]]], np.float32)


def ask(segmenter: PromptedSegmenter) -> Candidates:
    segmenter.look(frame(48, SIDE), 0)
    return segmenter.candidates(QUERIES, 0.1)


def model_config(folder: Path, name: str = "sam2_1_tiny") -> Path:
    """That of a released model, with a small encoder."""
    content = yaml.safe_load((zoo.CONFIGS / "model" / f"{name}.yaml").read_text())
    encoder = content["model"]["segmenter"]["init_args"]["encoder"]["init_args"]
    encoder |= {"image_size": 64, "embed_dim": 16, "stages": [1, 1, 2, 1], "global_blocks": [3]}
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class TestPrompted:
    def test_a_prompter(self, tmp_path: Path) -> None:
        torch.save(released().state_dict(), tmp_path / "weights.pth")
        path = str(config(tmp_path))
        loaded = prompted(path, str(tmp_path / "weights.pth"))
        assert isinstance(loaded, PromptedSam)
        prompter = zoo.build_prompter(path, checkpoint=str(tmp_path / "weights.pth"))
        assert np.array_equal(ask(loaded).quality, ask(PromptedSam(prompter)).quality)

    def test_a_model_tells_all_candidates_of_any_points(self, tmp_path: Path) -> None:
        path = str(model_config(tmp_path))
        segmenter = zoo.build(path)
        torch.nn.init.constant_(segmenter.decoder.presence_head[-1].bias, 10.0)
        torch.save(segmenter.state_dict(), tmp_path / "weights.pth")
        loaded = prompted(path, str(tmp_path / "weights.pth"))
        assert isinstance(loaded, PromptedModel)
        found = ask(loaded)
        assert (found.quality > 0).all()
        best_alone = ask(PromptedModel(segmenter))
        assert (best_alone.quality > 0).sum() == 2

    @pytest.mark.parametrize("kind", [config, model_config])
    def test_without_weights_chance_is_always_the_same(self, tmp_path: Path, kind: Any) -> None:
        path = str(kind(tmp_path))
        first = ask(prompted(path))
        torch.rand(3)
        before = torch.random.get_rng_state()
        second = ask(prompted(path))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert np.array_equal(first.quality, second.quality)
        assert np.array_equal(first.masks, second.masks)

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no model 'sam': .* sam_vit_b, .* sam2_tiny"):
            prompted("sam")
        with pytest.raises(InputError, match=r"no prompter or model 'none\.yaml'"):
            prompted("none.yaml")
        with pytest.raises(InputError, match="aot_nano: the model takes masks"):
            prompted("aot_nano")
        with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
            prompted(str(config(tmp_path)), "none.pth")
        with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
            prompted(str(model_config(tmp_path)), "none.pth")
        other = tmp_path / "other.yaml"
        other.write_text("data: {}")
        with pytest.raises(InputError, match=r"other\.yaml: neither a prompter config nor a model"):
            prompted(str(other))


class TestFlow:
    def test_dis(self) -> None:
        assert isinstance(flow_named("dis"), DIS)

    def test_raft(self, tmp_path: Path) -> None:
        torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
        assert isinstance(flow_named("raft", str(tmp_path / "raft.pth")), RAFT)

    def test_errors(self) -> None:
        with pytest.raises(InputError, match="no flow 'farneback': there are dis, raft"):
            flow_named("farneback")
        with pytest.raises(InputError, match="flow raft needs weights"):
            flow_named("raft")
        with pytest.raises(InputError, match=r"flow dis takes no weights, raft\.pth is given"):
            flow_named("dis", "raft.pth")
