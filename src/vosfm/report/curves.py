"""The course of a training, from the CSV that its run leaves."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from matplotlib.figure import Figure

from vosfm.errors import InputError

Curve = tuple[list[int], list[float]]
"""Steps and the values logged at them."""


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Curve]:
    """Read the metrics of a run.

    Args:
        path: of the run's metrics.csv, or of the folder that holds it.

    Returns:
        Name of a metric -> its curve, in the order of steps.

    Raises:
        InputError: if there is no such file, or it is not one of a run.
    """
    file = Path(path)
    file = file / "metrics.csv" if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the folder of a run that logged to CSV")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or "step" not in rows[0]:
        raise InputError(f"{file}: holds no metrics of a run: no column named step")
    curves: dict[str, Curve] = {}
    for row in rows:
        for name, value in row.items():
            if value and name not in ("step", "epoch"):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(int(row["step"]))
                values.append(float(value))
    return curves


def plot_training(path: str | os.PathLike[str]) -> Figure:
    """Draw the loss, and the J&F of validation, over the steps of a run.

    Args:
        path: as `read_metrics`.

    Raises:
        InputError: as `read_metrics`.
    """
    curves = read_metrics(path)
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, name in zip(panels, ("train/loss", "val/J&F"), strict=True):
        panel.plot(*curves.get(name, ([], [])), marker="." if name.startswith("val") else "")
        panel.set(title=name, xlabel="step")
    panels[1].set_ylim(0, 1)
    return figure
