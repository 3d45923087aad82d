from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import goldens
import pytest
import torch
from models import CONFIG, tiny
from safetensors.torch import save_file
from torch import Tensor

import vosfm
from vosfm.checkpoints.loading import check_resumable, load


def _weights() -> dict[str, Tensor]:
    return tiny(seed=1).state_dict()


def _holds(segmenter: vosfm.Segmenter, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(v, weights[k]) for k, v in segmenter.state_dict().items())


def _of_a_run(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "state_dict": {f"segmenter.{k}": v for k, v in weights.items()} | {"loss.x": torch.ones(1)},
        "current_model_state": {f"segmenter.{k}": v + 1 for k, v in weights.items()},
        "optimizer_states": [],
        "epoch": 3,
    }


class TestOrigins:
    def test_a_state_dict(self, tmp_path: Path) -> None:
        torch.save(_weights(), tmp_path / "a.pth")
        segmenter = tiny()
        load(segmenter, tmp_path / "a.pth")
        assert _holds(segmenter, _weights())

    def test_safetensors(self, tmp_path: Path) -> None:
        save_file(_weights(), tmp_path / "a.safetensors")
        segmenter = tiny()
        load(segmenter, tmp_path / "a.safetensors")
        assert _holds(segmenter, _weights())

    def test_a_run_gives_the_average_of_its_weights(self, tmp_path: Path) -> None:
        torch.save(_of_a_run(_weights()), tmp_path / "a.ckpt")
        segmenter = tiny()
        load(segmenter, tmp_path / "a.ckpt")
        assert _holds(segmenter, _weights())

    def test_an_original_checkpoint(self, tmp_path: Path) -> None:
        official = goldens.load("e2e_aott").weights()
        torch.save(official, tmp_path / "official.pth")
        ours, theirs = vosfm.build("aot_t"), vosfm.build("aot_t")
        load(ours, tmp_path / "official.pth")
        vosfm.checkpoints.load_official(theirs, official)
        weights = theirs.state_dict()
        assert all(
            torch.equal(value, weights[key])
            for key, value in ours.state_dict().items()
            if not key.endswith("batches_tracked")
        )

    def test_an_export_without_batch_counts(self, tmp_path: Path) -> None:
        weights = {k: v for k, v in _weights().items() if not k.endswith("batches_tracked")}
        torch.save(weights, tmp_path / "a.pth")
        load(tiny(), tmp_path / "a.pth")


class Code:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class TestRefusals:
    @pytest.mark.parametrize("read", [lambda path: load(tiny(), path), check_resumable])
    def test_code_is_not_run(self, tmp_path: Path, read: Any) -> None:
        ran = tmp_path / "ran"
        torch.save({**_of_a_run(_weights()), "extra": Code(ran)}, tmp_path / "evil.ckpt")
        with pytest.raises(vosfm.InputError, match=r"evil\.ckpt: holds code"):
            read(tmp_path / "evil.ckpt")
        assert not ran.exists()
        torch.load(tmp_path / "evil.ckpt", weights_only=False)
        assert ran.exists()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda w: w | {"memory.reader.extra": torch.ones(1)}, "left over memory.reader.extra"),
            (lambda w: {k: v for k, v in w.items() if "exit" not in k}, "missing decoder.exit"),
            (lambda w: w | {"decoder.exit.bias": torch.ones(9)}, r"decoder.exit.bias is \(9,\)"),
        ],
        ids=["more", "less", "of another size"],
    )
    def test_another_model_changes_nothing(self, tmp_path: Path, change: Any, words: str) -> None:
        torch.save(change(_weights()), tmp_path / "other.pth")
        segmenter = tiny()
        before = {k: v.clone() for k, v in segmenter.state_dict().items()}
        with pytest.raises(
            vosfm.InputError, match=rf"other\.pth: a checkpoint of another.*{words}"
        ):
            load(segmenter, tmp_path / "other.pth")
        assert _holds(segmenter, before)

    def test_weights_of_something_else(self, tmp_path: Path) -> None:
        torch.save({"fc.weight": torch.ones(2)}, tmp_path / "other.pth")
        with pytest.raises(vosfm.InputError, match=r"fc\.weight"):
            load(tiny(), tmp_path / "other.pth")

    @pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
    @pytest.mark.parametrize(
        "content", [b"", b"not a checkpoint", None], ids=["empty", "text", "cut"]
    )
    def test_a_damaged_file(self, tmp_path: Path, name: str, content: bytes | None) -> None:
        path = tmp_path / name
        if content is None:
            (save_file if name.endswith("safetensors") else torch.save)(_weights(), path)
            content = path.read_bytes()[:-2000]
        path.write_bytes(content)
        with pytest.raises(vosfm.InputError, match=name):
            load(tiny(), path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(vosfm.InputError, match="no such checkpoint"):
            load(tiny(), tmp_path / "none.pth")


class TestResumable:
    def test_a_run(self, tmp_path: Path) -> None:
        torch.save(_of_a_run(_weights()), tmp_path / "a.ckpt")
        check_resumable(tmp_path / "a.ckpt")

    @pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
    def test_weights_alone(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        (save_file if name.endswith("safetensors") else torch.save)(_weights(), path)
        with pytest.raises(vosfm.InputError, match="no training to go on with"):
            check_resumable(path)


def test_the_tiny_config_is_a_model() -> None:
    assert vosfm.build(str(CONFIG)).encoder.width == 16
