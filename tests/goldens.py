"""Numbers made by running the official implementations, and the weights they were made with."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    """One case: what went in, what came out, how exactly ours must agree."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    description: dict[str, Any]

    @property
    def hyper(self) -> dict[str, Any]:
        hyper: dict[str, Any] = self.description["hyper"]
        return hyper

    @property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = self.description["params"]
        return params

    @property
    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.description["info"]
        return info

    def weights(self) -> dict[str, Tensor]:
        """The official state dict, made again by the recipe of the goldens."""
        seed = self.description["seed"]
        weights = {
            key: _weight(key, tuple(shape), seed).clone()
            for key, shape in self.description["weights"]
        }
        for change in self.description.get("overrides", []):
            weight, value = weights[change["key"]], torch.as_tensor(change["value"])
            match change["op"]:
                case "mul":
                    weight.mul_(value)
                case "add":
                    weight.add_(value)
                case _:
                    weight.copy_(value)
        return weights

    def check(self, name: str, ours: Tensor, part: slice = slice(None)) -> None:
        """Fail unless ours equals the named output, or a part of it, within the tolerance."""
        theirs = self.outputs[name][part]
        assert ours.shape == theirs.shape, f"{name}: {tuple(ours.shape)}, {tuple(theirs.shape)}"
        absolute = self.description.get("atol_per_output", {}).get(name, self.description["atol"])
        relative = self.description["rtol"]
        if name in self.description.get("tolerances", {}):
            relative, absolute = (self.description["tolerances"][name][k] for k in ("rtol", "atol"))
        torch.testing.assert_close(
            ours.to(theirs.dtype),
            theirs,
            rtol=relative,
            atol=absolute,
            equal_nan=True,
            msg=lambda text: f"{name}: {text}",
        )


def load(name: str, system: str = "aot") -> Golden:
    """Read a case of tests/golden."""
    description = json.loads((ROOT / system / f"{name}.json").read_text())
    tensors = load_file(ROOT / system / f"{name}.safetensors")

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return Golden(part("inputs."), part("outputs."), description)


@lru_cache(maxsize=500)  # cases of one model share them
def _weight(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    chance = np.random.Generator(np.random.PCG64((zlib.crc32(key.encode()) + seed) & 0xFFFFFFFF))
    if key.endswith("running_var"):
        values = chance.uniform(0.5, 1.5, shape)
    elif len(shape) <= 1:
        values = 0.1 * chance.standard_normal(shape) + float(key.endswith("weight"))
    else:
        values = chance.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))
