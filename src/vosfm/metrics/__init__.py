"""The measures of video object segmentation: pure functions, a torchmetrics class, protocols."""

from vosfm.metrics import functional, protocols
from vosfm.metrics.segmentation import VideoSegmentation

__all__ = ["VideoSegmentation", "functional", "protocols"]
