"""The identification mechanism: all objects of a group in one map."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from vosfm.mask_encoders.mask_encoder import MaskEncoder
from vosfm.ops.masks import harden, to_identities
from vosfm.types import Encoding, Features, Objects


class IdentityBank(MaskEncoder):
    """A learned vector for each of n identities, laid down wherever the object with it is.

    The mask is a one-hot map over background and n identities; a strided convolution turns each
    patch of it into the sum of its pixels' identity vectors. More than n objects take further
    groups, each a row of its own.

    Args:
        width: channels of the encoding.
        identities: n, objects per group.
        stride: of the encoding.
        align_corners: sides are 16k+1 (kernel stride + 1) or 16k (kernel stride).
        gain: of the orthogonal initialisation; None for the paper's kernel^-2, which starts with
            identities so faint that short trainings never see them.
        normalise: let a layer normalisation follow, so that identities reach the memory equally
            strong however faint the convolution lays them down.

    Source: AOT, section 4.1 (identification mechanism); AOST, the released code (normalisation).
    """

    identities: int

    def __init__(
        self,
        width: int = 256,
        identities: int = 10,
        stride: int = 16,
        align_corners: bool = True,
        gain: float | None = None,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.align_corners = align_corners
        self.identities = identities
        kernel = stride + int(align_corners)
        self.embed = nn.Conv2d(
            identities + 1, width, kernel, stride, padding=stride // 2 if align_corners else 0
        )
        self.norm = nn.LayerNorm(width) if normalise else nn.Identity()
        nn.init.orthogonal_(self.embed.weight, gain=kernel**-2 if gain is None else gain)

    def forward(
        self, features: Features, masks: Tensor, objects: Objects, void: Tensor | None = None
    ) -> Encoding:
        used, compact = _without_gaps(objects)
        onehot = to_identities(harden(masks, objects), compact, void)
        # What nobody has is 0 everywhere; its channels would be most of the work.
        weight = self.embed.weight[:, [0, *(1 + identity for identity in used)]]
        maps = F.conv2d(
            onehot.flatten(0, 1).to(weight.dtype),
            weight,
            self.embed.bias,
            self.embed.stride,
            self.embed.padding,
        )
        maps = self.norm(maps.movedim(1, -1)).movedim(-1, 1)
        return Encoding(maps.unflatten(0, onehot.shape[:2]))


def _without_gaps(objects: Objects) -> tuple[list[int], Objects]:
    """The identities that somebody has, and the objects as if there were no others."""
    taken, place = (objects.slot % (objects.identities or 1)).unique(return_inverse=True)
    used = taken.tolist() or [0]
    return used, replace(objects, slot=objects.row * len(used) + place, identities=len(used))
