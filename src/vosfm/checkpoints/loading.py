"""Weights of any origin into a model: our runs, our exports, the original implementations."""

from __future__ import annotations

from pathlib import Path

from vosfm.checkpoints.official import fill_official
from vosfm.checkpoints.weights import fill, read_checkpoint, weights_in
from vosfm.errors import InputError
from vosfm.segmenter import Segmenter

_TASK = "segmenter."  # where the training task keeps its model


def load(segmenter: Segmenter, path: str | Path) -> None:
    """Load a checkpoint, whoever wrote it.

    It may come from `vosfm fit` (of weights and their moving average the average is taken), be the
    state dict of a segmenter, or be an original checkpoint that `load_official` knows. No code in
    it is run.

    Args:
        segmenter: the model; filled in place, all or nothing.
        path: of a file that `torch.save` wrote, or of a .safetensors file.

    Raises:
        InputError: if the file cannot be read safely, or is of another model.
    """
    weights = weights_in(read_checkpoint(path), path)
    # Runs that keep an average save it as their weights, and the others beside it.
    trained = {k.removeprefix(_TASK): v for k, v in weights.items() if k.startswith(_TASK)}
    if trained or weights.keys() & segmenter.state_dict().keys():
        fill(segmenter, trained or weights, path)
    else:
        fill_official(segmenter, weights, path)


def check_resumable(path: str | Path) -> None:
    """Check that a file holds a training to go on with, not weights alone.

    Args:
        path: of a checkpoint that `vosfm fit` wrote.

    Raises:
        InputError: if it cannot be read safely, or holds no training.
    """
    content = read_checkpoint(path)
    weights_in(content, path)
    if "optimizer_states" not in content:
        raise InputError(
            f"{path}: holds weights but no training to go on with: give a checkpoint that "
            "`vosfm fit` wrote"
        )
