"""What runs have measured, as numbers and figures."""

from vosfm.report.curves import plot_training, read_metrics

__all__ = ["plot_training", "read_metrics"]
