"""Commands as a user gives them, on benchmarks in miniature."""

from __future__ import annotations

from pathlib import Path

from vosfm.cli import main


def run_config(name: str, root: Path, *options: str) -> None:
    """Test a tiny model by config `data/NAME` and its protocol, which scores what it reads."""
    given = (
        "test",
        *("--config", "model/aot_nano"),
        *("--config", f"data/{name}"),
        f"--data.init_args.test.init_args.root={root}",
        f"--model.protocol={name}",
        "--trainer.logger=false",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
    )
    assert main([*given, *options]) == 0
