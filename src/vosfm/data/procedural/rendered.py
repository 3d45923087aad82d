"""Rendered clips kept on disk: rendering a clip takes longer than a small model's step with it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vosfm.files import whole
from vosfm.types import Clip

_RENDERER = 1
"""To be raised when equal arguments give other pixels, so that no old ones are taken."""


class Rendered:
    """A folder of rendered clips, which trainings at once and one after another share.

    Args:
        folder: made when the first clip is kept.
        arguments: all that the clips depend on; clips of other arguments may lie beside them.
    """

    def __init__(self, folder: str | Path, arguments: tuple[object, ...]) -> None:
        told = repr((_RENDERER, arguments)).encode()
        self.folder = Path(folder) / blake2b(told, digest_size=8).hexdigest()

    def clip(self, epoch: int, index: int, render: Callable[[int, int], Clip]) -> Clip:
        """The clip `index` of an epoch, read, or rendered and kept; a damaged file is replaced."""
        path = self.folder / str(epoch) / f"{index}.npz"
        try:
            with np.load(path) as held:
                bits = np.unpackbits(held["masks"], count=int(np.prod(held["shape"])))
                return Clip(
                    frames=torch.from_numpy(held["frames"]),
                    masks=torch.from_numpy(bits.reshape(held["shape"]).view(np.bool_)),
                    present=torch.from_numpy(held["present"]),
                    names=(str(held["name"]),),
                )
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            clip = render(epoch, index)
        masks: NDArray[np.bool_] = clip.masks.numpy()
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                frames=clip.frames.numpy(),
                masks=np.packbits(masks),
                shape=masks.shape,
                present=clip.present.numpy(),
                name=clip.names[0],
            )
        return clip
