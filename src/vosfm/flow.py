"""Dense optical flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.optical_flow import raft_large, raft_small

from vosfm.errors import InputError


class Flow(ABC):
    """Where the pixels of one frame are in another."""

    @abstractmethod
    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Follow every pixel of a frame into another.

        Args:
            source: (H, W, 3) RGB.
            target: (H, W, 3) RGB.

        Returns:
            (H, W, 2): pixel (x, y) of the source is at (x, y) + flow[y, x] in the target.
        """


class DIS(Flow):
    """Dense inverse search, medium preset: no weights needed.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search; OpenCV's implementation.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (source, target))
        flow = np.zeros((*source.shape[:2], 2), np.float32)
        return np.asarray(self._search.calc(first, second, flow), np.float32)


class RAFT(Flow):
    """Recurrent all-pairs field transforms, as torchvision has them, large or small.

    Frames are padded below and on the right with what is at their edges, to the multiples of 8 and
    the 128 pixels that the network asks for. Its correlations take 5.3 (H W / 64)^2 bytes: 220 MB
    for 480 x 854 pixels.

    Args:
        weights: file of torchvision's weights, such as raft_large_C_T_SKHT_V2-ff5fadd5.pth, by
            which it is known whether the network is the large or the small one. Nothing is
            downloaded.
        device: where it computes.

    Raises:
        InputError: if the file cannot be read safely, or holds no weights of torchvision's RAFT.

    Source: Teed and Deng, RAFT; torchvision's implementation, of whose 12 iterates it is the last.
    """

    def __init__(self, weights: str | Path, device: torch.device | str = "cpu") -> None:
        # Reading files stands above flow.
        from vosfm.checkpoints.weights import fill, read_checkpoint, weights_in

        held = weights_in(read_checkpoint(weights), weights)
        if not any(key.startswith("feature_encoder.") for key in held):
            raise InputError(
                f"{weights}: not the weights of RAFT as torchvision names them: no key begins with "
                "feature_encoder.; give its raft_large or raft_small"
            )
        large = any(key.startswith("mask_predictor.") for key in held)
        network = raft_large(weights=None) if large else raft_small(weights=None)
        fill(network, held, weights)
        self._network = network.to(device).eval()
        self._device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = source.shape[:2]
        *_, flow = self._network(self._prepare(source), self._prepare(target))
        self._network.corr_block.corr_pyramid = []  # the network would keep its largest tensors
        return flow[0, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()

    def _prepare(self, frame: NDArray[np.uint8]) -> Tensor:
        """(1, 3, H', W') in [-1, 1], padded."""
        height, width = frame.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device)
        scaled = (pixels.permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
        below, beside = (max(128, -(-side // 8) * 8) - side for side in (height, width))
        return F.pad(scaled, (0, beside, 0, below), mode="replicate")


def pull(masks: NDArray[np.bool_], flow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Carry masks into a frame along the flow that leads back out of it.

    Each pixel reads the mask bilinearly where it comes from and is set above a half. Only the part
    of the frame that can come from a mask's box is looked at, so small masks cost little.

    Args:
        masks: (O, H, W) of the earlier frame.
        flow: (H, W, 2) from the later frame to the earlier one.

    Returns:
        (O, H, W) of the later frame; what comes from outside the earlier one is False.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x += flow[..., 0]
    y += flow[..., 1]
    tiles = _extremes(x), _extremes(y)
    warped = np.zeros_like(masks)
    for mask, result in zip(masks, warped, strict=True):
        box = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
        part = _reached(tiles, (left, right), (top, bottom))
        if part is not None:
            held = mask[top:bottom, left:right].astype(np.float32)
            read = cv2.remap(held, x[part] - left, y[part] - top, cv2.INTER_LINEAR)
            result[part] = read > 0.5
    return warped


_TILE = 16
"""Side of the tiles, in pixels, of which it is known where their pixels come from."""

_Extremes = tuple[NDArray[np.float32], NDArray[np.float32]]


def _extremes(coordinates: NDArray[np.float32]) -> _Extremes:
    """The least and the largest of a map (H, W) in every tile."""
    rows = range(0, coordinates.shape[0], _TILE)
    columns = range(0, coordinates.shape[1], _TILE)
    least, most = (
        f.reduceat(f.reduceat(coordinates, columns, axis=1), rows, axis=0)
        for f in (np.fmin, np.fmax)
    )
    return least, most


def _reached(
    tiles: tuple[_Extremes, _Extremes], x: tuple[int, int], y: tuple[int, int]
) -> tuple[slice, slice] | None:
    """The part of the later frame that may read from a box [x) x [y) of the earlier, or None."""
    if x[0] == x[1]:
        return None
    near = [
        (most > first - 1) & (least < end)
        for (least, most), (first, end) in zip(tiles, (x, y), strict=True)
    ]
    both = near[0] & near[1]
    rows, columns = (np.flatnonzero(both.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return (
        slice(int(rows[0]) * _TILE, (int(rows[-1]) + 1) * _TILE),
        slice(int(columns[0]) * _TILE, (int(columns[-1]) + 1) * _TILE),
    )
