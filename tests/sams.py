"""SAMs small enough for tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from vosfm.encoders import SamViT
from vosfm.prompters import SamPrompter

SIDE, WIDTH = 64, 32

VIT: dict[str, Any] = {
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": (1,),
    "window_size": 3,
    "out_chans": WIDTH,
}


def released() -> Sam:
    """A small SAM of segment_anything, with random weights."""
    torch.manual_seed(0)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=SIDE, use_rel_pos=True, norm_layer=partial(nn.LayerNorm, eps=1e-6), **VIT
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=WIDTH,
            image_embedding_size=(SIDE // 16, SIDE // 16),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=8, mlp_dim=2048),
        ),
    ).eval()
    for name, parameter in sam.named_parameters():
        if "mask_tokens" in name or "upscaling" in name:
            parameter.data.mul_(3)
    return sam


def scattered() -> Sam:
    """One whose masks are small, and elsewhere for other points."""
    sam = released()
    for name, parameter in sam.named_parameters():
        if "cross_attn" in name and name.endswith("proj.weight"):
            parameter.data.mul_(10)
        if "hypernetworks" in name and "layers.2.weight" in name:
            parameter.data.mul_(10)
        if "hypernetworks" in name and "layers.2.bias" in name:
            parameter.data.sub_(0.7)
        if "iou_prediction_head.layers.2.bias" in name:
            parameter.data.add_(0.5)
    return sam


def frame(height: int, width: int) -> NDArray[np.uint8]:
    blots = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)


def ours(sam: Sam, folder: Path) -> SamPrompter:
    """Our prompter with the weights of one of segment_anything, by way of a file."""
    torch.save(sam.state_dict(), folder / "sam.pth")
    encoder = SamViT(image_size=SIDE, **VIT)
    return SamPrompter(WIDTH, SIDE, encoder, checkpoint=str(folder / "sam.pth")).eval()


def config(folder: Path) -> Path:
    """A config of such a prompter, without weights."""
    arguments = {
        "embed_dim": WIDTH,
        "image_size": SIDE,
        "encoder": {
            "class_path": "vosfm.encoders.SamViT",
            "init_args": {**VIT, "global_attn_indexes": [1], "image_size": SIDE},
        },
    }
    prompter = {"class_path": "vosfm.prompters.SamPrompter", "init_args": arguments}
    path = folder / "sam.yaml"
    path.write_text(yaml.safe_dump({"prompter": prompter}))
    return path
