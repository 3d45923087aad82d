"""What every test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    return


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real videos and weights, where they lie beside the checkout."""
    root = Path(os.environ.get("VOSFM_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / "data").is_dir():
        pytest.skip("needs the real data, set VOSFM_SHARED")
    return root
