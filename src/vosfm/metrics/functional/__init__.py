"""The measures of video object segmentation as pure functions."""

from vosfm.metrics.functional.boundary import (
    boundaries,
    boundary_f,
    region_and_boundary,
    tolerance_radius,
)
from vosfm.metrics.functional.region import jaccard
from vosfm.metrics.functional.statistics import decay, recall, stability

__all__ = [
    "boundaries",
    "boundary_f",
    "decay",
    "jaccard",
    "recall",
    "region_and_boundary",
    "stability",
    "tolerance_radius",
]
