"""Tensors and arrays at the door of the metrics: read as numpy, answered in kind."""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", Tensor, NDArray[Any])
"""A torch tensor or a numpy array: what comes in decides what goes out."""


def to_numpy(values: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Read a tensor of any device, or an array, as a numpy array."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def to_mask(name: str, values: Tensor | NDArray[Any]) -> NDArray[np.bool_]:
    """Read a mask as bool; integers are masks too, where everything but 0 is the object.

    Args:
        name: what the caller calls it, for the error.
        values: (..., H, W) bool or integer.

    Returns:
        (..., H, W) bool.

    Raises:
        TypeError: for floating values; probabilities must be thresholded first.
        ValueError: for fewer than two dimensions.
    """
    mask = to_numpy(values)
    if mask.dtype.kind not in "biu":
        raise TypeError(f"{name} is {mask.dtype}, not a mask: threshold it to bool first")
    if mask.ndim < 2:
        raise ValueError(f"{name} has shape {mask.shape}, not (..., H, W)")
    return mask.astype(np.bool_, copy=False)


def to_masks(
    pred: Tensor | NDArray[Any],
    target: Tensor | NDArray[Any],
    void: Tensor | NDArray[Any] | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Read a pair of masks and take the void pixels out of both.

    Args:
        pred: (..., H, W).
        target: (..., H, W), the same shape.
        void: (..., H, W) pixels that count for nothing; broadcast over leading dimensions.

    Returns:
        Two (..., H, W) bool arrays.

    Raises:
        TypeError: for floating masks.
        ValueError: if the shapes differ.
    """
    a, b = to_mask("pred", pred), to_mask("target", target)
    if a.shape != b.shape:
        raise ValueError(f"pred has shape {a.shape}, target {b.shape}: they must be equal")
    if void is None:
        return a, b
    keep = ~to_mask("void", void)
    try:
        keep = np.broadcast_to(keep, a.shape)
    except ValueError:
        message = f"void has shape {keep.shape}, which does not fit masks {a.shape}"
        raise ValueError(message) from None
    return a & keep, b & keep


def in_kind(values: NDArray[Any] | np.generic, reference: Array) -> Array:
    """Give values back as the kind that reference is, on its device."""
    if isinstance(reference, Tensor):
        return torch.from_numpy(np.array(values)).to(reference.device)
    return np.asarray(values)
