"""Checkpoints of the original implementations, loaded into our models."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from vosfm.checkpoints import aot, sam2, xmem
from vosfm.checkpoints.weights import fill, read_checkpoint, weights_in
from vosfm.errors import InputError
from vosfm.memory import Sequential
from vosfm.segmenter import Segmenter


def load_official(segmenter: Segmenter, source: str | Path | dict[str, Tensor]) -> None:
    """Load an original checkpoint, every key of it, into a model of ours.

    Args:
        segmenter: the model; filled in place, all or nothing.
        source: the file as its authors publish it (.pth, .pt or .safetensors), or its state dict.

    Raises:
        InputError: if the file cannot be read safely, is of another model, or its keys and ours
            do not match one to one; the message lists missing and left-over keys.
    """
    if isinstance(source, dict):
        fill_official(segmenter, source, "state dict")
    else:
        fill_official(segmenter, weights_in(read_checkpoint(source), source), source)


def fill_official(segmenter: Segmenter, state: dict[str, Tensor], origin: str | Path) -> None:
    """Put original weights into a model; `load_official` for weights that are read already.

    Args:
        segmenter: the model; filled in place, all or nothing.
        state: official key -> tensor.
        origin: of the weights, for messages.

    Raises:
        InputError: as `load_official`.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if aot.recognises(state):
        translated = aot.translate(state)
        aot.check(translated, segmenter.state_dict(), origin)
    elif xmem.recognises(state):
        translated = xmem.translate(state, _recurrent(segmenter))
    elif sam2.recognises(state):
        translated = sam2.translate(state)
        sam2.check(translated, segmenter.state_dict(), origin)
    elif sam2.is_first_generation(state):
        raise InputError(
            f"{origin}: a checkpoint of the first SAM, which knows no video: give it as "
            "`checkpoint` to a SamViT, or to a config prompter/sam_vit_*; a SAM 2 takes its own, "
            "such as sam2.1_hiera_tiny.pt with the config model/sam2_1_tiny"
        )
    else:
        raise InputError(
            f"{origin}: not a checkpoint of AOT, AOST, XMem, MMPM or SAM 2; its keys begin with "
            f"{sorted(state)[:4]}"
        )
    fill(segmenter, translated, origin)


def _recurrent(segmenter: Segmenter) -> str | None:
    """The bank that keeps a model's hidden state."""
    return next(
        (name for name, bank in segmenter.memory.banks.items() if isinstance(bank, Sequential)),
        None,
    )
