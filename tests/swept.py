"""Folders of sweeps, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BANK = "model.segmenter.init_args.memory.init_args.banks.temporal.init_args"
INTERVAL, CAPACITY = f"{BANK}.interval", f"{BANK}.capacity"

SWEEP = f"""
name: {{name}}
program: vosfm
command: ["${{{{program}}}}", fit, "${{{{args}}}}"]
method: grid
metric: {{{{name: val/J&F, goal: maximize}}}}
parameters:
  {INTERVAL}: {{{{values: {{intervals}}}}}}
  seed_everything: {{{{values: [0, 1, 2]}}}}
"""


def line(
    parameters: Mapping[str, Any],
    score: float,
    seed: int = 0,
    *,
    evictions: int | None = 4,
    fps: float | None = 10.0,
    memory_mib: float | None = 512.0,
) -> dict[str, Any]:
    """A finished trial, as vosfm sweep tells of it."""
    return {
        "trial": f"{'-'.join(map(str, parameters.values()))}-{seed}",
        "parameters": {**parameters, "trainer.max_epochs": 3, "seed_everything": seed},
        "metrics": {"val/J&F": score, "val/J": score + 0.01, "val/F": score - 0.01},
        "cost": {"seconds": 3.5, "fps": fps, "memory_mib": memory_mib},
        "evictions": evictions,
        "command": ["vosfm", "fit"],
        "versions": {"python": "3.11"},
        "commit": None,
    }


def swept(
    folder: Path,
    lines: Sequence[Mapping[str, Any]],
    *,
    failed: Mapping[str, Mapping[str, Any]] | None = None,
    sweep: str | None = None,
) -> Path:
    """A sweep's folder with these lines, and failed trials: id -> parameters."""
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    for name, parameters in (failed or {}).items():
        trial = folder / "trials" / name
        trial.mkdir(parents=True)
        told = {
            "id": name,
            "parameters": parameters,
            "status": "failed",
            "error": "exit code 1: no",
        }
        (trial / "trial.json").write_text(json.dumps(told))
    if sweep is not None:
        (folder / "sweep.yaml").write_text(sweep)
    return folder


def intervals(folder: Path) -> Path:
    """Table 3a of MUG-VOS: three seeds, one seed with a failure, and an arm that was not run."""
    lines = [
        line({INTERVAL: 1}, 0.5, 0, evictions=30, fps=10.0, memory_mib=500.0),
        line({INTERVAL: 1}, 0.6, 1, evictions=40, fps=12.0, memory_mib=520.0),
        line({INTERVAL: 1}, 0.55, 2, evictions=35, fps=14.0, memory_mib=510.0),
        line({INTERVAL: 5}, 0.7, 0, evictions=0),
    ]
    return swept(
        folder,
        lines,
        failed={"broken": {INTERVAL: 5, "trainer.max_epochs": 3, "seed_everything": 1}},
        sweep=SWEEP.format(name="mmpm/update_interval", intervals=[1, 5, 7]).replace(
            "  seed_everything", "  trainer.max_epochs: {value: 3}\n  seed_everything"
        ),
    )
