"""What happens beside training: averages, progress, pictures, results."""

from vosfm.callbacks.ema import EMA
from vosfm.callbacks.overlays import Overlays
from vosfm.callbacks.progress import ProgressBar
from vosfm.callbacks.results import PredictionWriter

__all__ = ["EMA", "Overlays", "PredictionWriter", "ProgressBar"]
