"""Modules of the released XMem and MMPM by our names."""

from __future__ import annotations

import re

from goldens import Golden
from torch import Tensor, nn

FUSION = {
    r"block1\.downsample\.": "enter.skip.",
    r"block1\.": "enter.",
    r"block2\.downsample\.": "exit.skip.",
    r"block2\.": "exit.",
    r"attention\.ChannelGate\.mlp\.1\.": "attention.squeeze.",
    r"attention\.ChannelGate\.mlp\.3\.": "attention.excite.",
    r"attention\.SpatialGate\.spatial\.conv\.": "attention.spatial.",
}
"""Official prefix -> ours, the first that fits."""

HIDDEN_UPDATE = {
    r"g16_conv\.": "project.0.",
    r"g8_conv\.": "project.1.",
    r"g4_conv\.": "project.2.",
    r"transform\.": "gate.transform.",
}

VALUES = {
    **{rf"fuser\.{theirs}": f"fuse.{ours}" for theirs, ours in FUSION.items()},
    r"network\.": "vit.",
    r"(?=conv1|bn1|layer)": "backbone.",
}

DECODER = {
    **{rf"fuser\.{theirs}": f"fuse.{ours}" for theirs, ours in FUSION.items()},
    **{rf"hidden_update\.{theirs}": f"update.{ours}" for theirs, ours in HIDDEN_UPDATE.items()},
    r"up_16_8\.skip_conv\.": "skip8.",
    r"up_8_4\.skip_conv\.": "skip4.",
    r"up_16_8\.out_conv\.downsample\.": "refine8.skip.",
    r"up_16_8\.out_conv\.": "refine8.",
    r"up_8_4\.out_conv\.": "refine4.",
    r"pred\.": "predict.",
}


def load(
    module: nn.Module,
    golden: Golden,
    names: dict[str, str] | None = None,
    prefix: str | None = None,
    without: str | None = None,
) -> None:
    """Fill a module with the weights of a golden: every weight of both, none left over."""
    prefix = golden.params["state_dict_prefix"] if prefix is None else prefix
    weights: dict[str, Tensor] = {}
    for key, value in golden.weights().items():
        inner = key.removeprefix(prefix)
        if inner != key and not (without and inner.startswith(without)):
            weights[_rename(inner, names or {})] = value
    module.load_state_dict(weights)


def _rename(key: str, names: dict[str, str]) -> str:
    for theirs, ours in names.items():
        if re.match(theirs, key):
            return re.sub(theirs, ours, key, count=1)
    return key
