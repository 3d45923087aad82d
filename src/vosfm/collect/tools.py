"""The networks of the data engine by name, as the command line says them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vosfm import zoo
from vosfm.checkpoints.loading import load
from vosfm.collect.prompted_model import PromptedModel
from vosfm.collect.prompted_network import PromptedNetwork
from vosfm.collect.prompted_sam import PromptedSam
from vosfm.decoders.sam2 import Sam2Decoder
from vosfm.errors import InputError
from vosfm.flow import DIS, RAFT, Flow

FLOWS = ("dis", "raft")
"""What `flow_named` knows."""


def prompted(
    name: str, checkpoint: str | None = None, device: torch.device | str = "cpu", batch: int = 64
) -> PromptedNetwork:
    """Build a segmenter that the data engine can ask.

    Args:
        name: of a prompter with an encoder of its own (`vosfm.zoo.prompter_names`), of a model
            whose decoder understands points (`vosfm.zoo.names`), or the path of a config of either.
            A SAM 2 answers every query with its three candidates, however many points it has.
        checkpoint: its weights. None for those that its config names, if any; what has none is
            random, of no use but to try things out, and always the same.
        device: where it computes.
        batch: how many queries are decoded at once.

    Raises:
        InputError: if there is no such prompter or model, it cannot answer points with several
            candidates, or the checkpoint is unusable or of another model.
    """
    if zoo.is_prompter(name):
        given = {} if checkpoint is None else {"checkpoint": checkpoint}
        with _same_chance():
            prompter = zoo.build_prompter(name, **given)
        with _named(name):
            return PromptedSam(prompter.to(device), batch)
    with _same_chance():
        segmenter = zoo.build(name)
    with _named(name):
        asked = PromptedModel(segmenter.to(device), batch)
    if checkpoint is not None:
        load(segmenter, checkpoint)
    if isinstance(segmenter.decoder, Sam2Decoder):
        segmenter.decoder.multimask_points = sys.maxsize
    return asked


def flow_named(name: str, weights: str | None = None, device: torch.device | str = "cpu") -> Flow:
    """Build an optical flow.

    Args:
        name: "dis", which needs no weights and computes on the CPU, or "raft".
        weights: file of those of torchvision's RAFT, large or small.
        device: where RAFT computes.

    Raises:
        InputError: if there is no such flow, or its weights are missing, not wanted, or unusable.
    """
    if name not in FLOWS:
        raise InputError(f"no flow {name!r}: there are {', '.join(FLOWS)}")
    if name == "dis":
        if weights is not None:
            raise InputError(f"flow dis takes no weights, {weights} is given: leave them out")
        return DIS()
    if weights is None:
        raise InputError(
            "flow raft needs weights: give the file of torchvision's raft_large or raft_small, or "
            "use dis"
        )
    return RAFT(weights, device)


@contextmanager
def _same_chance() -> Iterator[None]:
    """Within it, random weights are the same each time; afterwards chance goes on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say in errors of what was built how it is called."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
