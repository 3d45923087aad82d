"""Show what sweeps have measured, as tables and figures, beside what the papers published."""

from vosfm.report.command import add_arguments, main
from vosfm.report.curves import plot_training, read_metrics
from vosfm.report.figures import plot_curve, plot_study
from vosfm.report.online import read_wandb
from vosfm.report.published import published
from vosfm.report.rendering import csv_text, latex, markdown, terminal
from vosfm.report.results import find_sweeps, read_results
from vosfm.report.study import Spread, Study, of_paper, studies
from vosfm.report.table import Table, pivot, tabulate

__all__ = [
    "Spread",
    "Study",
    "Table",
    "add_arguments",
    "csv_text",
    "find_sweeps",
    "latex",
    "main",
    "markdown",
    "of_paper",
    "pivot",
    "plot_curve",
    "plot_study",
    "plot_training",
    "published",
    "read_metrics",
    "read_results",
    "read_wandb",
    "studies",
    "tabulate",
    "terminal",
]
