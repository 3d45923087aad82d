"""The peers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vosfm.baselines import Frames, carry, repeat
from vosfm.collect.grid import Grid
from vosfm.collect.prompted_sam import PromptedSam
from vosfm.errors import InputError
from vosfm.flow import DIS
from vosfm.peers.deva import Deva
from vosfm.peers.grid_iou import GridIou
from vosfm.peers.peer import Peer
from vosfm.peers.persam import VIDEO, PerSam
from vosfm.peers.persam_f import VIDEO_F, PerSamF
from vosfm.peers.sam_pt import REINIT, SamPt
from vosfm.peers.simple import Simple
from vosfm.prompters import Prompter
from vosfm.segmenter import Segmenter
from vosfm.tracker import Prompts, Result


def _grid(usual: int) -> Callable[..., Peer]:
    def made(
        sam: Prompter, segmenter: Segmenter | None, points: int = usual, **changes: Any
    ) -> Peer:
        return GridIou(Grid(PromptedSam(sam), points), prompter=sam, **changes)

    return made


def _of_sam(kind: Callable[..., Peer], **preset: Any) -> Callable[..., Peer]:
    def made(sam: Prompter, segmenter: Segmenter | None, **changes: Any) -> Peer:
        return kind(sam, **{**preset, **changes})

    return made


def _deva(sam: Prompter, segmenter: Segmenter | None, points: int = 32, **changes: Any) -> Peer:
    if segmenter is None:
        raise InputError("deva propagates masks with a model: give one, such as xmem")
    return Deva(segmenter, Grid(PromptedSam(sam), points), prompter=sam, **changes)


def _by_flow(frames: Frames, prompts: Prompts) -> Iterator[Result]:
    return carry(frames, prompts, DIS())


_SIMPLE = {"first_mask": repeat, "flow": _by_flow}

_MAKERS: dict[str, Callable[..., Peer]] = {
    "sam_grid_32": _grid(32),
    "sam_grid_64": _grid(64),
    "persam": _of_sam(PerSam, **VIDEO),
    "persam_image": _of_sam(PerSam),
    "persam_f": _of_sam(PerSamF, **VIDEO_F),
    "persam_f_image": _of_sam(PerSamF),
    "sam_pt": _of_sam(SamPt),
    "sam_pt_reinit": _of_sam(SamPt, **REINIT),
    "deva": _deva,
}

BASELINES = tuple(_SIMPLE)
"""What learns nothing and asks no SAM: the given mask repeated, and carried by DIS flow."""

NAMES = (*_MAKERS, *BASELINES)
"""What `build` knows: the methods of MUG-VOS, Table 2, variants of them, and `BASELINES`. `persam`
and `persam_f` are those of their authors' code for videos, `_image` those of the paper's section 3.
"""


def build(
    name: str, sam: Prompter | None, segmenter: Segmenter | None = None, **changes: Any
) -> Peer:
    """Build a peer.

    Args:
        name: one of `NAMES`.
        sam: with an encoder of its own, such as `vosfm.zoo.build_prompter("sam_vit_h",
            checkpoint=...)`, where it shall run; `BASELINES` need none.
        segmenter: what `deva` propagates masks with, where it shall run; others need none.
        changes: arguments of the peer other than those of its name, such as `exclusive`; `points`
            per side of the grid where everything is proposed.

    Raises:
        InputError: if there is no such peer, something that it needs is missing, or an argument is
            unknown or out of range.
    """
    if name not in NAMES:
        raise InputError(f"no peer {name!r}: there are {', '.join(NAMES)}")
    try:
        if name in _SIMPLE:
            return Simple(_SIMPLE[name], **changes)
        if sam is None:
            raise InputError(f"{name} asks a SAM: give one, such as sam_vit_h")
        return _MAKERS[name](sam, segmenter, **changes)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{name}: {error}") from None
